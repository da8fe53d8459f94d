"""What drawing random views of a batch at once is worth: ours against lightly's SimSiam transform, image by image.

Paired and interleaved: each round times both ways one after the other, in changing order, on the same machine state;
reported are the median of the rounds' ratios and their spread. Both start from decoded bytes of a store of 1.3 times
the size, draw with the same options (SimSiam's), and end with a batch of float32 in 0..1; normalising is left to the
network on both sides. lightly's way is Pillow, which works on bytes and rounds after each change; we work in float32.
The tests pin the distribution of our views to that of lightly's.

    python benchmarks/views.py --rounds 9 --clock cpu --out views.json
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import PIL
import torch
import torchvision
from jigstack.configs.heads import Blur
from jigstack.configs.joint import ViewAugment
from jigstack.training.random_views import random_view
from lightly import __version__ as lightly_version
from lightly.transforms.simsiam_transform import SimSiamTransform
from PIL import Image
from torch import Tensor

BATCH, VIEWS = 64, 2
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def photos(side: int) -> Tensor:
    """Smooth random pictures (B, 3, side, side) uint8."""
    coarse = torch.rand(BATCH, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    fine = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    return (fine * 255).round().to(torch.uint8)


def our_views(images: Tensor, options: ViewAugment, size: int, generator: torch.Generator) -> list[Tensor]:
    """Two views of each image, all of a batch at once."""
    return [random_view(images, options, size, generator) for _ in range(VIEWS)]


def lightly_views(transform: SimSiamTransform, arrays: list[Any]) -> list[Tensor]:
    """Two views of each decoded image (H, W, C), one image after the other, and stacked as a loader stacks them."""
    pairs = [transform(Image.fromarray(array)) for array in arrays]
    return [torch.stack(views) for views in zip(*pairs, strict=True)]


def paired(
    ways: Mapping[str, Callable[[], object]], rounds: int, repeats: int, clock: str
) -> Mapping[str, Any]:
    """Seconds of both in each round, one after the other, in changing order, after a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name in list(ways) if number % 2 else reversed(list(ways)):
            start = CLOCKS[clock]()
            for _ in range(repeats):
                ways[name]()
            seconds[name].append((CLOCKS[clock]() - start) / repeats)
    for values in seconds.values():
        del values[0]  # the first round warms caches and the allocator
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["lightly"], strict=True)]
    return {
        "ours_per_s": VIEWS * BATCH / statistics.median(seconds["ours"]),
        "lightly_per_s": VIEWS * BATCH / statistics.median(seconds["lightly"]),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "seconds": seconds,
    }


def measure(size: int, blur: float, chosen: argparse.Namespace) -> dict[str, Any]:
    """One size, with or without blur on both sides."""
    images = photos(round(1.3 * size))
    arrays = list(images.permute(0, 2, 3, 1).contiguous().numpy())
    options = ViewAugment(blur=Blur(p=blur))
    transform = SimSiamTransform(input_size=size, gaussian_blur=blur, normalize=None)
    ways = {
        "ours": partial(our_views, images, options, size, torch.Generator().manual_seed(0)),
        "lightly": partial(lightly_views, transform, arrays),
    }
    return {
        "size": size,
        "blur": blur,
        **paired(ways, chosen.rounds, chosen.repeats, chosen.clock),
    }


def main() -> None:
    """Measure, print a table, and write the JSON if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9, help="paired rounds of each case")
    parser.add_argument("--repeats", type=int, default=3, help="batches a measurement")
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 96], help="sides, pixels")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument(
        "--clock",
        choices=sorted(CLOCKS),
        default="wall",
        help="cpu: processor seconds, with one thread the fairer measure on a machine that others use too",
    )
    parser.add_argument("--out", type=Path, help="a JSON file for all figures")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    about = {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "lightly": lightly_version,
        "pillow": PIL.__version__,
        "threads": chosen.threads,
        "clock": chosen.clock,
        "machine": platform.processor() or platform.machine(),
    }
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(f"batch {BATCH}, {VIEWS} views, {chosen.rounds} rounds; views a second, median of the ratios")
    print(f"{'px':>4} {'blur':>5} {'ours':>9} {'lightly':>9} {'ratio':>7}   spread")
    cases = []
    for size in chosen.sizes:
        for blur in (0.0, 0.5):
            case = measure(size, blur, chosen)
            cases.append(case)
            print(
                f"{size:4d} {blur:5.1f} {case['ours_per_s']:9.0f} {case['lightly_per_s']:9.0f} "
                f"{case['ratio']:6.2f}x   {case['ratio_min']:.2f}..{case['ratio_max']:.2f}",
                flush=True,
            )
    if chosen.out is not None:
        chosen.out.write_text(json.dumps({**about, "batch": BATCH, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
