"""How much each column of a table counts for a fold's networks, on rows that these did not learn from."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ..backbones.tabnet import TabNet
from ..datasets.files import atomic
from ..datasets.table_rows import TableRows, TableStore
from ..datasets.targets import Target
from ..scoring.metrics import METRICS
from ..training.device import Machine
from ..training.fit import batches
from ..training.randomness import generator
from ..training.resident import Gathering
from .finetune import FoldWork, load_networks
from .prediction import predict_views

Columns = Mapping[str, Mapping[str, float]]
"""Of something by name: column -> value."""
ATTENDED = 10_000
"""Rows of a fold over which attention is averaged, at most: a share is then known to a hundredth of its spread."""
SHUFFLED = 1_000
"""Rows of a fold that are predicted anew for each shuffled column, at most."""


def mean_attention(
    backbone: TabNet, source: Gathering, rows: NDArray[np.int64], machine: Machine
) -> dict[str, float]:
    """The mean over rows of TabNet's aggregate mask (Arik and Pfister 2021, section "Interpretability").

    Args:
        backbone: on the machine's device.
        source: gives the lines of the table.
        rows: N places in it.
        machine: where the backbone is.

    Returns:
        Column -> its share of the attention, 0 to 1, in the order of the backbone; they sum to 1.
    """
    backbone.eval()
    total = np.zeros(len(backbone.columns))
    with torch.inference_mode():
        for part in batches(len(rows), 1024):
            shares = backbone.importance(source.gather(rows[part.numpy()]).to(machine.device))  # (B, D)
            total += shares.double().sum(0).cpu().numpy()
    return {
        column.name: float(share) for column, share in zip(backbone.columns, total / total.sum(), strict=True)
    }


def fold_attention(work: FoldWork, folder: Path, names: Sequence[str]) -> Columns:
    """What the TabNets of one fold looked at in the rows that the fold validates, the mean over its seeds.

    Args:
        work: the fold.
        folder: of its finished networks.
        names: what the config calls its backbones, in their order.

    Returns:
        Name of a TabNet -> column -> its share; nothing of other backbones.
    """
    ids = drawn(held(work), ATTENDED, work, "attention")
    found: dict[str, list[dict[str, float]]] = {}
    for network in load_networks(folder, work):
        backbone: Any = network.backbone
        parts = backbone.parts if backbone.modality == "joined" else {names[0]: backbone}
        for name, part in parts.items():
            if isinstance(part, TabNet):
                inputs: Any = work.inputs.parts[name] if backbone.modality == "joined" else work.inputs  # pyright: ignore[reportAttributeAccessIssue]
                ready: Any = work.machine.place(part)
                shares = mean_attention(ready, inputs.store, inputs.first(ids), work.machine)
                found.setdefault(name, []).append(shares)
    return {
        name: {column: float(np.mean([each[column] for each in several])) for column in several[0]}
        for name, several in found.items()
    }


def fold_permutation(
    work: FoldWork, folder: Path, progress: Callable[[int, int], None] | None = None
) -> Columns:
    """How much worse each head of one fold predicts when a column is shuffled among the rows it validates.

    Permutation importance (Breiman 2001, section 10; Fisher, Rudin and Dominici 2019) of any network of a table. What
    is shuffled is the column as the network reads it, so that of a decomposition it is a component. Columns that say
    the same share their importance, since either stands in for the other.

    Args:
        work: the fold, whose inputs are those of one table.
        folder: of its finished networks.
        progress: told (done, total) columns.

    Returns:
        Task -> column -> how much worse `measure_of` its target is, in units of that measure: above 0 the column
        helps. NaN where the measure is not defined on these rows.
    """
    networks = load_networks(folder, work)
    targets, inputs = networks[0].targets, work.inputs
    assert isinstance(inputs, TableRows)
    ids = held(work)
    labelled = np.logical_or.reduce([known(target, work.frame.loc[ids]) for target in targets.values()])
    ids = drawn(ids[labelled], SHUFFLED, work, "shuffled")
    sample = TableStore(inputs.store.gather(inputs.first(ids)), ids)

    def scores() -> dict[str, float]:
        outputs = predict_views(networks, sample, ids, ["identity"], work.machine)
        return {name: _score(target, work.frame.loc[ids], outputs[name]) for name, target in targets.items()}

    whole = scores()
    found: dict[str, dict[str, float]] = {name: {} for name in targets}
    for place, column in enumerate(inputs.takes):
        draws = generator(work.seed, "shuffle", work.network, work.fold, column.name)
        kept = sample.values[:, place].clone()
        sample.values[:, place] = kept[torch.randperm(len(ids), generator=draws)]
        for name, score in scores().items():
            better = METRICS[measure_of(targets[name])].greater_is_better
            found[name][column.name] = whole[name] - score if better else score - whole[name]
        sample.values[:, place] = kept
        if progress is not None:
            progress(place + 1, len(inputs.takes))
    return found


def measure_of(target: Target) -> str:
    """What permutation importance is told in: the first measure of the target, of classes the logloss.

    Accuracy hardly moves where one class is rare.
    """
    first = next(iter(target.measures))
    return "logloss" if METRICS[first].kind == "probability" else first


def held(work: FoldWork) -> NDArray:
    """The ids of the rows that the fold validates and that can be read, sorted."""
    ids = np.sort(work.plan.valid_ids(work.fold))
    return ids[work.inputs.readable(ids)]


def drawn(ids: NDArray, most: int, work: FoldWork, what: str) -> NDArray:
    """All of the ids, or so many of them that the seed draws, in their order."""
    if len(ids) <= most:
        return ids
    order = torch.randperm(len(ids), generator=generator(work.seed, what, work.network, work.fold))
    return ids[np.sort(order[:most].numpy())]


def known(target: Target, frame: pd.DataFrame) -> NDArray[np.bool_]:
    """(N,) which rows have all labels of a target."""
    return np.asarray(np.isfinite(target.truth(frame)).all(axis=1))


def _score(target: Target, frame: pd.DataFrame, outputs: NDArray) -> float:
    """The measure of predictions (N, 1, columns) of labelled rows; NaN without any."""
    rows, metric = known(target, frame), METRICS[measure_of(target)]
    if not rows.any():
        return float("nan")
    truth = target.truth(frame)[rows]
    guesses = outputs[rows, 0, : truth.shape[1]]
    return metric.function(truth.argmax(axis=1) if metric.kind == "probability" else truth, guesses)


def across_folds(key: str, value: str, parts: Columns) -> pd.DataFrame:
    """One row a column of the table, the largest mean first, equals by name.

    Args:
        key, value: a column that says of every row what it is told of, and what it holds.
        parts: name of a fold model -> column -> value; a column that a fold model does not read counts 0 there.

    Returns:
        `key`, `column`, `mean` over the fold models that have a value, and one column for each fold model.
    """
    names = sorted({name for part in parts.values() for name in part})
    folds = pd.DataFrame({fold: [part.get(name, 0.0) for name in names] for fold, part in parts.items()})
    table = pd.DataFrame({key: value, "column": names, "mean": folds.mean(axis=1)})
    table = pd.concat([table, folds], axis=1)
    return table.sort_values("mean", ascending=False, kind="stable", ignore_index=True)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV with six significant digits, whole or not at all."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
