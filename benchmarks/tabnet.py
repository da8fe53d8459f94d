"""What the fast TabNet is worth: rows a second in training and prediction, ours against pytorch-tabnet 4.1.

Theirs: `TabNetClassifier._train_epoch` on its own DataLoader, and `predict_proba`. Ours: the backbone on a table in
memory, sliced by index, with one linear head, fused Adam and the same gradient clipping. Both have the same weights at
the start (`tabnet_peer` reads theirs), settings, batch and learning rate; the losses of the last steps are printed.

Training is also timed compiled (`compile: true`), with the seconds of its first step and the epochs that pay for them.

Paired and interleaved: each round times all, in changing order; reported are the median of the rounds' ratios and
their range, by wall clock and by processor time (which a busy machine disturbs less).

    python benchmarks/tabnet.py --threads 1 --rounds 9 --out tabnet.json
"""

import argparse
import itertools
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from jigstack.backbones.folding import fold_batch_norm
from jigstack.backbones.table_input import TableInput
from jigstack.backbones.tabnet import TabNet
from jigstack.backbones.tabnet_peer import peer_network
from jigstack.datasets.table_column import TableColumn
from pytorch_tabnet.tab_model import TabNetClassifier
from pytorch_tabnet.utils import create_dataloaders
from torch import Tensor, nn

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
RATE, SPARSITY, VIRTUAL = 2e-2, 1e-3, 128


def make_table(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and a class that some of them decide."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, columns)).astype(np.float32)
    score = x[:, 0] * x[:, 1] + x[:, 2] - np.abs(x[:, 3])
    return x, (score + rng.normal(size=rows) > -0.5).astype(np.int64)


class Theirs:
    """pytorch-tabnet's own loop, a few batches at a time."""

    def __init__(self, x: np.ndarray, y: np.ndarray, width: int, batch: int) -> None:
        self.model: Any = TabNetClassifier(
            n_d=width, n_a=width, verbose=0, device_name="cpu", lambda_sparse=SPARSITY
        )
        # One epoch on few rows builds its network, optimiser and callbacks.
        few = {
            "max_epochs": 1,
            "batch_size": batch,
            "virtual_batch_size": VIRTUAL,
            "compute_importance": False,
        }
        self.model.fit(x[:batch], y[:batch], drop_last=False, **few)
        self.loader = create_dataloaders(x, y, [], 1, batch, 0, True, False)[0]
        self.batches = self._batches()

    def _batches(self) -> Iterator[Any]:
        while True:
            yield from self.loader

    def train(self, steps: int) -> float:
        history = self.model.history
        history.on_epoch_begin(0)  # begins its mean over batches anew
        self.model._train_epoch(itertools.islice(self.batches, steps))
        return float(history.epoch_loss)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict_proba(x)


class Ours:
    """The backbone on tensors in memory, begun with their weights; `compiled`: its forward and backward."""

    def __init__(
        self, x: np.ndarray, y: np.ndarray, width: int, batch: int, peer: Any, compiled: bool = False
    ) -> None:
        columns = [TableColumn(str(number)) for number in range(x.shape[1])]
        self.net = TabNet(
            TableInput(columns),
            n_d=width,
            n_a=width,
            virtual_batch=VIRTUAL,
            sparsity=SPARSITY,
            initial_norm=True,
        )
        read = peer_network(peer.get_params() | {"input_dim": x.shape[1]}, peer.network.state_dict())
        self.net.encoder.load_state_dict(read.encoder.state_dict())
        head = read.heads[0]
        assert isinstance(head, nn.Linear)
        self.head, self.batch = head, batch
        self.parameters = [*self.net.parameters(), *self.head.parameters()]
        self.optimiser = torch.optim.Adam(self.parameters, RATE, fused=True)
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)
        self.generator = torch.Generator().manual_seed(0)
        self.places = self._places()
        self.step = torch.compile(self.loss, dynamic=False) if compiled else self.loss

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        features, sparsity = self.net.penalised(x)
        return F.cross_entropy(self.head(features), y) + SPARSITY * sparsity

    def _places(self) -> Iterator[Tensor]:
        while True:
            order = torch.randperm(len(self.x), generator=self.generator)
            yield from order[: len(order) // self.batch * self.batch].split(self.batch)

    def train(self, steps: int) -> float:
        self.net.train()
        losses = []
        for places in itertools.islice(self.places, steps):
            loss = self.step(self.x.index_select(0, places), self.y.index_select(0, places))
            self.optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimiser.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    def predict(self, x: np.ndarray) -> np.ndarray:
        # Folded anew each time, as `jigstack` does once a prediction.
        net = fold_batch_norm(self.net, self.net.example())
        with torch.inference_mode():
            parts = torch.from_numpy(x).split(self.batch)
            return torch.cat([self.head(net(part)).softmax(1) for part in parts]).numpy()


def curve(x: np.ndarray, y: np.ndarray, width: int, batch: int, steps: int, dtype: torch.dtype) -> Tensor:
    """(steps, 2) losses of both ways from the same weights, on the same batches, with the same Adam."""
    theirs = Theirs(x, y, width, batch).model
    ours = Ours(x, y, width, batch, theirs)
    networks = nn.ModuleList([ours.net, ours.head]).to(dtype).train(), theirs.network.to(dtype).train()
    for module in networks[1].modules():
        if hasattr(module, "group_attention_matrix"):  # theirs is no buffer, so that `to` leaves it
            module.group_attention_matrix = module.group_attention_matrix.to(dtype)
    adams = [torch.optim.Adam(network.parameters(), RATE) for network in networks]
    curves = []
    # Their √.5 is a float32 whatever the network is: 3e-8 off, which a hundred steps make a hundredth.
    roots = torch.DoubleTensor if dtype == torch.float64 else torch.FloatTensor
    for places in itertools.islice(ours.places, steps):
        rows, truth, losses = ours.x[places].to(dtype), ours.y[places], []
        for number, (network, adam) in enumerate(zip(networks, adams, strict=True)):
            if number == 0:
                features, sparsity = ours.net.penalised(rows)
                logits = ours.head(features)
            else:
                with mock.patch.object(torch, "FloatTensor", roots):
                    logits, minus = network(rows)
                sparsity = -minus
            loss = F.cross_entropy(logits, truth) + SPARSITY * sparsity
            adam.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            adam.step()
            losses.append(loss.item())
        curves.append(losses)
    return torch.tensor(curves, dtype=torch.float64)


def timed(action: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Seconds by each clock, and what the action gave."""
    begun = {name: clock() for name, clock in CLOCKS.items()}
    result = action()
    return {name: clock() - begun[name] for name, clock in CLOCKS.items()}, result


def main() -> None:
    """Measure, print a table, and write the JSON if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--columns", type=int, default=54)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 64], help="n_d = n_a")
    parser.add_argument("--steps", type=int, default=12, help="training steps a round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compiled", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "--curve", type=int, default=100, help="steps over which the losses are compared; 0: none"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")
    x, y = make_table(options.rows, options.columns)
    # Of the prediction a part is enough: it is row by row in both.
    part = x[: options.batch * options.steps]
    table = []
    for width in options.widths:
        theirs = Theirs(x, y, width, options.batch)
        ours = Ours(x, y, width, options.batch, theirs.model)
        apart = float(np.abs(ours.predict(part) - theirs.predict(part)).max())
        sides: dict[str, Any] = {"ours": ours, "theirs": theirs}
        compiling = 0.0
        for what in ("train", "predict"):
            if what == "train" and options.compiled:
                compiled = Ours(x, y, width, options.batch, theirs.model, compiled=True)
                compiling = timed(partial(compiled.train, 1))[0]["wall"]
                sides["compiled"] = compiled
            elif what == "predict":
                sides.pop("compiled", None)  # what predicts is folded, not compiled
            seconds: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
            losses: dict[str, float] = {}
            for number in range(options.rounds + 1):
                order = list(sides) if number % 2 else list(sides)[::-1]
                for name in order:
                    side = sides[name]
                    action = (
                        (lambda side=side: side.train(options.steps))
                        if what == "train"
                        else (lambda side=side: side.predict(part))
                    )
                    taken, result = timed(action)
                    if number:  # the first one warms up
                        seconds[name].append(taken)
                    if what == "train":
                        losses[name] = result
            row: dict[str, Any] = {"width": width, "what": what, "losses": losses, "apart_at_start": apart}
            for name, clock in itertools.product([name for name in sides if name != "theirs"], CLOCKS):
                ratios = [t[clock] / o[clock] for o, t in zip(seconds[name], seconds["theirs"], strict=True)]
                rate = {
                    which: len(part) / statistics.median(taken[clock] for taken in seconds[which])
                    for which in (name, "theirs")
                }
                row[f"{name}_{clock}"] = {
                    "rows_per_second": rate,
                    "ratio": statistics.median(ratios),
                    "ratio_range": [min(ratios), max(ratios)],
                }
                print(
                    f"n_d = n_a = {width:3d} {what:8s} {clock:4s} {name:8s} {rate[name]:9.0f} rows/s, "
                    f"theirs {rate['theirs']:9.0f}: {statistics.median(ratios):.2f}x "
                    f"({min(ratios):.2f} to {max(ratios):.2f})",
                    flush=True,
                )
            if losses:
                found = ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
                print(f"  mean loss of the last round: {found}")
            if "compiled" in sides:
                row["compile_seconds"] = compiling
                rates = [row[f"{name}_wall"]["rows_per_second"][name] for name in ("ours", "compiled")]
                saved = 1 / rates[0] - 1 / rates[1]
                epochs = compiling / saved / options.rows
                row["epochs_to_pay_back"] = epochs if saved > 0 else None
                print(
                    f"  compiling took {compiling:.0f} s, "
                    + (f"paid back after {epochs:.0f} epochs" if saved > 0 else "never paid back")
                )
            table.append(row)
    curves = []
    for width in options.widths if options.curve else []:
        for dtype in (torch.float64, torch.float32):
            both = curve(x, y, width, options.batch, options.curve, dtype)
            part = max(1, options.curve // 10)
            apart, last = (both[:part, 0] - both[:part, 1]).abs().max(), both[-part:].mean(0)
            curves.append({"width": width, "dtype": str(dtype), "losses": both.tolist()})
            print(
                f"n_d = n_a = {width:3d} {dtype}: losses of the first {part} steps {apart:.1e} apart at most, means of "
                f"the last {part} {last[0]:.4f} and {last[1]:.4f}"
            )
    if options.out is not None:
        machine = {
            "processor": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "pytorch-tabnet": version("pytorch-tabnet"),
            "threads": options.threads,
        }
        settings = {key: getattr(options, key) for key in ("rows", "columns", "batch", "steps", "rounds")}
        options.out.write_text(
            json.dumps({"machine": machine, "settings": settings, "rows": table, "curves": curves}, indent=1)
        )


if __name__ == "__main__":
    main()
