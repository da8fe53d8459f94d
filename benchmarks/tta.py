"""What the predict path is worth: d4 features of a ResNet-34 at 96 px, ours against ttach's loop.

Ours: folded batch norm, the machine's precision and memory layout, the eight views of several images in one batch
(`training.predicting.prepare`, as `predict_views` does it). ttach: `ClassificationTTAWrapper` with its d4 transforms,
fp32, one view after the other, as its page documents it. Both start from the same rows of the uint8 store, are resized
and normalised in the same way, and end with the mean over the views.

Paired and interleaved: each round times both ways one after the other, in changing order; reported are the median of
the rounds' ratios and their range. The weights are trained by some steps of jigsaw first, so that the cosine between
both ways is not that of random weights; batch norm has moved then.

    python benchmarks/tta.py --images 'path/to/photos/*.jpg' --rounds 7 --out tta.json
"""

import argparse
import glob
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jigstack
import numpy as np
import timm
import torch
import ttach
from jigstack.backbones import TimmBackbone, batch_norms, load_weights
from jigstack.configs.data import Decode
from jigstack.configs.pretext import JigsawOptions
from jigstack.datasets.images import ImageStore, build_store
from jigstack.datasets.pictures import Pictures
from jigstack.pretext.jigsaw import Jigsaw
from jigstack.pretext.pretrain import StoredInputs
from jigstack.training.augment import resize
from jigstack.training.device import TABLE, Machine, capability
from jigstack.training.fit import FitOptions, Training, fit
from jigstack.training.optimiser import parameter_groups
from jigstack.training.predicting import prepare
from jigstack.training.schedule import Schedule
from jigstack.training.views import VIEWS, apply_view
from PIL import Image
from torch import Tensor

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
TRAINING_BATCH = 32


def make_store(pattern: str | None, count: int, size: int, folder: Path) -> ImageStore:
    """The first files of a pattern, or smooth random pictures, in a store."""
    if pattern is not None:
        paths = sorted(glob.glob(pattern, recursive=True))[:count]  # noqa: PTH207 (patterns may be absolute)
        if len(paths) < TRAINING_BATCH:
            raise SystemExit(f"--images: expected {TRAINING_BATCH} files or more, received {len(paths)}")
    else:
        rng, paths = np.random.default_rng(0), []
        for number in range(count):
            coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
            paths.append(str(folder / f"{number}.png"))
            coarse.resize((size, size), Image.Resampling.BICUBIC).save(paths[-1])
    store = build_store([str(n) for n in range(len(paths))], paths, folder / "store", size, Decode())
    if not store.readable.all():
        raise SystemExit(f"--images: {len(store.problems)} files cannot be read")
    return store


def train(backbone: TimmBackbone, store: ImageStore, size: int, steps: int, machine: Machine) -> None:
    """Jigsaw for some steps."""
    jigsaw = Jigsaw(backbone, JigsawOptions(), size)
    batch = min(TRAINING_BATCH, len(store))
    epochs = max(1, steps // (len(store) // batch))
    groups = parameter_groups(backbone.stages(), jigsaw.head.parameters(), weight_decay=0.05)
    training = Training(jigsaw, groups, FitOptions(epochs, batch, Schedule(1e-3, 0.1)), machine, 0, ("tta",))
    for record in fit(training, StoredInputs(Pictures(store), store.ids)):
        print(f"jigsaw, epoch {record.epoch}/{epochs}, loss {record.scalars['loss']:.3f}", flush=True)
    backbone.eval()


def ours(backbone: TimmBackbone, size: int, machine: Machine, batch: int) -> Callable[[Tensor], Tensor]:
    """The predict path: (B, C, H, W) uint8 to (B, D) means over the views."""
    ready = prepare(backbone, machine)
    print(f"batch norms left unfused: {batch_norms(ready) or 'none'}")

    def features(images: Tensor) -> Tensor:
        means = []
        for part in images.split(max(1, batch // len(VIEWS))):
            resized = backbone.normalise(resize(part, size))
            stacked = torch.cat([apply_view(resized, view) for view in VIEWS])  # (V*B, C, H, W)
            with machine.autocast():
                means.append(ready(stacked).float().unflatten(0, (len(VIEWS), len(part))).mean(0))
        return torch.cat(means)

    return features


def theirs(backbone: TimmBackbone, size: int, batch: int) -> Callable[[Tensor], Tensor]:
    """ttach's loop in fp32, with as many images in a call as ours has images times views."""
    plain = TimmBackbone(
        backbone.name, backbone.channels, backbone.size
    ).eval()  # without layout and hooks of ours
    plain.load_state_dict(backbone.state_dict())
    wrapper = ttach.ClassificationTTAWrapper(plain, ttach.aliases.d4_transform(), merge_mode="mean")

    def features(images: Tensor) -> Tensor:
        return torch.cat([wrapper(plain.normalise(resize(part, size))) for part in images.split(batch)])

    return features


def main() -> None:
    """Train, measure, print a table, and write the JSON if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="resnet34")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--images", help="a pattern of image files; without it smooth random pictures")
    parser.add_argument("--weights", help="a checkpoint of the same model to start from")
    parser.add_argument("--steps", type=int, default=48, help="steps of jigsaw before measuring")
    parser.add_argument("--count", type=int, default=64, help="images in each measurement")
    parser.add_argument("--batch", type=int, default=64, help="images times views in one call")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    parser.add_argument("--out", type=Path, help="a JSON file for all figures")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    precision, last = TABLE["cpu", capability("cpu")]
    machine = Machine(
        "cpu", precision if chosen.precision == "auto" else chosen.precision, last, chosen.threads
    )
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(chosen.images, 4 * chosen.count, round(1.3 * chosen.size), Path(folder))
        backbone = TimmBackbone(chosen.model, store.channels, chosen.size)
        if chosen.weights is not None:
            load_weights(backbone, chosen.weights)
        train(backbone, store, chosen.size, chosen.steps, machine)
        case = measure(backbone, store, chosen, machine)
    about: dict[str, Any] = {
        "jigstack": jigstack.__version__,
        "torch": torch.__version__,
        "timm": timm.__version__,
        "ttach": version("ttach"),
        "machine": {"processor": platform.processor() or platform.machine(), "capability": capability("cpu")},
        "precision": machine.precision,
        "settings": {name: value for name, value in vars(chosen).items() if name not in ("out", "images", "weights")},
    }  # fmt: skip
    print(f"{'':10} {'images/s':>9} {'ratio':>7}   range          cosine (smallest)")
    print(f"{'ttach':10} {case['ttach_per_s']:9.1f} {1:6.2f}x")
    print(
        f"{'ours':10} {case['ours_per_s']:9.1f} {case['ratio']:6.2f}x   {case['ratio_min']:.2f} to "
        f"{case['ratio_max']:.2f}   {case['cosine_min']:.5f}; of centred features {case['cosine_centred_min']:.5f}"
    )
    if chosen.out is not None:
        chosen.out.write_text(json.dumps({**about, **case}, indent=1) + "\n")


def measure(
    backbone: TimmBackbone, store: ImageStore, chosen: argparse.Namespace, machine: Machine
) -> dict[str, Any]:
    """Rates of both ways, the ratio of each round, and how far the features agree."""
    ways = {
        "ours": ours(backbone, chosen.size, machine, chosen.batch),
        "ttach": theirs(backbone, chosen.size, chosen.batch),
    }
    clock, seconds = CLOCKS[chosen.clock], {name: [] for name in ways}
    rows = np.random.default_rng(0).permutation(len(store))[: chosen.count]
    found: dict[str, Tensor] = {}
    with torch.inference_mode():
        for number in range(chosen.rounds + 1):
            for name in ways if number % 2 else reversed(ways):
                started = clock()
                found[name] = ways[name](store.gather(rows))
                seconds[name].append(clock() - started)
    for values in seconds.values():
        del values[0]  # the first round warms caches and the allocator
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["ttach"], strict=True)]
    one, other = found["ours"], found["ttach"]
    return {
        "ours_per_s": chosen.count / statistics.median(seconds["ours"]),
        "ttach_per_s": chosen.count / statistics.median(seconds["ttach"]),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "cosine_min": float(torch.cosine_similarity(one, other).min()),
        # Features are positive, so that any two have a large cosine; without their mean they have not.
        "cosine_centred_min": float(
            torch.cosine_similarity(one - other.mean(0), other - other.mean(0)).min()
        ),
        "seconds": seconds,
    }


if __name__ == "__main__":
    main()
