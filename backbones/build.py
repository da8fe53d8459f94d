"""From the config's backbone to a network."""

from pathlib import Path

from ..configs.schema import Backbone
from .checkpoint import load_weights, read_card
from .timm_backbone import TimmBackbone


def build_backbone(options: Backbone, channels: int, size: int) -> TimmBackbone:
    """Build a backbone with random, downloaded or loaded weights.

    Args:
        options: the config's section; its weights are null, `pretrained`, or a checkpoint's folder or file.
        channels: C of the images.
        size: H = W of the input, pixels.

    Returns:
        The network; it takes images of `size`.

    Raises:
        ValueError: the model is unknown, or the checkpoint is of another model or another number of channels,
            lacks keys, or cannot take images of `size`.
    """
    if options.weights is None or options.weights == "pretrained":
        pretrained = options.weights is not None
        return TimmBackbone(options.name, channels, size, options.options, pretrained=pretrained)
    card = read_card(options.weights)
    built_for = size
    if card is not None:
        for key, expected in (("name", options.name), ("channels", channels), ("options", options.options)):
            if card[key] != expected:
                raise ValueError(
                    f"weights {options.weights}: expected a backbone with {key} {expected!r}, "
                    f"received {card[key]!r}; change the backbone's {key} or choose another checkpoint"
                )
        # A table of positions keeps the shape it was trained with.
        built_for = card["size"]
    backbone = TimmBackbone(options.name, channels, built_for, options.options)
    load_weights(backbone, options.weights)
    backbone.probe(size)
    return backbone


def starting_from(options: Backbone, checkpoint: Path | None) -> Backbone:
    """The same section with a checkpoint's weights, or as it is where there is none."""
    return options if checkpoint is None else options.model_copy(update={"weights": str(checkpoint)})
