"""What compiled training steps (`compile: true`) cost and bring: jigsaw, compiled against eager.

Both trainings start from the same weights and see the same batches. Each round takes some steps of one and then of the
other, in changing order; reported are the seconds of the first compiled step, the median of the rounds' ratios with
their range, and after how many steps the first one is paid back.

    python benchmarks/compiling.py --models resnet18:64 --rounds 7 --out compiling.json
"""

import argparse
import json
import platform
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jigstack.backbones import TimmBackbone
from jigstack.configs.pretext import JigsawOptions
from jigstack.pretext.jigsaw import Jigsaw
from jigstack.training.device import TABLE, Machine, Precision, capability
from jigstack.training.fit import FitOptions, Training, fit
from jigstack.training.optimiser import parameter_groups
from jigstack.training.schedule import Schedule
from torch import Tensor


class Noise:
    """Random pictures in memory; an epoch is `steps` batches."""

    def __init__(self, steps: int, batch: int, side: int) -> None:
        draws = torch.Generator().manual_seed(0)
        self.images = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, generator=draws)
        self.count = steps * batch

    def __len__(self) -> int:
        return self.count

    def batch(self, rows: Tensor, draws: torch.Generator | None = None) -> Any:
        """(B, C, H, W) uint8."""
        return self.images[rows % len(self.images)]


def start(name: str, size: int, chosen: argparse.Namespace, machine: Machine) -> Training:
    """The same weights in every call; a round is an epoch."""
    torch.manual_seed(0)
    method = Jigsaw(TimmBackbone(name, 3, size), JigsawOptions(), size)
    groups = parameter_groups(method.backbone.stages(), method.head.parameters(), weight_decay=0.05)
    options = FitOptions(chosen.rounds + 1, chosen.batch, Schedule(1e-3, 0.1))
    return Training(method, groups, options, machine, 0, ("compiling",))


def main() -> None:
    """Measure, print a table, and write the JSON if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["resnet18:64"], metavar="NAME:SIZE")
    parser.add_argument("--precisions", nargs="+", default=["auto"], choices=["auto", "fp32", "bf16"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=4, help="of each round")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="a JSON file for all figures")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    fixed, last = TABLE[chosen.device.split(":")[0], capability(chosen.device)]
    cases = []
    print("model           px precision   first step   eager, s/step   ratio  range          paid back after")
    for text in chosen.models:
        name, size = text.split(":")
        for asked in chosen.precisions:
            precision: Precision = fixed if asked == "auto" else asked
            machine = Machine(chosen.device, precision, last, chosen.threads)
            source = Noise(chosen.steps, chosen.batch, round(1.3 * int(size)))
            trainings = {
                way: fit(start(name, int(size), chosen, replace(machine, compile=way == "compiled")), source)
                for way in ("eager", "compiled")
            }
            seconds: dict[str, list[float]] = {way: [] for way in trainings}
            losses: dict[str, list[float]] = {way: [] for way in trainings}
            compiling = 0.0
            for number in range(chosen.rounds + 1):
                for way in trainings if number % 2 else reversed(trainings):
                    started = time.perf_counter()
                    record = next(trainings[way])
                    seconds[way].append((time.perf_counter() - started) / chosen.steps)
                    losses[way].append(record.scalars["loss"])
                    compiling += record.compile_seconds
            for values in seconds.values():
                del values[0]  # the first round compiles and warms up
            ratios = [a / b for a, b in zip(seconds["eager"], seconds["compiled"], strict=True)]
            eager, ratio = statistics.median(seconds["eager"]), statistics.median(ratios)
            saved = eager * (1 - 1 / ratio)
            case = {
                "model": name,
                "size": int(size),
                "precision": precision,
                "first_step_seconds": compiling,
                "eager_seconds": eager,
                "ratio": ratio,
                "ratio_range": [min(ratios), max(ratios)],
                "steps_to_pay_back": compiling / saved if saved > 0 else None,
                "loss_difference": max(
                    abs(a - b) for a, b in zip(losses["eager"], losses["compiled"], strict=True)
                ),
                "seconds": seconds,
            }
            cases.append(case)
            back = f"{case['steps_to_pay_back']:,.0f} steps" if saved > 0 else "never"
            print(
                f"{name:14} {size:>3} {precision:9} {compiling:10.0f} s {eager:14.2f} {ratio:8.2f}x "
                f"{min(ratios):.2f} to {max(ratios):.2f}   {back}",
                flush=True,
            )
    if chosen.out is not None:
        processor = {"processor": platform.processor() or platform.machine(), "capability": capability("cpu")}
        about = {"torch": torch.__version__, "machine": processor, "threads": chosen.threads}
        chosen.out.write_text(json.dumps({**about, "batch": chosen.batch, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
