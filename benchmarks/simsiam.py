"""SimSiam as a whole: our training loop against lightly's, in speed and in what the features are worth.

    python benchmarks/simsiam.py step --rounds 9 --out step.json
    python benchmarks/simsiam.py parity path/to/clipart --out parity.json   # long; the same line goes on

`step` times whole training steps of a ResNet-18, two views a picture. Ours is `jigstack.training.fit.fit` from a
store; lightly's is the loop of its documentation (torchvision's network, its heads, loss, transform, a DataLoader over
decoded Pillow images, SGD), in fp32 as documented and again at this machine's own precision, with each number of
workers; `pure` is our step with views drawn beforehand, `joint` one whose views share their batch statistics. Heads,
augmentation, batch and optimiser are the same. Paired and interleaved: each round times all ways one after the other,
in changing order; the number of workers with the best median counts; reported are the medians of the rounds' ratios and
their spread.

`parity` pretrains the same network from the same weights on the same pictures both ways, with the same recipe, and
classifies the features of the last epoch by their nearest neighbours (k = 20, cosine, T = .1) in grouped folds. The
folder is that of a table with pictures; the default names are those of the Open Clip Art set of docs/benchmarks.md.
`--joint` trains ours a second time with batch statistics of all views together.
"""

import argparse
import json
import math
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightly
import numpy as np
import torch
import torchvision
from jigstack.configs import load_config
from jigstack.configs.data import Decode
from jigstack.configs.schema import Backbone, Pretext
from jigstack.datasets.files import read_json, write_json
from jigstack.datasets.images import build_store
from jigstack.datasets.pictures import Pictures
from jigstack.pipeline.workspace import Workspace
from jigstack.pretext.pretrain import PretrainWork, StoredInputs, begin
from jigstack.pretext.probes import probe
from jigstack.training.augment import resize
from jigstack.training.device import TABLE, Machine, capability
from jigstack.training.fit import Training, fit
from jigstack.training.schedule import Schedule
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import SimSiamPredictionHead, SimSiamProjectionHead
from lightly.transforms.simsiam_transform import SimSiamTransform
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

Judge = Callable[[Any], float]
WIDTH = 2048
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
FOREVER = 10**6  # epochs: the rounds decide how many are taken


def machine_of(precision: str, threads: int) -> Machine:
    """This machine's own precision and layout (`own`), or fp32."""
    found, channels_last = TABLE["cpu", capability("cpu")]
    return Machine("cpu", found if precision == "own" else "fp32", channels_last, threads)


class Decoded(Dataset):
    """Decoded Pillow images with two views each, as lightly's documentation feeds them."""

    def __init__(self, images: Sequence[Image.Image], transform: Callable[[Image.Image], Any]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.transform(self.images[index])


class LightlySimSiam(nn.Module):
    """The module of lightly's SimSiam example, with the widths of its heads' defaults."""

    def __init__(self, backbone: nn.Module, dim: int = 512) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection_head = SimSiamProjectionHead(dim, WIDTH, WIDTH)
        self.prediction_head = SimSiamPredictionHead(WIDTH, WIDTH // 4, WIDTH)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        f = self.backbone(x).flatten(start_dim=1)
        z = self.projection_head(f)
        p = self.prediction_head(z)
        return z.detach(), p


def lightly_step(
    model: LightlySimSiam, optimiser: torch.optim.Optimizer, batch: Sequence[Tensor], machine: Machine | None
) -> float:
    """One step of lightly's example; a machine adds its autocast and layout."""
    criterion = NegativeCosineSimilarity()
    x0, x1 = batch
    if machine is None:
        (z0, p0), (z1, p1) = model(x0), model(x1)
    else:
        layout = torch.channels_last if machine.channels_last else torch.contiguous_format
        with machine.autocast():
            (z0, p0), (z1, p1) = (model(x.to(memory_format=layout)) for x in (x0, x1))
        z0, p0, z1, p1 = (each.float() for each in (z0, p0, z1, p1))
    loss = 0.5 * (criterion(z0, p1) + criterion(z1, p0))
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
    return float(loss.detach())


# --- step ---


def our_training(
    pictures: Pictures, size: int, chosen: argparse.Namespace, precision: str, statistics: str = "view"
) -> Iterator[Any]:
    """Our loop, one epoch of `chosen.steps` steps a `next`."""
    training, source = begun(pictures, size, chosen, precision, statistics)
    return fit(training, source)


def pure_training(pictures: Pictures, size: int, chosen: argparse.Namespace, precision: str) -> Iterator[Any]:
    """The same with one batch of views that is drawn beforehand."""
    training, source = begun(pictures, size, chosen, precision)
    rows = torch.arange(chosen.batch)
    drawn = training.method.views(source.batch(rows), torch.Generator().manual_seed(0))
    training.method.views = lambda batch, generator: drawn
    return fit(training, source)


def begun(
    pictures: Pictures, size: int, chosen: argparse.Namespace, precision: str, statistics: str = "view"
) -> tuple[Training, StoredInputs]:
    """Our pretraining of these pictures before its first step."""
    options = pretext(size, FOREVER, chosen.batch, 0.5, statistics)
    ids = np.asarray(pictures.store.ids)
    machine = machine_of(precision, chosen.threads)
    work = PretrainWork(
        options, ids, pictures, Backbone(kind="timm", name="resnet18"), None, None, machine, 0
    )
    return begin(work), StoredInputs(pictures, ids)


def pretext(size: int, epochs: int, batch: int, blur: float, statistics: str = "view") -> Pretext:
    """SimSiam with heads, augmentation and recipe as lightly's side has them."""
    options = {
        "width": WIDTH,
        "layers": 3,
        "statistics": statistics,
        "steady_predictor": False,
        "augment": {"blur": {"p": blur}},
    }
    return Pretext(
        name="simsiam",
        kind="simsiam",
        size=size,
        epochs=epochs,
        batch=batch,
        optimiser="sgd",
        lr="auto",
        weight_decay="auto",
        options=options,
    )


def lightly_training(
    images: Sequence[Image.Image], size: int, chosen: argparse.Namespace, precision: str, workers: int
) -> Iterator[float]:
    """lightly's loop; each `next` gives the seconds of `chosen.steps` steps.

    Workers start, and fill their queue, during a step that is not timed; what they prepared beyond the timed steps is
    drawn and left, so that they have nothing to do while others are timed.
    """
    machine = None if precision == "fp32" else machine_of("own", chosen.threads)
    torch.manual_seed(0)
    network = torchvision.models.resnet18()
    model = LightlySimSiam(nn.Sequential(*list(network.children())[:-1]))
    if machine is not None:
        machine.place(model)
    lr, decay = pretext(size, 1, chosen.batch, 0.5).rates("sgd")
    optimiser = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=decay)
    warm, spare = (1, 2 * workers) if workers else (0, 0)
    sampled = [number % len(images) for number in range((warm + chosen.steps + spare) * chosen.batch)]
    loader = DataLoader(
        Decoded(images, SimSiamTransform(input_size=size)),
        batch_size=chosen.batch,
        sampler=sampled,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    clock = CLOCKS[chosen.clock]
    while True:
        batches = iter(loader)
        for _ in range(warm):
            lightly_step(model, optimiser, next(batches), machine)
        start = clock()
        for _ in range(chosen.steps):
            lightly_step(model, optimiser, next(batches), machine)
        seconds = clock() - start
        for _ in batches:
            pass
        yield seconds


def timed(epochs: Iterator[Any], clock: str) -> Iterator[float]:
    """Seconds of each epoch."""
    while True:
        start = CLOCKS[clock]()
        next(epochs)
        yield CLOCKS[clock]() - start


def step_case(size: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """All ways at one size, and the ratios that count."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = photos(Path(folder), round(1.3 * size), chosen.steps * chosen.batch)
        arrays = pictures.store.gather(np.arange(len(pictures))).permute(0, 2, 3, 1).contiguous().numpy()
        images = [Image.fromarray(array) for array in arrays]
        ways: dict[str, Iterator[float]] = {}
        for precision in ("own", "fp32"):
            ways[f"ours {precision}"] = timed(our_training(pictures, size, chosen, precision), chosen.clock)
            ways[f"pure {precision}"] = timed(pure_training(pictures, size, chosen, precision), chosen.clock)
            if precision == "own":
                joint = our_training(pictures, size, chosen, precision, "joint")
                ways["joint own"] = timed(joint, chosen.clock)
            for workers in chosen.workers:
                ways[f"lightly {precision} {workers} workers"] = lightly_training(
                    images, size, chosen, precision, workers
                )
        seconds = interleaved(ways, chosen.rounds)
    best = {
        precision: min(
            (name for name in seconds if name.startswith(f"lightly {precision}")),
            key=lambda name: statistics.median(seconds[name]),
        )
        for precision in ("own", "fp32")
    }
    compared = {
        "ours against lightly as documented": ("ours own", best["fp32"]),
        "ours against lightly at our precision": ("ours own", best["own"]),
        "ours against lightly, both fp32": ("ours fp32", best["fp32"]),
        "ours against pure compute": ("ours own", "pure own"),
        "joint batch statistics against those of each view": ("joint own", "ours own"),
        "ours against pure compute, fp32": ("ours fp32", "pure fp32"),
    }
    pictures_a_round = chosen.steps * chosen.batch
    return {
        "size": size,
        "images_per_s": {
            name: pictures_a_round / statistics.median(values) for name, values in seconds.items()
        },
        "ratios": {
            name: ratio(seconds[ours], seconds[other]) | {"other": other}
            for name, (ours, other) in compared.items()
        },
        "seconds": seconds,
    }


def photos(folder: Path, side: int, count: int) -> Pictures:
    """A store of smooth random pictures."""
    rng = np.random.default_rng(0)
    ids = [str(number) for number in range(count)]
    for name in ids:
        coarse = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8))
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    paths = [str(folder / f"{name}.png") for name in ids]
    return Pictures(build_store(ids, paths, folder / "store", side, Decode()))


def interleaved(ways: Mapping[str, Iterator[float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every way in each round, one after the other, in changing order, after a round that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name in list(ways) if number % 2 else reversed(list(ways)):
            seconds[name].append(next(ways[name]))
    return {name: values[1:] for name, values in seconds.items()}


def ratio(ours: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    """How much faster ours is, per round."""
    ratios = [b / a for a, b in zip(ours, other, strict=True)]
    return {"ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}


def step(chosen: argparse.Namespace) -> None:
    """Measure the steps, print a table, and write the JSON if asked."""
    if chosen.clock == "cpu" and (chosen.workers != [0] or chosen.threads != 1):
        raise SystemExit("--clock cpu: counts this process alone; give --threads 1 --workers 0")
    found = about(chosen) | {"cases": []}
    print(", ".join(f"{name} {value}" for name, value in found.items() if name != "cases"))
    for size in chosen.sizes:
        case = step_case(size, chosen)
        found["cases"].append(case)
        print(f"\n{size} px, batch {chosen.batch}, {chosen.rounds} rounds of {chosen.steps} steps")
        for name, rate in case["images_per_s"].items():
            print(f"  {name:28s} {rate:8.1f} images/s")
        for name, each in case["ratios"].items():
            print(
                f"  {name:40s} {each['ratio']:5.2f}x ({each['low']:.2f} to {each['high']:.2f})  {each['other']}",
                flush=True,
            )
        if chosen.out is not None:
            chosen.out.write_text(json.dumps(found, indent=1) + "\n")


# --- parity ---


def workspace_of(chosen: argparse.Namespace, folder: str) -> Workspace:
    """The table, its pictures and its grouped folds."""
    config = {
        "name": "parity",
        "runs": folder,
        "threads": chosen.threads,
        "data": {
            "root": str(chosen.data),
            "id": chosen.id,
            "train": ["train.csv"],
            "test": ["test.csv"],
            "images": chosen.images,
        },
        "folds": {"scheme": "stratified_group", "n": 5, "group": chosen.group, "stratify": chosen.column},
        "backbones": {"img": {"kind": "timm", "name": "resnet18"}},
        "pretext": [pretext(chosen.size, chosen.epochs, chosen.batch, 0.0).model_dump()],
        "tasks": {"head": {"kind": "onehot", "columns": [chosen.column], "size": chosen.size}},
    }
    return Workspace(load_config(config))


def parity(chosen: argparse.Namespace) -> None:
    """Train both ways on each seed, one finished training after the other going into the JSON."""
    settings = {
        name: getattr(chosen, name) for name in ("size", "epochs", "batch", "limit", "lightly_precision")
    }
    found = read_json(chosen.out) if chosen.out.exists() else about(chosen) | settings | {"runs": {}}
    if differing := [name for name, value in settings.items() if found[name] != value]:
        raise SystemExit(f"{chosen.out}: holds runs with other {', '.join(differing)}; choose another --out")
    workspace = workspace_of(chosen, str(chosen.out.parent))
    pictures = workspace.pictures()
    ids = np.sort(np.concatenate([workspace.train.ids, workspace.test.ids]))
    ids = ids[pictures.readable(ids)][: chosen.limit]
    judge = partial(neighbours_accuracy, workspace, pictures, chosen.column)
    sides = {"ours": our_parity, "lightly": lightly_parity}
    if chosen.joint:
        sides["joint"] = partial(our_parity, statistics="joint")
    for seed in range(chosen.seeds):
        for side, train in sides.items():
            name = f"{side} {seed}"
            if name in found["runs"]:
                continue
            epochs = list(train(chosen, pictures, ids, seed, judge))
            found["runs"][name] = epochs
            write_json(chosen.out, found)
            shown = ", ".join(f"{100 * each['accuracy']:.1f}" for each in epochs)
            print(
                f"{name}: kNN accuracy {shown} %; {epochs[-1]['seconds']:.0f} s of {chosen.clock}", flush=True
            )
    for side in list(sides)[1:]:
        say_parity(found["runs"], chosen.seeds, side)


def say_parity(runs: Mapping[str, list[dict[str, float]]], seeds: int, other: str) -> None:
    """Differences of ours to another in the last epoch, and the seconds both need for the same accuracy."""
    differences = []
    for seed in range(seeds):
        ours, theirs = runs[f"ours {seed}"], runs[f"{other} {seed}"]
        differences.append(100 * (ours[-1]["accuracy"] - theirs[-1]["accuracy"]))
        goal = min(max(each["accuracy"] for each in side) for side in (ours, theirs))
        first, second = (seconds_to(side, goal) for side in (ours, theirs))
        print(
            f"seed {seed}: ours {100 * ours[-1]['accuracy']:.2f}, lightly {100 * theirs[-1]['accuracy']:.2f} %, "
            f"difference {differences[-1]:+.2f} points; to {100 * goal:.1f} %: {first:.0f} and {second:.0f} s"
        )
    spread = f" (standard deviation {statistics.stdev(differences):.2f})" if seeds > 1 else ""
    print(f"mean difference {statistics.mean(differences):+.2f} points{spread}")


def seconds_to(epochs: Sequence[Mapping[str, float]], goal: float) -> float:
    """Seconds of training until the accuracy is first reached, as measured at the ends of epochs."""
    return next((each["seconds"] for each in epochs if each["accuracy"] >= goal), math.inf)


def started(
    chosen: argparse.Namespace,
    pictures: Pictures,
    ids: np.ndarray,
    seed: int,
    machine: Machine,
    statistics: str = "view",
) -> Training:
    """The pretraining before its first step: all sides take its weights."""
    options = pretext(chosen.size, chosen.epochs, chosen.batch, 0.0, statistics)
    backbone = Backbone(kind="timm", name="resnet18")
    return begin(PretrainWork(options, ids, pictures, backbone, None, None, machine, seed))


def our_parity(
    chosen: argparse.Namespace,
    pictures: Pictures,
    ids: np.ndarray,
    seed: int,
    judge: Judge,
    statistics: str = "view",
) -> Iterator[dict[str, float]]:
    """Our pretraining, judged before it and after each epoch."""
    machine = machine_of("own", chosen.threads)
    training = started(chosen, pictures, ids, seed, machine, statistics)
    epochs = timed(fit(training, StoredInputs(pictures, ids)), chosen.clock)
    yield from judged(training.method, epochs, chosen.epochs, judge)


def lightly_parity(
    chosen: argparse.Namespace, pictures: Pictures, ids: np.ndarray, seed: int, judge: Judge
) -> Iterator[dict[str, float]]:
    """lightly's loop from the same weights on the same stored pictures, judged likewise."""
    machine = None if chosen.lightly_precision == "fp32" else machine_of("own", chosen.threads)
    plain = Machine("cpu", "fp32", False, chosen.threads)
    method = started(chosen, pictures, ids, seed, plain).method
    model = LightlySimSiam(method.backbone.net, method.backbone.dim)
    model.projection_head, model.prediction_head = method.projector, method.predictor
    if machine is not None:
        machine.place(model)
    arrays = pictures.store.gather(pictures.first(ids)).permute(0, 2, 3, 1).contiguous().numpy()
    transform = SimSiamTransform(input_size=chosen.size, gaussian_blur=0.0)
    torch.manual_seed(seed)
    loader = DataLoader(
        Decoded([Image.fromarray(array) for array in arrays], transform),
        batch_size=chosen.batch,
        shuffle=True,
        drop_last=True,
    )
    options = pretext(chosen.size, chosen.epochs, chosen.batch, 0.0)
    lr, decay = options.rates("sgd")
    schedule = Schedule(lr, options.warmup)
    optimiser = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=decay)

    def epochs() -> Iterator[None]:
        steps = chosen.epochs * len(loader)
        for epoch in range(chosen.epochs):
            model.train()
            for number, batch in enumerate(loader):
                optimiser.param_groups[0]["lr"] = schedule.rate(epoch * len(loader) + number, steps)
                lightly_step(model, optimiser, batch, machine)
            yield

    yield from judged(method, timed(epochs(), chosen.clock), chosen.epochs, judge)


def judged(
    method: nn.Module, epochs: Iterator[float], count: int, judge: Judge
) -> Iterator[dict[str, float]]:
    """Accuracy and seconds of training so far, before the first epoch and after each."""
    seconds = 0.0
    yield {"epoch": 0, "accuracy": judge(method), "seconds": seconds}
    for epoch in range(1, count + 1):
        seconds += next(epochs)
        yield {"epoch": epoch, "accuracy": judge(method), "seconds": seconds}


def neighbours_accuracy(workspace: Workspace, pictures: Pictures, column: str, method: Any) -> float:
    """Share of the labelled rows whose neighbours in the other folds name their class; features in fp32."""
    ids = workspace.plan.ids[pictures.readable(workspace.plan.ids)]
    classes, names = workspace.train.frame.loc[ids, column].factorize(sort=True)
    backbone = method.backbone
    training = backbone.training
    backbone.eval()
    with torch.inference_mode():
        parts = [
            backbone(backbone.normalise_(resize(pictures.store.gather(rows), backbone.size)))
            for rows in np.array_split(pictures.first(ids), -(-len(ids) // 256))
        ]
    backbone.train(training)
    targets = np.eye(len(names))[classes]
    plan = workspace.plan
    scores = probe(
        torch.cat(parts), targets, "classes", plan.fold_of(ids), groups=np.asarray(plan.group_of(ids)), k=20
    )
    return dict(scores)["knn.accuracy"]


def about(chosen: argparse.Namespace) -> dict[str, Any]:
    """Versions and machine."""
    return {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "lightly": lightly.__version__,
        "threads": chosen.threads,
        "clock": chosen.clock,
        "own": "{} channels_last={}".format(*TABLE["cpu", capability("cpu")]),
        "machine": platform.processor() or platform.machine(),
    }


def main() -> None:
    """Read the options and do what they say."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    steps = commands.add_parser("step", help="speed of a training step")
    steps.set_defaults(do=step)
    steps.add_argument("--rounds", type=int, default=9, help="paired rounds of each size")
    steps.add_argument("--steps", type=int, default=4, help="training steps a measurement")
    steps.add_argument("--sizes", nargs="+", type=int, default=[64, 96], help="sides, pixels")
    steps.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2], help="of lightly's DataLoader")
    steps.add_argument("--out", type=Path, help="a JSON file for all figures")
    same = commands.add_parser("parity", help="what the features are worth")
    same.set_defaults(do=parity)
    same.add_argument("data", type=Path, help="a folder with train.csv, test.csv and pictures")
    same.add_argument(
        "--out", type=Path, default=Path("parity.json"), help="finished trainings are kept here"
    )
    same.add_argument("--size", type=int, default=48, help="side of the views, pixels")
    same.add_argument("--epochs", type=int, default=5)
    same.add_argument("--seeds", type=int, default=3)
    same.add_argument("--limit", type=int, default=5000, help="most pictures to pretrain on")
    same.add_argument("--id", default="object_id", help="the id column")
    same.add_argument("--images", default="images/{object_id}.png", help="where the pictures lie")
    same.add_argument("--column", default="cls", help="the column of classes")
    same.add_argument("--group", default="series_id", help="the column whose rows stay in one fold")
    same.add_argument("--joint", action="store_true", help="ours again, with joint batch statistics")
    same.add_argument(
        "--lightly-precision", choices=["fp32", "own"], default="fp32", help="fp32: as documented"
    )
    for command in (steps, same):
        command.add_argument("--batch", type=int, default=64)
        command.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
        command.add_argument(
            "--clock",
            choices=sorted(CLOCKS),
            default="wall",
            help="cpu: processor seconds of this process, with one thread the fairer measure on a busy machine",
        )
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    chosen.do(chosen)


if __name__ == "__main__":
    main()
