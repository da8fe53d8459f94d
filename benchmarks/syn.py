"""Our TabNet on the six synthetic sets of its paper (Arik & Pfister 2021, Table 1), trained by our own loop.

Eleven normal numbers; a class drawn with the odds that a few of them say, in Syn4 to Syn6 another few for each side of
the last (Chen et al. 2018; Yoon et al. 2019). Printed are the test AUC beside the paper's and beside the ceiling, the
AUC of who knows the true odds, and how much of the aggregate mask lies on the columns that decide a row.

Width, steps, gamma, sparsity, batch and peak rate are those of the paper's appendix. Not the paper's: our loop has no
decay in stairs, so the rate falls by a cosine; AdamW without decay for Adam; an average of the weights predicts.

    taskset -c 0 python benchmarks/syn.py --sets 1 2 3 --iterations 4000 --compile --out syn.json

A result that stands in the JSON is not measured again; 4,000 iterations of 3,000 rows take minutes on one core.
"""

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jigstack.backbones.table_input import TableInput
from jigstack.backbones.tabnet import TabNet
from jigstack.configs.heads import HeadAugment
from jigstack.datasets.files import read_json, write_json
from jigstack.datasets.table_column import TableColumn
from jigstack.datasets.targets import OnehotTarget
from jigstack.training.device import Machine
from jigstack.training.fit import FitOptions, Training, fit
from jigstack.training.optimiser import parameter_groups
from jigstack.training.randomness import reseed_global
from jigstack.training.schedule import Schedule
from jigstack.transfer.network import HeadNetwork
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor

Floats = NDArray[np.float64]
COLUMNS, BATCH, VIRTUAL, RATE = 11, 3000, 100, 0.02
TRAIN, TEST = 10_000, 100_000
PAPER = {1: 0.682, 2: 0.892, 3: 0.897, 4: 0.776, 5: 0.789, 6: 0.878}
SETTINGS = {  # steps, gamma, sparsity
    1: (4, 2.0, 0.02),
    2: (4, 2.0, 0.01),
    3: (4, 2.0, 0.01),
    4: (5, 1.5, 0.005),
    5: (5, 1.5, 0.005),
    6: (5, 1.5, 0.005),
}
LOGITS: list[
    tuple[tuple[int, ...], Callable[[Floats], Floats]]
] = [  # columns that decide, and the log-odds of class 0
    ((0, 1), lambda x: x[:, 0] * x[:, 1]),
    ((2, 3, 4, 5), lambda x: np.square(x[:, 2:6]).sum(1) - 4),
    (
        (6, 7, 8, 9),
        lambda x: -10 * np.sin(0.2 * x[:, 6]) + np.abs(x[:, 7]) + x[:, 8] + np.exp(-x[:, 9]) - 2.4,
    ),
]
SWITCHED = {4: (0, 1), 5: (0, 2), 6: (1, 2)}  # the logits below and above 0 of the last column


def make_set(number: int, rows: int, rng: np.random.Generator) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Draw one of the sets.

    Args:
        number: 1 to 6.
        rows: N.
        rng: every draw comes from it.

    Returns:
        x (N, 11); the probability (N,) of class 1; and (N, 11) which columns decide a row.
    """
    x = rng.standard_normal((rows, COLUMNS))
    below, above = SWITCHED.get(number, (number - 1, number - 1))
    low = x[:, -1] < 0
    logits = np.where(low, LOGITS[below][1](x), LOGITS[above][1](x))
    deciding = np.zeros((rows, COLUMNS), dtype=bool)
    for side, which in ((low, below), (~low, above)):
        deciding[side] |= np.isin(np.arange(COLUMNS), LOGITS[which][0])
    deciding[:, -1] = number in SWITCHED
    return x, 1 / (1 + np.exp(logits)), deciding


def expected_auc(p: Floats) -> float:
    """The AUC of the true probabilities (N,), averaged over the labels that they may give, not drawn."""
    p = np.sort(p)
    below = np.cumsum(1 - p) - (1 - p)  # of each row, how many of class 0 to expect below it
    pairs = p.sum() * (1 - p).sum() - (p * (1 - p)).sum()  # no row is a pair with itself
    return float((p * below).sum() / pairs)


class Rows:
    """Rows in memory, as `fit` reads them."""

    def __init__(self, x: Floats, target: Tensor) -> None:
        self.x, self.target = torch.from_numpy(x).float(), target

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, rows: Tensor, draws: torch.Generator | None = None) -> dict[str, Any]:
        """Inputs (B, 11) and the target (B, 2)."""
        return {"inputs": self.x[rows], "targets": {"y": self.target[rows]}}


def measure(number: int, seed: int, iterations: int, rate: float, compiled: bool) -> dict[str, float]:
    """Train on one set, and judge rows that were not seen.

    Returns:
        `auc`, `ceiling` (of as many test rows), `on_true`, the share of the aggregate mask on the columns that decide a
        row, the mean over test rows, `by_chance`, that share with even attention, and `seconds`.
    """
    rng = np.random.default_rng([number, seed])
    x, p, _ = make_set(number, TRAIN, rng)
    frame = pd.DataFrame({"y": np.where(rng.random(TRAIN) < p, "1", "0")})
    test_x, test_p, deciding = make_set(number, TEST, rng)
    test_y = rng.random(TEST) < test_p
    target = OnehotTarget("y", ("y",), ("0", "1"), None, False).fit(frame)
    steps, gamma, sparsity = SETTINGS[number]
    reseed_global(seed, "syn", number)
    backbone = TabNet(
        TableInput([TableColumn(str(column)) for column in range(COLUMNS)]),
        n_d=16,
        n_a=16,
        steps=steps,
        gamma=gamma,
        sparsity=sparsity,
        virtual_batch=VIRTUAL,
        momentum=0.3,
    )
    network = HeadNetwork(backbone, {"y": target}, size=32, augment=HeadAugment(mix=None), weights={"y": 1.0})
    epochs = max(1, round(iterations / (TRAIN // BATCH)))
    training = Training(
        network,
        parameter_groups(backbone.stages(), network.heads.parameters(), weight_decay=0.0),
        FitOptions(epochs, BATCH, Schedule(rate), ema=0.99),
        Machine("cpu", "fp32", False, torch.get_num_threads(), compile=compiled),
        seed,
        ("syn", number),
    )
    begun = time.perf_counter()
    for _ in fit(training, Rows(x, torch.from_numpy(target.encode(frame)).float())):
        pass
    seconds = time.perf_counter() - begun
    judged = training.averaged.eval()
    scores, shares = [], []
    with torch.inference_mode():
        for rows in torch.from_numpy(test_x).float().split(4096):
            outputs = judged({"inputs": rows})["y"]
            scores.append(outputs[:, 1] - outputs[:, 0])
            shares.append(judged.backbone.importance(rows))
    share = torch.cat(shares).numpy()  # (N, 11)
    return {
        "auc": float(roc_auc_score(test_y, torch.cat(scores).numpy())),
        "ceiling": expected_auc(test_p),
        "on_true": float((share * deciding).sum(1).mean()),
        "by_chance": float(deciding.mean()),
        "seconds": seconds,
    }


def main() -> None:
    """Measure what the JSON does not hold yet, and print all of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, nargs="+", choices=list(PAPER), default=list(PAPER))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--iterations", type=int, default=4000, help="steps of 3,000 rows")
    parser.add_argument("--lr", type=float, default=RATE, help="peak rate")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--compile", action="store_true", help="compiled steps: half the time, other roundings"
    )
    parser.add_argument("--out", type=Path, default=Path("syn.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
    report = read_json(options.out) if options.out.exists() else {"machine": machine, "results": {}}
    print("set   seed  iterations  auc    paper  ceiling  mask on true columns (even attention)")
    for number in options.sets:
        for seed in options.seeds:
            key = f"syn{number}/seed {seed}/{options.iterations} iterations/lr {options.lr:g}"
            if key not in report["results"]:
                report["results"][key] = measure(
                    number, seed, options.iterations, options.lr, options.compile
                )
                write_json(options.out, report)
            found = report["results"][key]
            print(
                f"Syn{number}  {seed:4d}  {options.iterations:10,d}  {found['auc']:.4f} {PAPER[number]:.3f}  "
                f"{found['ceiling']:.4f}   {found['on_true']:.3f} ({found['by_chance']:.3f})  "
                f"{found['seconds']:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
