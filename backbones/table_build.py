"""From a kind and its options to a backbone of tables, and from a card back to it."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ..configs.errors import ConfigError, UserError, closest
from ..configs.registry import TABLE_BACKBONES, load
from ..configs.table_backbones import TableInputOptions
from ..configs.validation import validate
from ..datasets.findings import name_some
from ..datasets.table_column import TableColumn
from .table_input import TableInput

_OF_A_CARD = ("kind", "options", "columns")


def build_table_backbone(kind: str, columns: Sequence[TableColumn], options: Mapping[str, Any]) -> nn.Module:
    """Build a backbone of tables with random weights, from torch's global generator.

    Args:
        kind: a key of `TABLE_BACKBONES`.
        columns: D columns, in the order of the batch.
        options: plain values; what is left out has its default.

    Returns:
        The network; it takes (B, D).

    Raises:
        UserError: the kind is unknown, or options are unknown or out of range; all are named.
    """
    if kind not in TABLE_BACKBONES:
        near = closest(kind, TABLE_BACKBONES)
        raise UserError(
            f"kind: expected a backbone of tables, one of {', '.join(TABLE_BACKBONES)}, received {kind!r}"
            + (f"; did you mean {near!r}?" if near else "")
        )
    entry = TABLE_BACKBONES[kind]
    checked, problems = validate(load(entry.options), dict(options), ("options",))
    if checked is None:
        raise ConfigError(f"backbone {kind!r}", problems)
    values = checked.model_dump()
    of_input = {key: values.pop(key) for key in TableInputOptions.model_fields}
    return load(entry.implementation)(TableInput(columns, **of_input), **values)


def restore_table_backbone(card: Mapping[str, Any]) -> nn.Module:
    """Build the network that a card describes, with random weights.

    Args:
        card: what `card()` of a backbone of tables gave, also after JSON; further keys do not matter.

    Returns:
        The network, with the columns of the card.

    Raises:
        ValueError: a key is missing, or the card does not suit this version of jigstack.
    """
    if missing := [key for key in _OF_A_CARD if key not in card]:
        raise ValueError(
            f"card: expected that of a backbone of tables, received one without {name_some(missing)}"
        )
    columns = [TableColumn.restore(state) for state in card["columns"]]
    return build_table_backbone(card["kind"], columns, card["options"])
