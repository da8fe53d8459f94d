"""A timm network as a backbone: an image in, `dim` features out, its parameters in ordered stages."""

import json
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import timm
import torch
from torch import Tensor, nn

from .._version import __version__
from ..datasets.findings import did_you_mean, name_some

# Set by jigstack from the data and the stage: a second value in `options` could only contradict it.
_RESERVED = {
    "num_classes": "a backbone has no classifier",
    "in_chans": "it follows data.decode.channels",
    "img_size": "it follows the stage's size",
    "pretrained": "write weights: pretrained",
}
_SMALL_STEM = "small_stem"
_UNKNOWN_ARGUMENT = re.compile(r"unexpected keyword argument '(\w+)'")
# Other channel counts than 3 have no published statistics.
_MEAN, _STD = 0.5, 0.25


class TimmBackbone(nn.Module):
    """Any timm model without its classifier.

    Random weights come from torch's global generator, which the caller seeds.

    Args:
        name: a timm model name, with or without a pretrained tag.
        channels: C of the input.
        size: H = W of the input, pixels. Models with a table of positions are built for it; where timm can
            resample that table (`dynamic_img_size`), they take other sizes too.
        options: further keyword arguments of `timm.create_model`, and `small_stem`: whether a ResNet begins with a
            3 x 3 convolution without stride and pooling, as those for CIFAR do (He et al. 2016, section 4.2).
        pretrained: download timm's weights.

    Attributes:
        dim: D, the number of features, measured by a forward pass.
        size: the size it was built for.
        mean, std: C values each, of pixels in 0..1: those of the pretrained model for 3 channels, else .5
            and .25.
        net: the timm model.
        modality: `image`.

    Raises:
        ValueError: the name is unknown, an option is unknown or reserved, or the model cannot take the input.

    Example:
        >>> TimmBackbone("test_resnet", channels=3, size=32).dim
        96
    """

    modality = "image"

    def __init__(
        self,
        name: str,
        channels: int,
        size: int,
        options: Mapping[str, Any] | None = None,
        *,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.name, self.channels, self.size, self.options = name, channels, size, dict(options or {})
        _check_name(name)
        _check_options(self.options)
        self.net = _create(name, channels, size, self.options, pretrained)
        published: Mapping[str, Any] = getattr(self.net, "pretrained_cfg", None) or {}
        use = channels == 3 and len(published.get("mean", ())) == 3 and len(published.get("std", ())) == 3
        self.mean: tuple[float, ...] = tuple(published["mean"]) if use else (_MEAN,) * channels
        self.std: tuple[float, ...] = tuple(published["std"]) if use else (_STD,) * channels
        # Buffers travel with .to(device); not persistent, since the card holds the numbers.
        self.register_buffer("_mean", torch.tensor(self.mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(self.std).view(-1, 1, 1), persistent=False)
        self.dim = self.probe(size)

    def forward(self, images: Tensor) -> Tensor:
        """Turn images into features.

        Args:
            images: (B, C, H, W) float, normalised.

        Returns:
            (B, D) features, pooled over positions.
        """
        return self.net(images)

    def normalise(self, images: Tensor) -> Tensor:
        """Subtract the mean and divide by the standard deviation of each channel.

        Args:
            images: (..., C, H, W) float in 0..1.

        Returns:
            The same shape; 0 is the mean colour.
        """
        return self.normalise_(images.clone())

    def normalise_(self, images: Tensor) -> Tensor:
        """`normalise` in place."""
        return images.sub_(self.get_buffer("_mean")).div_(self.get_buffer("_std"))

    def probe(self, size: int) -> int:
        """Measure the number of features at an input size.

        Args:
            size: H = W, pixels.

        Returns:
            D.

        Raises:
            ValueError: the model cannot take images of this size.
        """
        training = self.training
        weight = next(self.net.parameters())
        self.eval()
        try:
            with torch.no_grad():
                features = self.net(
                    torch.zeros(1, self.channels, size, size, device=weight.device, dtype=weight.dtype)
                )
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"size: backbone {self.name!r} cannot take {self.channels} x {size} x {size} images "
                f"({error}); choose a size that its patches and strides divide, such as a multiple of 32"
            ) from error
        finally:
            self.train(training)
        if not isinstance(features, Tensor) or features.ndim != 2:
            received = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise ValueError(
                f"backbone {self.name!r}: expected pooled features (B, D), received {received}; "
                "remove global_pool from its options or choose another model"
            )
        return features.shape[1]

    @property
    def core(self) -> nn.Module:
        """The module whose state a checkpoint holds: its keys are timm's own."""
        return self.net

    def example(self) -> Tensor:
        """(1, C, size, size) zeros on the network's device: an input that it takes."""
        return torch.zeros(1, self.channels, self.size, self.size, device=self.get_buffer("_mean").device)

    def stages(self) -> "OrderedDict[str, list[nn.Parameter]]":
        """Group the parameters from the input to the output, for freezing and layer decay.

        `stem` comes before the first block (embeddings and position tables belong to it), then the model's
        own blocks (`layer1`, `stages.0`, `blocks.3`), then `tail` (last norms and convolutions), if any.

        Returns:
            name -> parameters; each parameter stands in exactly one stage.
        """
        seen: set[int] = set()
        stages: OrderedDict[str, list[nn.Parameter]] = OrderedDict()
        grouped = self.stage_modules()
        own = list(self.net.parameters(recurse=False))
        if own and "stem" not in grouped:
            grouped["stem"] = []
            grouped.move_to_end("stem", last=False)
        for name, modules in grouped.items():
            candidates = own if name == "stem" else []
            parameters = [*candidates, *(p for module in modules for p in module.parameters())]
            # A tied weight belongs to the first stage that holds it.
            fresh = [p for p in dict.fromkeys(parameters) if id(p) not in seen]
            seen.update(id(p) for p in fresh)
            if fresh:
                stages[name] = fresh
        return stages

    def stage_modules(self) -> "OrderedDict[str, list[nn.Module]]":
        """The modules of each stage, to switch the batch norm of frozen stages to evaluation.

        Returns:
            name -> modules, the names as in `stages`.
        """
        grouped: OrderedDict[str, list[nn.Module]] = OrderedDict()
        units = [
            (name, module, stage)
            for name, module, stage in _units(self.net)
            if any(True for _ in module.parameters())
        ]
        last = max((i for i, (_, _, stage) in enumerate(units) if stage), default=len(units) - 1)
        current = "stem"
        for i, (name, module, stage) in enumerate(units):
            current = name if stage else "tail" if i > last else current
            grouped.setdefault(current, []).append(module)
        return grouped

    def card(self) -> dict[str, Any]:
        """Describe the network so that it can be built again.

        Returns:
            Plain values: kind, name, options, channels, size, dim, mean, std and the version of jigstack.
        """
        return {
            "kind": "timm",
            "name": self.name,
            "options": dict(self.options),
            "channels": self.channels,
            "size": self.size,
            "dim": self.dim,
            "mean": list(self.mean),
            "std": list(self.std),
            "jigstack": __version__,
        }


def _check_name(name: str) -> None:
    if not timm.is_model(name):
        raise ValueError(
            f"backbone name: expected a timm model, received {name!r}."
            f"{did_you_mean(name.split('.')[0], timm.list_models())} "
            "timm.list_models() lists them all"
        )


def _check_options(options: Mapping[str, Any]) -> None:
    for key, reason in _RESERVED.items():
        if key in options:
            raise ValueError(f"backbone options: {key} is set by jigstack ({reason}); remove it")
    try:
        json.dumps(options)
    except TypeError as error:
        raise ValueError(f"backbone options: expected plain values for the card ({error})") from error


def _create(name: str, channels: int, size: int, options: Mapping[str, Any], pretrained: bool) -> nn.Module:
    # timm does not tell which models take img_size, and each refuses the arguments that it does not know
    # before any weight is made or loaded: so ask for most first.
    options = dict(options)
    if options.pop(_SMALL_STEM, False):
        return _with_small_stem(_create(name, channels, size, options, pretrained), name, pretrained)
    position_tables: list[dict[str, Any]] = [
        {"img_size": size, "dynamic_img_size": True},
        {"img_size": size},
        {},
    ]
    for extra in position_tables:
        try:
            return timm.create_model(
                name, pretrained=pretrained, num_classes=0, in_chans=channels, **{**extra, **options}
            )
        except TypeError as error:
            unknown = _UNKNOWN_ARGUMENT.search(str(error))
            if unknown is None:
                raise
            if unknown[1] in options:
                raise ValueError(
                    f"backbone options: {name!r} does not know {unknown[1]!r} "
                    f"(received {name_some(options)}); remove it"
                ) from error
        except RuntimeError as error:
            if "pretrained tag" not in str(error):
                raise
            raise ValueError(
                f"backbone name: {error} Its tags: {name_some(timm.list_pretrained(name.split('.')[0]))}"
            ) from error
    raise ValueError(f"backbone {name!r}: timm cannot build it with in_chans={channels} and {dict(options)}")


def _with_small_stem(net: nn.Module, name: str, pretrained: bool) -> nn.Module:
    first = getattr(net, "conv1", None)
    if pretrained or not (
        isinstance(first, nn.Conv2d) and isinstance(getattr(net, "maxpool", None), nn.MaxPool2d)
    ):
        received = "weights: pretrained" if pretrained else repr(name)
        raise ValueError(
            f"backbone options: {_SMALL_STEM} expects a ResNet with random weights, whose first convolution and "
            f"pooling it replaces, received {received}; remove it or choose resnet18, resnet34, ..."
        )
    stem = nn.Conv2d(first.in_channels, first.out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")  # as timm's ResNets
    net.conv1, net.maxpool = stem, nn.Identity()
    return net


def _units(net: nn.Module) -> Iterator[tuple[str, nn.Module, bool]]:
    """The parts of a timm model in order, each with whether it is a stage of its own.

    `feature_info` names the modules at which timm taps the model. A top-level sequence that it taps inside
    (`blocks`, `stages`) is split; so is every sequence of a model that has no such list. Parts without a
    matrix or a convolution (a norm, a scale) go with their neighbours.
    """
    taps = {str(tap["module"]) for tap in getattr(net, "feature_info", None) or ()}
    for name, child in net.named_children():
        tapped_inside = any(tap.startswith(f"{name}.") for tap in taps)
        if (
            isinstance(child, nn.Sequential | nn.ModuleList)
            and (tapped_inside or not taps)
            and len(child) > 1
        ):
            for key, part in child.named_children():
                yield f"{name}.{key}", part, any(p.ndim >= 2 for p in part.parameters())
        else:
            stage = name in taps or tapped_inside
            yield name, child, stage and any(p.ndim >= 2 for p in child.parameters())
