"""What a wide table costs: encoding it, training networks on it, and a whole run, with the memory taken.

A third of the columns is skewed, a tenth holds few values, a fifth misses cells. Seconds are given by wall clock and by
processor time, which a busy machine disturbs less; memory is the most that the process ever held, with the table.

    OMP_NUM_THREADS=1 python benchmarks/wide.py --rows 300000 --columns 2000 --steps 200 --out wide.json
    OMP_NUM_THREADS=1 python benchmarks/wide.py --rows 300000 --columns 2000 --run tabnet --folder path/to/disk

With `--steps` so many steps of the pretext `masked` and of a head follow, on each of `--kinds`, and a prediction. With
`--run` the table is written as parquet (`--csv`: as CSV) and `jigstack.run` goes from the files to the predictions in a
process of its own: one epoch of `masked` and of a head on each of two folds.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jigstack
import numpy as np
import pandas as pd
import torch
from jigstack.configs.data import Folds
from jigstack.configs.heads import HeadAugment
from jigstack.configs.schema import Backbone, Pretext, Task, Transfer
from jigstack.configs.steps import QuantileStep
from jigstack.datasets.folds import make_plan
from jigstack.datasets.table_rows import TableRows
from jigstack.datasets.table_schema import TableSchema
from jigstack.datasets.targets import code_target
from jigstack.pretext import pretrain
from jigstack.training.device import Machine
from jigstack.training.fit import Source, Training, fit
from jigstack.transfer import finetune
from jigstack.transfer.prediction import predict_views

MACHINE = Machine("cpu", "fp32", False, 1)
PREDICTED = 20_000
"""Rows of the timed prediction."""


def make_frame(rows: int, columns: int) -> pd.DataFrame:
    """Numbers of several shapes, float32."""
    rng = np.random.default_rng(0)
    x = np.empty((rows, columns), dtype=np.float32)
    for start in range(0, columns, 50):  # drawn at once they would be held twice
        x[:, start : start + 50] = rng.standard_normal((rows, min(50, columns - start)), dtype=np.float32)
    x[:, ::3] = np.exp(x[:, ::3])
    x[:, 1::10] = np.round(x[:, 1::10] * 3)
    x[::17, ::5] = np.nan
    return pd.DataFrame(x, columns=[f"c{number}" for number in range(columns)], copy=False)


def make_labels(frame: pd.DataFrame) -> pd.DataFrame:
    """What a head learns: two columns and noise."""
    noise = np.random.default_rng(1).standard_normal(len(frame))
    values = frame["c1"].to_numpy() / 3 + frame["c4"].to_numpy() + 0.3 * noise
    ids = [f"r{number:06d}" for number in range(len(frame))]
    return pd.DataFrame({"y": values}, index=pd.Index(ids, name="id"))


def peak() -> float:
    """The most memory held so far, GiB."""
    status = Path("/proc/self/status")
    if status.exists():  # what Linux says by getrusage began with the parent's
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def measured(what: str, action: Callable[[], Any], rows: int = 0) -> tuple[dict[str, Any], Any]:
    """What one action took, printed, and what it gave; with `rows` also how many of them a second."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = action()
    taken = {
        "what": what,
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "peak": peak(),
    }
    speed = ""
    if rows:
        taken["rows"] = rows / taken["cpu"]
        speed = f", {taken['rows']:,.0f} rows a processor second"
    print(
        f"{what:16s} wall {taken['wall']:6.1f} s, processor {taken['cpu']:6.1f} s, peak {taken['peak']:.2f} GiB{speed}",
        flush=True,
    )
    return taken, result


def train(training: Training, source: Source, steps: int) -> None:
    """So many steps."""

    def stop() -> bool:
        return training.step >= steps

    for _ in fit(training, source, stop):
        if stop():
            return


def networks(kind: str, inputs: TableRows, labels: pd.DataFrame, batch: int, steps: int) -> list[dict]:
    """The pretext, a head and a prediction on one kind of backbone."""
    backbone = Backbone.model_validate({"kind": kind})
    shared: dict[str, Any] = {"epochs": 100, "batch": batch}
    options = Pretext(name="mask", kind="masked", optimiser="adamw", **shared)
    work = pretrain.PretrainWork(options, inputs.owners, inputs, backbone, None, None, MACHINE, 0)
    training = pretrain.begin(work)
    trained, _ = pretrain.sources(work, training.method, *pretrain.split_held(work))
    parts = [measured(f"{kind} masked", lambda: train(training, trained, steps), batch * steps)[0]]
    task = Task(kind="regression", columns=["y"], augment=HeadAugment(mix=None), **shared)
    fold = finetune.FoldWork(
        network="y",
        tasks={"y": task},
        targets={"y": code_target("y", task, labels, 0)},
        fold=0,
        frame=labels,
        plan=make_plan(labels.index, Folds(n=5), 0),
        inputs=inputs,
        backbone=backbone,
        checkpoint=None,
        transfer=Transfer(),
        machine=MACHINE,
        seed=0,
    )
    ids = fold.training_ids()
    targets = {name: target.fit(labels.loc[ids]) for name, target in fold.targets.items()}
    head = finetune.begin(fold, targets)
    rows = finetune.labelled(fold, ids, targets)
    parts.append(measured(f"{kind} head", lambda: train(head, rows, steps), batch * steps)[0])
    some = fold.plan.valid_ids(0)[:PREDICTED]

    def predict() -> Any:
        return predict_views([head.averaged], inputs.store, some, ["identity"], MACHINE)

    return [*parts, measured(f"{kind} predict", predict, len(some))[0]]


def write_files(rows: int, columns: int, folder: Path, ending: str) -> None:
    """A train file with labels, of nine tenths of the rows, and a test file."""
    frame = make_frame(rows, columns)
    labels = make_labels(frame)
    frame.index = labels.index
    cut = rows * 9 // 10
    for name, part in (("train", frame.iloc[:cut].assign(y=labels["y"])), ("test", frame.iloc[cut:])):
        path = folder / f"{name}.{ending}"
        if ending == "csv":
            part.to_csv(path, float_format="%.6g")
        else:
            part.reset_index().to_parquet(path, index=False)


def whole_run(rows: int, columns: int, kind: str, folder: Path, *, csv: bool) -> dict[str, Any]:
    """From files to predictions in a process of its own: seconds and the most memory of that process."""
    ending = "csv" if csv else "parquet"
    if not (folder / f"train.{ending}").exists():
        write_files(rows, columns, folder, ending)
    trained = {"epochs": 1, "batch": 1024}
    config = {
        "name": f"{kind}-{ending}",
        "runs": str(folder / "runs"),
        "threads": 1,
        "device": "cpu",
        "data": {"root": str(folder), "id": "id", "train": [f"train.{ending}"], "test": [f"test.{ending}"]},
        "folds": {"scheme": "kfold", "n": 2},
        "backbones": {"rows": {"kind": kind, "steps": [{"kind": "quantile"}]}},
        "pretext": [{"name": "mask", "kind": "masked", **trained}],
        "tasks": {"y": {"kind": "regression", "columns": ["y"], "init": "mask", **trained}},
    }
    began = time.perf_counter()
    command = [sys.executable, __file__, "--config", json.dumps(config)]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    held = float(ended.stdout.split()[-1])
    taken = {"what": f"run {kind} {ending}", "wall": time.perf_counter() - began, "peak": held}
    print(f"{taken['what']:16s} wall {taken['wall']:6.1f} s, peak {held:.2f} GiB", flush=True)
    return taken


def main() -> None:
    """Measure, print, and write the JSON if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--columns", type=int, default=2_000)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--kinds", nargs="+", default=["tabnet", "mlp"])
    parser.add_argument("--run", metavar="KIND", help="a whole run instead, on a backbone of this kind")
    parser.add_argument("--csv", action="store_true", help="of the run: read CSV instead of parquet")
    parser.add_argument(
        "--folder", type=Path, help="of the run: where files go and stay; else they are removed"
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--config", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.config is not None:
        jigstack.run(options.config, until="features")
        print(peak())
        return
    if options.run is not None:
        with tempfile.TemporaryDirectory() as made:
            folder = options.folder or Path(made)
            folder.mkdir(parents=True, exist_ok=True)
            parts = [whole_run(options.rows, options.columns, options.run, folder, csv=options.csv)]
    else:
        made, frame = measured("table", lambda: make_frame(options.rows, options.columns))
        labels = make_labels(frame)
        fitted, schema = measured(
            "fit", lambda: TableSchema.fit(frame, list(frame.columns), steps=[QuantileStep()])
        )
        encoded, values = measured("encode", lambda: schema.encode(frame))
        parts = [made, fitted, encoded]
        inputs = TableRows(values, labels.index.tolist(), schema)
        for kind in options.kinds if options.steps else ():
            parts += networks(kind, inputs, labels, options.batch, options.steps)
    if options.out is not None:
        figures = {"rows": options.rows, "columns": options.columns, "steps": options.steps, "parts": parts}
        options.out.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
