"""A network of pytorch-tabnet as a checkpoint that runs start from."""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..datasets.findings import name_some
from ..datasets.table_column import FIRST_LEVEL, MASKED, MISSING, UNKNOWN, TableColumn
from ..datasets.table_schema import TableSchema
from .checkpoint import save_backbone
from .table_build import build_table_backbone
from .tabnet_peer import PeerTabNet, read_peer

if TYPE_CHECKING:
    from .tabnet import TabNet

CONVERTED = "converted_from"
"""What the card of such a checkpoint calls the file."""


def convert_peer(
    file: str | PathLike[str],
    frame: pd.DataFrame,
    folder: str | PathLike[str],
    *,
    levels: Mapping[str, Sequence[Any] | NDArray[Any]] | None = None,
    seen: Iterable[str] | None = None,
    virtual_batch: int = 128,
) -> dict[str, Any]:
    """Write what pytorch-tabnet's `save_model` saved as a checkpoint, with the same features for the same rows.

    Its encoder and embeddings are taken, its last layers and a pretrainer's decoder are not. That library reads numbers
    as they are and begins with a batch norm of them; here they are standardised first, and the batch norm is rewritten
    so that both together do the same. What it never met needs a rule. A hidden or missing cell is what a pretrainer
    showed in its place: a number 0, an embedding of zeros; a classifier or regressor has never met one, so that it is
    the mean of the number, or of the levels' embeddings. A level that the rows of `frame` do not have is such a mean.

    Args:
        file: the zip that a TabNetPretrainer, TabNetClassifier or TabNetRegressor of pytorch-tabnet 4.1 saved.
        frame: N rows of the D columns that it was trained on, in that order, prepared as they were then, without
            labels; missing cells are accepted. They teach means, scales and levels: take the rows that a pretraining
            may see.
        folder: where the checkpoint goes; made if missing.
        levels: category -> its values in the order of their numbers, such as `encoder.classes_`, where the column holds
            the values; without, it holds the numbers themselves, from 0.
        seen: ids of the rows that it was trained on; None: not known, which a run says in a note.
        virtual_batch: rows of its batch norms' virtual batches, which its files do not hold.

    Returns:
        The section of the backbone for a config: `kind` and `options`.

    Raises:
        TypeError: the frame is none.
        ValueError: the file is no such zip or is damaged, or has columns that are grouped or embeddings of different
            widths; or the frame has another number of columns, columns that do not vary, or levels without a number.

    Example:
        >>> convert_peer("model.zip", table[columns], "checkpoints/peer")  # doctest: +SKIP
        {'kind': 'tabnet', 'options': {'n_d': 8, ...}}
    """
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(
            f"frame: expected a DataFrame, whose column names the config uses, received {type(frame).__name__}; make "
            "one with pd.DataFrame(array, columns=names)"
        )
    peer = read_peer(file)
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    names, categories = list(frame.columns), peer.inputs.places
    if len(names) != peer.inputs.columns_in:
        raise ValueError(
            f"frame: expected the {peer.inputs.columns_in} columns that {file} was trained on, in their order, "
            f"received {len(names)} ({name_some(names)})"
        )
    options = _options(peer, file) | {"virtual_batch": virtual_batch}
    known = {names[place]: len(table) for place, table in zip(categories, _tables(peer), strict=True)}
    if strangers := sorted((levels or {}).keys() - known.keys()):
        raise ValueError(
            f"levels: expected categories of {file} ({name_some(list(known)) or 'it has none'}), received "
            f"{name_some(strangers)}"
        )
    schema = TableSchema.fit(
        frame,
        names,
        kinds={name: "category" if name in known else "number" for name in names},
        most_levels=max([2, *known.values()]) + 1,
    )
    if schema.dropped:
        told = "; ".join(f"{name} {why}" for name, why in list(schema.dropped.items())[:5])
        raise ValueError(
            f"frame: expected columns that vary, as all of them are read, received {told}; give more rows"
        )
    numbers = {
        column.name: _numbers(column, known[column.name], (levels or {}).get(column.name))
        for column in schema.columns
        if column.kind == "category"
    }
    built: Any = build_table_backbone("tabnet", schema.columns, options)
    built.load_state_dict(_state(built, peer, schema, names, numbers))
    schema.save(folder)
    save_backbone(built, folder, {CONVERTED: Path(file).name}, seen)
    return {"kind": "tabnet", "options": options}


def _tables(peer: PeerTabNet) -> list[Tensor]:
    """Of each category its embeddings (levels, width)."""
    return [part.weight.detach() for part in peer.inputs.embeddings if isinstance(part, nn.Embedding)]


def _options(peer: PeerTabNet, file: str | PathLike[str]) -> dict[str, Any]:
    """The options of a TabNet that are those of the network."""
    encoder: Any = peer.encoder
    widths = sorted({table.shape[1] for table in _tables(peer)})
    if encoder.columns != peer.inputs.columns_in:
        raise ValueError(
            f"{file}: expected a network that attends to each column by itself, received one with grouped_features; "
            "train it again without them"
        )
    if len(widths) > 1:
        raise ValueError(
            f"{file}: expected embeddings of one width, received cat_emb_dim of {widths}; train it again with one "
            "number for all categories"
        )
    return {
        "n_d": encoder.dim,
        "n_a": encoder.n_a,
        "steps": len(encoder.transformers),
        "gamma": float(encoder.gamma),
        "shared": len(encoder.shared),
        "independent": len(encoder.splitter.own),
        "momentum": float(encoder.attentions[0][1].moved_by),
        "mask": encoder.mask,
        "initial_norm": True,
        "category_width": widths[0] if widths else 1,
        "group_scale": "mean" if widths and widths[0] > 1 else "none",
    }


def _numbers(column: TableColumn, count: int, values: Sequence[Any] | NDArray[Any] | None) -> list[int]:
    """The number that each level of a column has in the network, which knows `count` of them."""
    if values is None:
        places = {str(number): number for number in range(count)}
        wanted = (
            f"the numbers 0 to {count - 1}, or levels={{{column.name!r}: its values in their numbers' order}}"
        )
    elif len(values) != count:
        raise ValueError(f"levels: expected {count} of {column.name!r}, received {len(values)}")
    else:
        # As a schema writes them: without spaces around, whole floats without their point.
        texts = [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v).strip() for v in values]
        places = {text: number for number, text in enumerate(texts)}
        wanted = "values that stand in levels"
    if unknown := [level for level in column.levels if level not in places]:
        raise ValueError(f"frame: expected in {column.name!r} {wanted}, received {name_some(unknown)}")
    return [places[level] for level in column.levels]


def _state(
    built: "TabNet",
    peer: PeerTabNet,
    schema: TableSchema,
    names: Sequence[str],
    numbers: Mapping[str, Sequence[int]],
) -> dict[str, Tensor]:
    """The weights in our order: numbers before categories."""
    state = {name: value.detach().clone() for name, value in built.state_dict().items()}
    theirs = dict(peer.encoder.state_dict())
    columns = torch.tensor([names.index(column.name) for column in schema.columns])  # (D,) where each stood
    slots = peer.encoder.get_buffer("slots")
    features = torch.cat([(slots == column).nonzero()[:, 0] for column in columns])  # (E,)
    first = ["shared.0.weight"]
    if not len(peer.encoder.shared):
        transformers = [
            "splitter",
            *(f"transformers.{step}" for step in range(len(peer.encoder.transformers))),
        ]
        first = [f"{name}.own.0.weight" for name in transformers]
    for name, value in theirs.items():
        if name in first:
            value = value[:, features]
        elif name.startswith("initial_norm.") and value.ndim:
            value = value[features]
        elif name.startswith("attentions.") and value.ndim:
            value = value[columns]
        state[f"encoder.{name}"] = value.clone()
    pretrained = bool(peer.decoder)
    count = len(schema.kept)
    centre, scale = torch.from_numpy(schema.centre), torch.from_numpy(schema.scale)
    state |= _rescaled(state, centre, scale, peer.encoder.initial_norm.eps)  # pyright: ignore[reportOptionalMemberAccess]
    if pretrained and count:
        state["input.blank"] = (-centre / scale).float()
    tables = dict(zip(peer.inputs.places, _tables(peer), strict=True))
    rows: list[Tensor] = []
    for column in schema.columns[count:]:
        embedded = tables[names.index(column.name)][torch.tensor(numbers[column.name])]  # (levels, W)
        mean = torch.tensor(column.shares, dtype=embedded.dtype) @ embedded
        special = dict.fromkeys((MASKED, MISSING), torch.zeros_like(mean) if pretrained else mean) | {
            UNKNOWN: mean
        }
        rows += [*(special[number] for number in range(FIRST_LEVEL)), *embedded]
    if rows:
        state["input.embeddings.0.weight"] = torch.stack(rows)
    return state


def _rescaled(state: Mapping[str, Tensor], centre: Tensor, scale: Tensor, eps: float) -> dict[str, Tensor]:
    """The first batch norm for standardised numbers z = (x - centre) / scale instead of x, in evaluation exactly.

    (x - m) / sqrt(v + eps) = (z - (m - centre) / scale) / sqrt((v + eps) / scale²). Where the new variance would fall
    below 0, since there eps is nearly all, it is 0 and the weight makes up for it.
    """
    prefix, count = "encoder.initial_norm.", len(centre)
    found = {name: state[prefix + name].double() for name in ("weight", "running_mean", "running_var")}
    spread = (found["running_var"][:count] + eps) / scale.square()
    found["running_mean"][:count] = (found["running_mean"][:count] - centre) / scale
    found["running_var"][:count] = (spread - eps).clamp(min=0)
    found["weight"][:count] *= ((found["running_var"][:count] + eps) / spread).sqrt()
    return {prefix + name: value.float() for name, value in found.items()}
