"""Batch norm folded into the convolution or linear layer before it, for prediction: a copy that computes the same."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights
from torch.overrides import TorchFunctionMode

TOLERANCE = 1e-3
"""Largest change of the outputs by folding, as a share of their norm: rounding gives 1e-6 to 1e-4, a wrong fold ~1."""

_LAYERS: dict[Any, type[nn.Module]] = {
    torch.conv1d: nn.Conv1d,
    torch.conv2d: nn.Conv2d,
    torch.conv3d: nn.Conv3d,
    F.linear: nn.Linear,
}
# What can be asked of a tensor without reading its values.
_METADATA = {"shape", "ndim", "dtype", "device", "layout", "is_cuda", "requires_grad", "grad_fn", "is_mkldnn"} | {
    "size", "dim", "numel", "stride", "is_contiguous", "is_floating_point", "__len__"
}  # fmt: skip


def fold_batch_norm(module: nn.Module, example: Any) -> nn.Module:
    """Copy a network for prediction, its batch norms folded into the layers before them wherever that is exact.

    One forward pass on the example shows which layer feeds which: a batch norm is folded if it normalises by its
    running statistics and the output of exactly one convolution or linear layer, which runs once and whose output
    nothing else reads. A part that knows more, as TabNet whose steps share layers, has a method `fold_norms` that
    changes it in place, and is asked first. All others stay, and `batch_norms` names them. The copy is then compared
    with the original; if their outputs differ by more than `TOLERANCE`, nothing is folded.

    Args:
        module: the network; it is not changed.
        example: one input of its forward, on its device.

    Returns:
        The copy, in evaluation mode.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
        >>> batch_norms(fold_batch_norm(net, torch.zeros(1, 3, 2, 2)))
        []
    """
    plain = copy.deepcopy(module).eval()
    with torch.no_grad():
        folded = copy.deepcopy(plain)
        for part in list(folded.modules()):
            if hasattr(part, "fold_norms"):
                part.fold_norms()  # pyright: ignore[reportCallIssue]
        for layer, norm in _pairs(folded, example):
            fold_into(layer, norm)
            _replace(folded, norm)
        return folded if _agree(plain, folded, example) else plain


def batch_norms(module: nn.Module) -> list[str]:
    """The names of a network's batch norms: of a folded one, those that stay unfused."""
    return [name for name, part in module.named_modules() if isinstance(part, _BatchNorm)]


class _Watch(TorchFunctionMode):
    """Sees which weights make a tensor, which statistics normalise it, and how often anything reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, int] = {}  # id of an output -> id of the weight that made it
        self.made_by: dict[
            int, list[Tensor]
        ] = {}  # id of a weight -> its outputs; holding them keeps ids unique
        self.reads: dict[int, int] = {}  # id of an output -> how often it is read
        self.normalised: dict[int, list[Tensor]] = {}  # id of a running mean -> inputs
        self.weights: dict[int, int] = {}  # id of a weight -> in how many calls it stands

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if _name(func) not in _METADATA:
            for tensor in _tensors([*args, *kwargs.values()]):
                if id(tensor) in self.made:
                    self.reads[id(tensor)] = self.reads.get(id(tensor), 0) + 1
                if isinstance(tensor, nn.Parameter):
                    self.weights[id(tensor)] = self.weights.get(id(tensor), 0) + 1
        if func is F.batch_norm:
            given = _arguments(
                args, kwargs, ("input", "running_mean", "running_var", "weight", "bias", "training")
            )
            if not given.get("training", False) and given.get("running_mean") is not None:
                self.normalised.setdefault(id(given["running_mean"]), []).append(given["input"])
        output = func(*args, **kwargs)
        if func in _LAYERS:
            weight = _arguments(args, kwargs, ("input", "weight"))["weight"]
            self.made[id(output)] = id(weight)
            self.made_by.setdefault(id(weight), []).append(output)
        return output


def _pairs(module: nn.Module, example: Any) -> list[tuple[nn.Module, _BatchNorm]]:
    """Each batch norm that can be folded, with the layer before it."""
    watch = _Watch()
    with watch:
        module(example)
    owners: dict[int, list[nn.Module]] = {}
    for part in module.modules():
        if isinstance(part, tuple(_LAYERS.values())):
            owners.setdefault(id(part.weight), []).append(part)
    pairs: list[tuple[nn.Module, _BatchNorm]] = []
    for norm in module.modules():
        if not isinstance(norm, _BatchNorm) or norm.running_mean is None:
            continue
        inputs = watch.normalised.get(id(norm.running_mean), [])
        if len(inputs) != 1:
            continue
        (given,) = inputs
        weight = watch.made.get(id(given))
        layers = owners.get(weight, []) if weight is not None else []
        if len(layers) != 1 or weight is None:
            continue
        once = len(watch.made_by[weight]) == 1 and watch.weights.get(weight, 0) == 1
        # A linear layer of (B, L, C) is normalised along L, which no weight of it can stand for.
        along_outputs = not isinstance(layers[0], nn.Linear) or given.ndim == 2
        fits = given.ndim >= 2 and given.shape[1] == norm.num_features and along_outputs
        if once and watch.reads.get(id(given), 0) == 1 and fits:
            pairs.append((layers[0], norm))
    return pairs


def fold_into(layer: Any, norm: Any) -> None:
    """Scale the weights of a layer and move its bias, in double precision, so that it does the batch norm's work too.

    Args:
        layer: a convolution or linear layer; it is changed.
        norm: the batch norm, with running statistics.
    """
    fuse: Any = fuse_linear_bn_weights if isinstance(layer, nn.Linear) else fuse_conv_bn_weights
    double = [
        None if value is None else value.double()
        for value in (layer.weight, layer.bias, norm.running_mean, norm.running_var)
    ]
    affine = [None if value is None else value.double() for value in (norm.weight, norm.bias)]
    weight, bias = fuse(*double, norm.eps, *affine)
    layer.weight = nn.Parameter(weight.to(layer.weight.dtype), requires_grad=False)
    layer.bias = nn.Parameter(bias.to(layer.weight.dtype), requires_grad=False)


def _replace(module: nn.Module, norm: _BatchNorm) -> None:
    """Leave of a batch norm what it does beside normalising: timm's also drop and activate."""
    rest = [getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)]
    rest = [part for part in rest if not isinstance(part, nn.Identity)]
    left = nn.Identity() if not rest else rest[0] if len(rest) == 1 else nn.Sequential(*rest)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if child is norm:
                setattr(parent, name, left.eval())


def _agree(plain: nn.Module, folded: nn.Module, example: Any) -> bool:
    """Whether two networks say the same on noise of the example's shape."""
    draws = torch.Generator().manual_seed(0)
    noise = torch.randn(example.shape, generator=draws).to(example)
    try:
        one, other = plain(noise).double(), folded(noise).double()
    except (AttributeError, RuntimeError, TypeError):  # something asks the missing batch norm for its parts
        return False
    return bool((one - other).norm() <= TOLERANCE * one.norm())


def _arguments(args: Sequence[Any], kwargs: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _tensors(values: Any) -> list[Tensor]:
    """All tensors in nested lists, tuples and mappings."""
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, Mapping):
        return _tensors(list(values.values()))
    if isinstance(values, list | tuple):
        return [tensor for value in values for tensor in _tensors(value)]
    return []


def _name(func: Any) -> str:
    """Of a function or method its name; of an attribute's getter that of the attribute."""
    name = getattr(func, "__name__", "")
    return getattr(getattr(func, "__self__", None), "__name__", name) if name == "__get__" else name
