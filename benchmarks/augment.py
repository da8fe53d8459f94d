"""What augmenting a batch at once is worth: each operation against torchvision's, one image after the other.

Paired and interleaved: each round times both ways one after the other, in changing order, on the same machine state;
reported are the median of the rounds' ratios and their spread. Every operation changes every sample, each with
parameters of its own. The tests pin what ours do to what torchvision's do; torchvision has no shuffling of cells, and
blends a whole batch by one share, so that these two stand beside a plain loop.

    python benchmarks/augment.py --rounds 9 --clock cpu --out augment.json
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision
from jigstack.configs.heads import Affine, Blur, ColourJitter, Erase, GridShuffle, HeadAugment, Mix
from jigstack.training.augment import augment_images, spoil
from jigstack.training.colours import colour_jitter
from jigstack.training.mix import mix
from jigstack.training.warping import random_affine, shift
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

BATCH = 64
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
PAD, GRID, ALPHA = 4, 4, 0.4
AFFINE = Affine(degrees=20, translate=0.1, scale=(0.9, 1.1), shear=10)
COLOUR = ColourJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)

Way = Callable[[Tensor], object]


def photos(side: int) -> Tensor:
    """Smooth random pictures (B, 3, side, side) uint8."""
    coarse = torch.rand(BATCH, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    fine = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    return (fine * 255).round().to(torch.uint8)


def one_by_one(transform: Callable[[Tensor], Tensor]) -> Way:
    """A transform of one image applied to a batch the usual way."""
    return lambda images: torch.stack([transform(image) for image in images])


def shuffle_one(image: Tensor) -> Tensor:
    """Lay the cells of one image (C, H, W) in another order."""
    side = image.shape[-1] // GRID
    cells = [
        image[:, i : i + side, j : j + side]
        for i in range(0, GRID * side, side)
        for j in range(0, GRID * side, side)
    ]
    order = torch.randperm(GRID**2).tolist()
    rows = [
        torch.cat([cells[k] for k in order[start : start + GRID]], 2) for start in range(0, GRID**2, GRID)
    ]
    return torch.cat(rows, 1)


def mix_in_pairs(images: Tensor) -> Tensor:
    """Mixup with a share for each sample, in a loop."""
    shares = torch.distributions.Beta(ALPHA, ALPHA).sample((len(images),)).tolist()
    partners = torch.randperm(len(images)).tolist()
    return torch.stack(
        [
            share * images[i] + (1 - share) * images[k]
            for i, (k, share) in enumerate(zip(partners, shares, strict=True))
        ]
    )


def ways(size: int) -> dict[str, tuple[Tensor, Way, Way]]:
    """Of each operation: its input, ours, and the usual way."""
    stored = photos(round(1.3 * size))
    unit = photos(size).float() / 255
    draws = torch.Generator().manual_seed(0)
    scale, ratio = HeadAugment().crop, HeadAugment().ratio
    crop = v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=scale, ratio=ratio, antialias=False),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    affine = v2.RandomAffine(
        (-AFFINE.degrees, AFFINE.degrees),
        (AFFINE.translate,) * 2,
        AFFINE.scale,
        AFFINE.shear,
        InterpolationMode.BILINEAR,
    )
    colour = v2.ColorJitter(COLOUR.brightness, COLOUR.contrast, COLOUR.saturation, COLOUR.hue)

    def spoilt(**options: Any) -> Way:
        changes = HeadAugment(**options)
        return lambda images: spoil(images, changes, draws)  # in place, again and again: at the same cost

    cells = GridShuffle(p=1, grid=GRID)
    mixup = Mix(p=1, mixup=ALPHA, cutmix=0)
    return {
        "crop, flip": (stored, lambda x: augment_images(x, HeadAugment(), size, draws), one_by_one(crop)),
        "pad": (
            unit,
            lambda x: shift(x, PAD, draws),
            one_by_one(v2.RandomCrop(size, PAD, padding_mode="reflect")),
        ),
        "affine": (unit, lambda x: random_affine(x, AFFINE, draws), one_by_one(affine)),
        "colour": (unit, lambda x: colour_jitter(x, COLOUR, draws), one_by_one(colour)),
        "grey": (unit.clone(), spoilt(grey=1.0), one_by_one(v2.RandomGrayscale(1.0))),
        "blur": (unit.clone(), spoilt(blur=Blur(p=1)), one_by_one(v2.GaussianBlur(13, (0.1, 2.0)))),
        "noise": (unit.clone(), spoilt(noise=0.1), one_by_one(v2.GaussianNoise(0.0, 0.05))),
        "grid_shuffle": (unit.clone(), spoilt(grid_shuffle=cells), one_by_one(shuffle_one)),
        "erase": (unit.clone(), spoilt(erase=Erase(p=1)), one_by_one(v2.RandomErasing(1.0))),
        "mixup": (unit, lambda x: mix(x, {}, mixup, draws), mix_in_pairs),
    }


def paired(
    images: Tensor, ours: Way, theirs: Way, rounds: int, repeats: int, clock: str
) -> Mapping[str, Any]:
    """Seconds of both in each round, one after the other, in changing order, after a warm-up."""
    seconds: dict[str, list[float]] = {"ours": [], "torchvision": []}
    pair = {"ours": ours, "torchvision": theirs}
    for number in range(rounds + 1):
        for name in ("ours", "torchvision") if number % 2 else ("torchvision", "ours"):
            start = CLOCKS[clock]()
            for _ in range(repeats):
                pair[name](images)
            seconds[name].append((CLOCKS[clock]() - start) / repeats)
    for values in seconds.values():
        del values[0]  # the first round warms caches and the allocator
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["torchvision"], strict=True)]
    return {
        "ours_per_s": BATCH / statistics.median(seconds["ours"]),
        "torchvision_per_s": BATCH / statistics.median(seconds["torchvision"]),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "seconds": seconds,
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
    print(
        f"batch {BATCH}, {chosen.threads} threads, {chosen.rounds} rounds; images a second, median of the ratios"
    )
    print(f"{'operation':13} {'px':>4} {'ours':>9} {'one by one':>11} {'ratio':>7}   spread")
    cases = []
    for size in chosen.sizes:
        for name, (images, ours, theirs) in ways(size).items():
            case = {"operation": name, "size": size}
            case |= paired(images, ours, theirs, chosen.rounds, chosen.repeats, chosen.clock)
            cases.append(case)
            print(
                f"{name:13} {size:4d} {case['ours_per_s']:9.0f} {case['torchvision_per_s']:11.0f} "
                f"{case['ratio']:6.1f}x   {case['ratio_min']:.1f}..{case['ratio_max']:.1f}",
                flush=True,
            )
    if chosen.out is not None:
        about = {
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "threads": chosen.threads,
            "clock": chosen.clock,
            "machine": platform.processor(),
        }
        chosen.out.write_text(json.dumps({**about, "batch": BATCH, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
