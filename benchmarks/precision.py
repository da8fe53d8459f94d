"""Training and prediction in fp32 and bf16, with and without channels-last: the measurements behind
`training/device.py`.

    python benchmarks/precision.py --models resnet10t:48 resnet18:64 --out precision.json

All variants of one shape run in turn, round by round; the ratio to plain fp32 is taken within a round, so that a
machine whose speed drifts does not matter. The median of the ratios and their range are printed.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import timm
import torch

VARIANTS = {"fp32": (False, False), "fp32 channels-last": (False, True), "bf16 channels-last": (True, True)}


def images_per_second(
    name: str, size: int, batch: int, steps: int, variant: str, device: str, train: bool
) -> float:
    """One timed stretch of steps, after one step that warms up."""
    low, last = VARIANTS[variant]
    layout = torch.channels_last if last else torch.contiguous_format
    model = timm.create_model(name, num_classes=81).to(device).to(memory_format=layout).train(train)
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    images = torch.randn(batch, 3, size, size, device=device)
    started = 0.0
    for step in range(steps + 1):
        if step == 1:
            _wait(device)
            started = time.perf_counter()
        with torch.set_grad_enabled(train), torch.autocast(device, torch.bfloat16, enabled=low):
            outputs = model(images)
        if train:
            optimiser.zero_grad()
            outputs.float().square().mean().backward()
            optimiser.step()
    _wait(device)
    return batch * steps / (time.perf_counter() - started)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models", nargs="+", default=["resnet10t:48", "resnet18:64", "resnet18:96"], metavar="NAME:SIZE"
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table = []
    for text in options.models:
        name, size = text.split(":")
        for train in (True, False):
            rates: dict[str, list[float]] = {variant: [] for variant in options.variants}
            for _ in range(options.rounds):
                for variant in options.variants:
                    rates[variant].append(
                        images_per_second(
                            name, int(size), options.batch, options.steps, variant, options.device, train
                        )
                    )
            first = rates[options.variants[0]]
            for variant, values in rates.items():
                ratios = [value / base for value, base in zip(values, first, strict=True)]
                row = {
                    "model": name,
                    "size": int(size),
                    "what": "train" if train else "predict",
                    "variant": variant,
                    "images_per_second": statistics.median(values),
                    "ratio": statistics.median(ratios),
                    "ratio_range": [min(ratios), max(ratios)],
                }
                table.append(row)
                print(
                    f"{name} {size} px {row['what']:8s} {variant:20s} {row['images_per_second']:8.1f} images/s  "
                    f"{row['ratio']:.2f}x ({min(ratios):.2f} to {max(ratios):.2f})",
                    flush=True,
                )
    if options.out is not None:
        machine = {
            "processor": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "threads": options.threads,
        }
        options.out.write_text(json.dumps({"machine": machine, "rows": table}, indent=1))


if __name__ == "__main__":
    main()
