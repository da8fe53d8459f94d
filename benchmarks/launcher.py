"""Are fold models trained faster side by side than one after the other with all threads?

    python benchmarks/launcher.py --rounds 7 --json launcher.json

Makes synthetic photos and fine-tunes one network a fold with `jigstack.finetune`: once with `processes=1`, once with
one process a fold and its share of the threads, in interleaved pairs. The whole command is timed, the start of the
worker processes included; the median of the paired ratios is reported with its range.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import jigstack
import numpy as np
import pandas as pd
import torch
from jigstack.datasets.files import write_json
from PIL import Image


def make_data(folder: Path, rows: int) -> None:
    """Photos of noise with a number to learn, in as many groups as rows."""
    rng = np.random.default_rng(0)
    for row in range(rows):
        coarse = rng.integers(0, 255, (8, 8, 3), np.uint8)
        Image.fromarray(coarse).resize((128, 128)).save(folder / f"{row}.jpg")
    frame = pd.DataFrame({"id": range(rows), "number": rng.normal(size=rows)})
    frame.to_csv(folder / "train.csv", index=False)


def config(data: Path, options: argparse.Namespace, processes: int, run: str) -> dict[str, Any]:
    """One network a fold from scratch."""
    return {
        "name": run,
        "runs": str(data / "runs"),
        "threads": options.threads,
        "processes": processes,
        "precision": options.precision,
        "data": {"root": str(data), "id": "id", "train": ["train.csv"], "images": "{id}.jpg"},
        "folds": {"scheme": "kfold", "n": options.folds},
        "backbones": {"img": {"name": options.model}},
        "tasks": {
            "number": {
                "kind": "regression",
                "columns": ["number"],
                "size": options.size,
                "epochs": options.epochs,
                "weight": 1.0 + time.time_ns() % 1_000_000 * 1e-9,  # another key: nothing is linked
            }
        },
    }


def main() -> None:
    """Measure, print a table, and write the JSON if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    beside = min(options.threads, options.folds)
    seconds: dict[int, list[float]] = {1: [], beside: []}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        make_data(data, options.rows)
        jigstack.finetune(
            config(data, options, 1, "warm-up"), ["folds.n=2", "tasks.number.epochs=1"], quiet=True
        )
        for number in range(options.rounds):
            for processes, times in seconds.items():
                started = time.perf_counter()
                jigstack.finetune(config(data, options, processes, f"{number}-{processes}"), quiet=True)
                times.append(time.perf_counter() - started)
            print({processes: round(times[-1], 1) for processes, times in seconds.items()}, flush=True)
    ratios = [alone / together for alone, together in zip(seconds[1], seconds[beside], strict=True)]
    print(
        f"{beside} processes with {options.threads // beside} threads each against one with {options.threads}: "
        f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f}), {options.model} {options.size} px"
    )
    if options.json is not None:
        machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
        settings = {name: value for name, value in vars(options).items() if name != "json"}
        write_json(
            options.json, {"machine": machine, "settings": settings, "seconds": seconds, "ratios": ratios}
        )


if __name__ == "__main__":
    main()
