"""From the config's backbone to a network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..configs.schema import Backbone
from ..datasets.findings import name_some
from .checkpoint import load_weights, read_card
from .joined import JoinedBackbone
from .table_build import build_table_backbone
from .timm_backbone import TimmBackbone


def build_backbone(options: Backbone | Mapping[str, Backbone], takes: Any, size: int) -> Any:
    """Build a backbone with random, downloaded or loaded weights.

    Args:
        options: the config's section; its weights are null, `pretrained`, or a checkpoint's folder or file. Of several
            whose features are joined name -> section.
        takes: C of the images, or the columns of a table (`Inputs.takes`); of several name -> such.
        size: H = W of the images, pixels; a table has none.

    Returns:
        The network, a `TimmBackbone` for images of `size`, a `TableBackbone`, or a `JoinedBackbone`.

    Raises:
        ValueError: the model or an option is unknown, or the checkpoint is of another model or of other inputs,
            lacks keys, or cannot take images of `size`.
    """
    if isinstance(options, Mapping):
        return JoinedBackbone(
            {name: build_backbone(part, takes[name], size) for name, part in options.items()}
        )
    if options.of_tables:
        return _of_tables(options, takes)
    if options.weights is None or options.weights == "pretrained":
        pretrained = options.weights is not None
        return TimmBackbone(options.name, takes, size, options.options, pretrained=pretrained)
    card = read_card(options.weights)
    built_for = size
    if card is not None:
        _check_card(options, card, {"name": options.name, "channels": takes, "options": options.options})
        # A table of positions keeps the shape it was trained with.
        built_for = card["size"]
    backbone = TimmBackbone(options.name, takes, built_for, options.options)
    load_weights(backbone, options.weights)
    backbone.probe(size)
    return backbone


def _of_tables(options: Backbone, columns: Any) -> Any:
    backbone: Any = build_table_backbone(options.kind, columns, options.options)
    if options.weights is None:
        return backbone
    if (card := read_card(options.weights)) is not None:
        _check_card(options, card, {"kind": options.kind, "options": backbone.card()["options"]})
        names = [column.name for column in columns]
        theirs = [state["name"] for state in card["columns"]]
        if names != theirs:
            differing = name_some(sorted({*names} ^ {*theirs})) or "their order"
            raise ValueError(
                f"weights {options.weights}: expected a backbone of the {len(names)} columns of this table, received "
                f"one of {len(theirs)}; they differ in {differing}"
            )
    load_weights(backbone, options.weights)
    return backbone


def _check_card(options: Backbone, card: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for key, expected in wanted.items():
        found = card.get(key)
        if found == expected:
            continue
        if isinstance(found, Mapping) and isinstance(expected, Mapping):
            found, expected = _differing(found, expected), _differing(expected, found)
        raise ValueError(
            f"weights {options.weights}: expected a backbone with {key} {expected!r}, "
            f"received {found!r}; change the backbone's {key} or choose another checkpoint"
        )


def _differing(these: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in these.items() if key not in others or others[key] != value}


def starting_from(options: Backbone, checkpoint: Path | None) -> Backbone:
    """The same section with a checkpoint's weights, or as it is where there is none."""
    return options if checkpoint is None else options.model_copy(update={"weights": str(checkpoint)})
