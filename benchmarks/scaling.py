"""Do time and memory stay flat in the number of images? Slices of pretraining and prediction, each in a fresh process.

    python benchmarks/scaling.py --images 1000 10000 50000 --out scaling.json

Stores of synthetic pictures are written as the memory-mapped arrays that `build_store` makes. For each number of
images, size and batch, a process of its own opens the store and takes some steps of jigsaw, or predicts some images in
two views; round by round, so that the numbers of images are timed one after the other. Seconds are medians over the
rounds, their growth the median of the rounds' ratios with its range. Memory is the largest peak of what the process
itself holds, mapped files not counted, and of all that is resident, pages of the mapped store counted, which the system
takes back when it needs them. Rows are drawn from the whole store, so that each step reads other pages.

Ends with 1 if memory grows by more than `--slack` MB from the fewest to the most images.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch
from jigstack.backbones import TimmBackbone
from jigstack.configs.heads import HeadAugment
from jigstack.configs.pretext import JigsawOptions
from jigstack.datasets.files import write_json
from jigstack.datasets.images import ImageStore
from jigstack.datasets.pictures import Pictures
from jigstack.datasets.targets import RegressionTarget
from jigstack.pretext.jigsaw import Jigsaw
from jigstack.pretext.pretrain import StoredInputs
from jigstack.training.device import TABLE, Machine, capability
from jigstack.training.fit import FitOptions, Training, fit
from jigstack.training.optimiser import parameter_groups
from jigstack.training.schedule import Schedule
from jigstack.transfer.network import HeadNetwork
from jigstack.transfer.prediction import predict_views

MEGABYTE = 2**20
WHATS = ("pretrain", "predict")


def write_store(folder: Path, count: int, size: int) -> None:
    """A store of `count` pictures, of which a block of 500 repeats itself; written as `build_store` writes it."""
    folder.mkdir(parents=True)
    images = np.lib.format.open_memmap(
        folder / "images.npy", mode="w+", dtype=np.uint8, shape=(count, 3, size, size)
    )
    block = np.random.default_rng(0).integers(0, 256, (min(count, 500), 3, size, size), np.uint8)
    for start in range(0, count, len(block)):
        images[start : start + len(block)] = block[: count - start]
    images.flush()
    ids = [f"{number:07d}" for number in range(count)]
    index = pd.DataFrame({"id": ids, "path": ids, "digest": ids, "problem": ""}, dtype=object)
    index.to_parquet(folder / "index.parquet", index=False)
    write_json(
        folder / "card.json",
        {"key": f"{count}x{size}", "size": size, "channels": 3, "unreadable": 0, "rows": count},
    )


class Peak:
    """The peak memory of this process while the block runs, looked at a hundred times a second."""

    def __enter__(self) -> "Peak":
        self.own, self.resident, self._done = 0, 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        process = psutil.Process()
        while True:
            memory = process.memory_info()
            # On Linux `shared` are the pages of mapped files; elsewhere they cannot be told apart.
            self.own = max(self.own, memory.rss - getattr(memory, "shared", 0))
            self.resident = max(self.resident, memory.rss)
            if self._done.wait(0.01):
                return


def pretrain_slice(store: ImageStore, point: dict[str, Any], machine: Machine) -> list[float]:
    """Seconds of each step of jigsaw but the first."""
    torch.manual_seed(0)
    method = Jigsaw(TimmBackbone(point["model"], 3, point["size"]), JigsawOptions(), point["size"])
    groups = parameter_groups(method.backbone.stages(), method.head.parameters(), weight_decay=0.05)
    options = FitOptions(1000, point["batch"], Schedule(1e-3))
    training, marks = Training(method, groups, options, machine, 0, ("scaling",)), []

    def stop() -> bool:
        marks.append(time.perf_counter())
        return len(marks) > point["steps"]

    for _ in fit(training, StoredInputs(Pictures(store), store.ids, machine), stop):
        pass
    return np.diff(marks).tolist()


def predict_slice(store: ImageStore, point: dict[str, Any], machine: Machine) -> list[float]:
    """Seconds of each batch of prediction in two views but the first."""
    torch.manual_seed(0)
    target = RegressionTarget("y", ("y",)).fit(pd.DataFrame({"y": [0.0, 1.0]}))
    network = HeadNetwork(
        TimmBackbone(point["model"], 3, point["size"]),
        {"y": target},
        size=point["size"],
        augment=HeadAugment(mix=None),
        weights={"y": 1.0},
    )
    marks: list[float] = []
    images = point["batch"] // 2 * (point["steps"] + 1)
    ids = store.ids[np.random.default_rng(0).integers(0, len(store), images)]
    predict_views(
        [network],
        store,
        ids,
        ["identity", "hflip"],
        machine,
        batch=point["batch"],
        progress=lambda *_: marks.append(time.perf_counter()),
    )
    return np.diff(marks).tolist()


SLICES: dict[str, Callable[[ImageStore, dict[str, Any], Machine], list[float]]] = {
    "pretrain": pretrain_slice,
    "predict": predict_slice,
}


def measure(point: dict[str, Any]) -> dict[str, Any]:
    """One point, in this process."""
    torch.set_num_threads(point["threads"])
    precision, last = TABLE["cpu", capability("cpu")]
    machine = Machine("cpu", precision, last, point["threads"])
    with Peak() as peak:
        started = time.perf_counter()
        store = ImageStore(point["store"])
        opened = time.perf_counter() - started
        seconds = SLICES[point["what"]](store, point, machine)
    return {
        "seconds": statistics.median(seconds),
        "open_seconds": opened,
        "own_mb": peak.own / MEGABYTE,
        "resident_mb": peak.resident / MEGABYTE,
    }


def in_a_process(point: dict[str, Any]) -> dict[str, Any]:
    """One point, in a process of its own."""
    ended = subprocess.run(
        [sys.executable, __file__, "--point", json.dumps(point)], capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise SystemExit(ended.stderr)
    return json.loads(ended.stdout.splitlines()[-1])


def points(chosen: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """All points of one round, those that differ in the number of images alone one after the other."""
    for size, what, batch, count in product(chosen.sizes, WHATS, chosen.batches, chosen.images):
        yield {
            "what": what,
            "images": count,
            "size": size,
            "batch": batch,
            "store": str(folder / f"{count}x{size}"),
            "steps": chosen.steps,
            "model": chosen.model,
            "threads": chosen.threads,
        }


def growth(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """From the fewest to the most images: how many MB more, and how many times the seconds."""
    found = []
    for what, size, batch in dict.fromkeys((row["what"], row["size"], row["batch"]) for row in rows):
        line = [row for row in rows if (row["what"], row["size"], row["batch"]) == (what, size, batch)]
        first, last = (choose(line, key=lambda row: row["images"]) for choose in (min, max))
        times = [b / a for a, b in zip(first["seconds"], last["seconds"], strict=True)]
        found.append(
            {
                "what": what,
                "size": size,
                "batch": batch,
                "more_mb": last["own_mb"] - first["own_mb"],
                "times": statistics.median(times),
                "times_range": [min(times), max(times)],
            }
        )
    return found


def main() -> int:
    """Measure all points, print a table, and write the JSON if asked; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", nargs="+", type=int, default=[1000, 10_000, 50_000])
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 96])
    parser.add_argument("--batches", nargs="+", type=int, default=[64, 128])
    parser.add_argument("--rounds", type=int, default=7, help="processes of each point")
    parser.add_argument("--steps", type=int, default=2, help="timed steps of each process")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--slack", type=float, default=64, help="MB by which memory may grow")
    parser.add_argument("--folder", type=Path, help="where the stores are written; default: a temporary one")
    parser.add_argument("--out", type=Path, help="a JSON file for all figures")
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.point is not None:
        print(json.dumps(measure(chosen.point)))
        return 0
    print(
        f"{'what':10} {'px':>4} {'batch':>6} {'images':>8} {'s/step':>8} {'open, s':>8} {'own, MB':>8} {'resident':>9}"
    )
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        for size, count in product(chosen.sizes, chosen.images):
            write_store(Path(folder) / f"{count}x{size}", count, round(1.3 * size))
        rows = [{**point, "found": []} for point in points(chosen, Path(folder))]
        for number in range(chosen.rounds):
            for row in rows:
                row["found"].append(in_a_process({name: row[name] for name in row if name != "found"}))
            print(f"round {number + 1} of {chosen.rounds}", file=sys.stderr, flush=True)
    for row in rows:
        found = row.pop("found")
        del row["store"]
        row["seconds"] = [each["seconds"] for each in found]
        row |= {name: max(each[name] for each in found) for name in ("open_seconds", "own_mb", "resident_mb")}
        print(
            f"{row['what']:10} {row['size']:4d} {row['batch']:6d} {row['images']:8,d} "
            f"{statistics.median(row['seconds']):8.2f} {row['open_seconds']:8.2f} {row['own_mb']:8.0f} "
            f"{row['resident_mb']:9.0f}"
        )
    lines = growth(rows)
    print(f"\nfrom {min(chosen.images):,} to {max(chosen.images):,} images")
    for line in lines:
        print(
            f"{line['what']:10} {line['size']:4d} {line['batch']:6d} {line['more_mb']:+8.0f} MB "
            f"{line['times']:6.2f}x seconds ({line['times_range'][0]:.2f} to {line['times_range'][1]:.2f})"
        )
    if chosen.out is not None:
        about = {
            "torch": torch.__version__,
            "machine": {
                "processor": platform.processor() or platform.machine(),
                "capability": capability("cpu"),
            },
            "threads": chosen.threads,
        }
        chosen.out.write_text(json.dumps({**about, "rows": rows, "growth": lines}, indent=1) + "\n")
    return int(any(line["more_mb"] > chosen.slack for line in lines))


if __name__ == "__main__":
    raise SystemExit(main())
