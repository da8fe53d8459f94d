"""Is this CUDA machine right and fast? One command, a table, exit 1 if a check fails, 2 without CUDA.

    make gpu-check          # or: python benchmarks/gpu_check.py --out gpu.json

Checks, against the CPU in fp32 on the same weights and draws: outputs, loss and gradients of the jigsaw and of a
network of heads, every kind of augmentation, features in bf16 (cosine), the image store on the device, and folded
prediction. Then the throughput of training steps and of prediction. Every check is a function of the device, so that
the tests run them on the CPU against itself.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jigstack.backbones import TimmBackbone
from jigstack.configs.data import Decode
from jigstack.configs.heads import Affine, Blur, ColourJitter, Erase, GridShuffle, HeadAugment, Mix
from jigstack.configs.pretext import JigsawOptions
from jigstack.datasets.images import ImageStore, build_store
from jigstack.datasets.pictures import Pictures
from jigstack.datasets.targets import OnehotTarget, RegressionTarget
from jigstack.pretext.jigsaw import Jigsaw
from jigstack.pretext.pretrain import StoredInputs
from jigstack.training.augment import augment_images
from jigstack.training.device import Machine
from jigstack.training.fit import FitOptions, Training, fit, to_device
from jigstack.training.mix import mix
from jigstack.training.optimiser import parameter_groups
from jigstack.training.predicting import prepare
from jigstack.training.resident import ResidentInputs, resident
from jigstack.training.schedule import Schedule
from jigstack.training.views import VIEWS
from jigstack.transfer.network import HeadNetwork
from jigstack.transfer.prediction import predict_views
from PIL import Image
from torch import Tensor, nn

BATCH = 16
FP32_TOLERANCE = 1e-3  # of the largest value: other orders of summation, through all layers and back
PIXEL_TOLERANCE = 2e-3  # of the range of pixels: interpolation at borders of a pixel
COSINE = 0.999


@dataclass(frozen=True)
class Check:
    """One line of the table."""

    name: str
    passed: bool
    value: str
    expected: str


@dataclass(frozen=True)
class Scale:
    """How large the networks and pictures of the checks are."""

    model: str = "resnet18"
    size: int = 64
    images: int = 512
    steps: int = 20


def pictures(count: int, side: int) -> Tensor:
    """Smooth random pictures (count, 3, side, side) uint8."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    fine = nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    return (fine * 255).round().to(torch.uint8)


def make_store(folder: Path, scale: Scale) -> ImageStore:
    """Files of smooth pictures, decoded into a store."""
    paths = []
    for number, pixels in enumerate(pictures(scale.images, round(1.3 * scale.size))):
        paths.append(str(folder / f"{number}.png"))
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(paths[-1])
    ids = [str(number) for number in range(scale.images)]
    return build_store(ids, paths, folder / "store", round(1.3 * scale.size), Decode())


def jigsaw(scale: Scale) -> Jigsaw:
    """The same weights in every call."""
    torch.manual_seed(0)
    return Jigsaw(TimmBackbone(scale.model, 3, scale.size), JigsawOptions(), scale.size)


def heads(scale: Scale) -> HeadNetwork:
    """A regression and a class head, the same weights in every call, with mixes in training."""
    torch.manual_seed(0)
    frame = pd.DataFrame({"year": np.linspace(1900, 1950, BATCH), "style": ["a", "b"] * (BATCH // 2)})
    targets = {
        "year": RegressionTarget("year", ("year",)).fit(frame),
        "style": OnehotTarget("style", ("style",), ("a", "b"), None, False),
    }
    network = HeadNetwork(
        TimmBackbone(scale.model, 3, scale.size),
        targets,
        size=scale.size,
        augment=HeadAugment(mix=None),
        weights={"year": 1.0, "style": 1.0},
    )
    for head in network.heads.values():
        nn.init.normal_(head.get_parameter("weight"), std=0.1)
    return network


def batches(scale: Scale) -> dict[str, Any]:
    """What each of the two methods takes, on the CPU."""
    images = pictures(BATCH, round(1.3 * scale.size))
    targets = {"year": torch.linspace(-1, 1, BATCH)[:, None], "style": torch.eye(2).repeat(BATCH // 2, 1)}
    return {"jigsaw": images, "heads": {"inputs": images, "targets": targets}}


def check_methods(device: str, scale: Scale) -> Iterator[Check]:
    """Outputs, loss and gradients of one fp32 step, against the CPU."""
    makers: dict[str, Callable[[Scale], Any]] = {"jigsaw": jigsaw, "heads": heads}
    for name, make in makers.items():
        here, there = (_step(make(scale), batches(scale)[name], each) for each in ("cpu", device))
        for part, one in here.items():
            worst = max(_difference(a, b) for a, b in zip(one, there[part], strict=True))
            yield Check(
                f"{name}: {part}, fp32", worst <= FP32_TOLERANCE, f"{worst:.1e}", f"<= {FP32_TOLERANCE:.0e}"
            )


def _step(method: Any, batch: Any, device: str) -> dict[str, list[Tensor]]:
    machine = Machine(device, "fp32", False, torch.get_num_threads())
    machine.lay_out(method).train()
    views = method.views(to_device(batch, torch.device(device)), torch.Generator().manual_seed(1))
    outputs = method(views)
    loss = method.loss(outputs, views)["loss"]
    loss.backward()
    return {
        "views": [value.detach() for value in views.values() if isinstance(value, Tensor)],
        "outputs": [
            value.detach() for value in (outputs.values() if isinstance(outputs, dict) else [outputs])
        ],
        "loss": [loss.detach()],
        "gradients": [p.grad for p in method.parameters() if p.grad is not None],
    }


def _difference(one: Tensor, other: Tensor) -> float:
    """The largest difference as a share of the largest value."""
    one, other = one.double().cpu(), other.double().cpu()
    return float((one - other).abs().max() / one.abs().max().clamp_min(1e-12))


AUGMENT: dict[str, dict[str, Any]] = {
    "crop, flips, turns": {"vflip": True, "dihedral": False},
    "dihedral": {"dihedral": True},
    "affine": {"affine": Affine(degrees=20, translate=0.1, scale=(0.9, 1.1), shear=10)},
    "colour": {"colour": ColourJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)},
    "grey": {"grey": 0.5},
    "blur": {"blur": Blur(p=0.5)},
    "noise": {"noise": 0.1},
    "grid_shuffle": {"grid_shuffle": GridShuffle(p=0.5, grid=4)},
    "erase": {"erase": Erase(p=0.5)},
}


def check_augmentation(device: str, scale: Scale) -> Iterator[Check]:
    """Every kind of augmentation and mixing on the same draws, against the CPU."""
    images = pictures(BATCH, round(1.3 * scale.size))
    for name, options in AUGMENT.items():
        augment = HeadAugment(mix=None, **options)
        here, there = (
            augment_images(images.to(each), augment, scale.size, torch.Generator().manual_seed(2))
            for each in ("cpu", device)
        )
        # A pixel on the edge of an area may fall to either side; all but a few must agree.
        wrong = float(((here - there.cpu()).abs() > PIXEL_TOLERANCE).double().mean())
        yield Check(f"augment: {name}", wrong <= 1e-3, f"{wrong:.1e} of pixels differ", "<= 1e-03")
    unit = nn.functional.interpolate(images.float() / 255, (scale.size, scale.size))
    targets = {"style": torch.eye(2).repeat(BATCH // 2, 1)}
    mixes = Mix(p=1.0)
    (one, wanted), (other, found) = (
        mix(unit.to(each), to_device(targets, torch.device(each)), mixes, torch.Generator().manual_seed(3))
        for each in ("cpu", device)
    )
    worst = max(_difference(one, other), _difference(wanted["style"], found["style"]))
    yield Check("augment: mixes", worst <= PIXEL_TOLERANCE, f"{worst:.1e}", f"<= {PIXEL_TOLERANCE:.0e}")


def check_bf16(device: str, scale: Scale) -> Iterator[Check]:
    """Folded features in bf16 against plain ones in fp32 on the CPU, of weights after some steps."""
    training = begin(jigsaw(scale), Machine(device, "fp32", False, torch.get_num_threads()), 2)
    for _ in fit(training, Repeated(pictures(4 * BATCH, round(1.3 * scale.size)), device)):
        pass
    backbone = training.method.backbone.cpu().eval()
    images = nn.functional.interpolate(pictures(BATCH, scale.size).float() / 255, (scale.size, scale.size))
    images = backbone.normalise(images)
    machine = Machine(device, "bf16", True, torch.get_num_threads())
    with torch.inference_mode():
        plain = backbone(images)
        with machine.autocast():
            found = prepare(backbone, machine)(images.to(device)).float().cpu()
    cosine = float(torch.cosine_similarity(plain, found).min())
    yield Check("features: folded, bf16, smallest cosine", cosine >= COSINE, f"{cosine:.5f}", f">= {COSINE}")


class Repeated:
    """Pictures in memory as a source, on the device."""

    def __init__(self, images: Tensor, device: str) -> None:
        self.images = images.to(device)

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, rows: Tensor, draws: torch.Generator | None = None) -> Any:
        """(B, C, H, W) uint8."""
        return self.images[rows.to(self.images.device)]


def begin(method: Jigsaw, machine: Machine, epochs: int, batch: int = BATCH) -> Training:
    """A training of the jigsaw."""
    groups = parameter_groups(method.backbone.stages(), method.head.parameters(), weight_decay=0.05)
    return Training(
        method, groups, FitOptions(epochs, batch, Schedule(1e-3, 0.1)), machine, 0, ("gpu-check",)
    )


def check_store(device: str, store: ImageStore) -> Iterator[Check]:
    """Whether the store lies where it should, and gives the rows of the map."""
    machine = Machine(device, "fp32", False, torch.get_num_threads())
    images = resident(store, machine)
    rows = np.random.default_rng(0).integers(0, len(store), 64)
    found = images.gather(rows)
    where = "on the device" if isinstance(images, ResidentInputs) else "mapped"
    wanted = "mapped" if machine.kind == "cpu" else "on the device"
    yield Check("store: place", where == wanted and found.device.type == machine.kind, where, wanted)
    equal = torch.equal(found.cpu(), store.gather(rows))
    yield Check("store: rows equal to the map's", equal, str(equal), "True")


def check_prediction(device: str, store: ImageStore, scale: Scale) -> Iterator[Check]:
    """Eight views through `predict_views` in fp32, against the CPU."""
    here, there = (
        predict_views(
            [heads(scale)],
            store,
            store.ids[:BATCH],
            VIEWS,
            Machine(each, "fp32", False, torch.get_num_threads()),
        )["year"]
        for each in ("cpu", device)
    )
    worst = float(np.abs(here - there).max() / np.abs(here - here.mean()).max())
    yield Check(
        "predict: eight views, fp32",
        worst <= 10 * FP32_TOLERANCE,
        f"{worst:.1e}",
        f"<= {10 * FP32_TOLERANCE:.0e}",
    )


def throughput(device: str, store: ImageStore, scale: Scale, precision: Any, batch: int) -> dict[str, float]:
    """Images a second of jigsaw steps and of prediction in eight views (images, not views)."""
    machine = Machine(device, precision, precision == "bf16", torch.get_num_threads())
    source = StoredInputs(Pictures(store), store.ids, machine)
    batch = min(batch, len(source))
    epochs = -(-(scale.steps + 3) // (len(source) // batch))
    training, marks = begin(jigsaw(scale), machine, epochs, batch), []

    def stop() -> bool:
        _wait(machine)
        marks.append(time.perf_counter())
        return len(marks) > scale.steps + 2

    for _ in fit(training, source, stop):
        pass
    ids = np.resize(store.ids, max(len(store), batch))
    networks = [heads(scale)]
    predict_views(networks, store, ids[:batch], VIEWS, machine, batch=8 * batch)
    _wait(machine)
    started = time.perf_counter()
    predict_views(networks, store, ids, VIEWS, machine, batch=8 * batch)
    _wait(machine)
    return {
        "train": batch * (len(marks) - 3) / (marks[-1] - marks[2]),
        "predict": len(ids) / (time.perf_counter() - started),
    }


def _wait(machine: Machine) -> None:
    if machine.kind == "cuda":
        torch.cuda.synchronize()


def all_checks(device: str, store: ImageStore, scale: Scale) -> Iterator[Check]:
    """All checks in the order of the table."""
    yield from check_methods(device, scale)
    yield from check_augmentation(device, scale)
    yield from check_bf16(device, scale)
    yield from check_store(device, store)
    yield from check_prediction(device, store, scale)


def main() -> int:
    """Check, measure, print the table, and write the JSON if asked; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=256, help="of the throughput")
    parser.add_argument("--images", type=int, default=2048, help="in the store")
    parser.add_argument("--steps", type=int, default=20, help="timed training steps")
    parser.add_argument("--out", type=Path, help="a JSON file for all figures")
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        print("gpu-check: expected a CUDA device that torch can see, received none; nothing was checked.")
        return 2
    # The comparison is with exact fp32; the throughput below runs as a run would.
    exact = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    scale = Scale(chosen.model, chosen.size, chosen.images, chosen.steps)
    checks: list[Check] = []
    rates: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder), scale)
        for check in all_checks("cuda", store, scale):
            checks.append(check)
            print(
                f"{'ok' if check.passed else 'FAILED':7} {check.name:42} {check.value:>28}   {check.expected}",
                flush=True,
            )
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = exact
        print(f"\n{'images a second':18} {'train':>10} {'predict, 8 views':>18}")
        for precision in ("fp32", "bf16"):
            rates[precision] = throughput("cuda", store, scale, precision, chosen.batch)
            print(
                f"{precision:18} {rates[precision]['train']:10,.0f} {rates[precision]['predict']:18,.0f}",
                flush=True,
            )
    failed = [check.name for check in checks if not check.passed]
    print(f"\n{len(checks) - len(failed)} of {len(checks)} checks passed on {torch.cuda.get_device_name()}")
    if chosen.out is not None:
        about = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "scale": asdict(scale)}
        content = {**about, "checks": [asdict(check) for check in checks], "images_per_second": rates}
        chosen.out.write_text(json.dumps(content, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
