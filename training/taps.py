"""Exact zeros for the gradients of convolution taps that see nothing but padding, which oneDNN leaves unwritten.

In bf16 on a CPU (torch 2.14, AVX512-BF16) the weight gradient of a convolution holds whatever was in memory before at
some of the taps that lie on padding wherever the kernel stands. Measured in both memory layouts: 3x3 with a stride of 2
on inputs one pixel wide (a ResNet's last stage below 33 pixels), 3x3 with larger strides, 7x7 with any stride on inputs
of a few pixels. Outputs, the gradients of all other taps and of the inputs, and all of fp32, are right.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn


def zero_padding_taps(module: nn.Module) -> None:
    """Let every 2d convolution hand on exact zeros as bf16 gradients of taps that only ever see padding.

    Nothing is kept from step to step: the correction hangs on the graph of each call. A second time changes nothing.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and _watch not in part._forward_hooks.values():
            part.register_forward_hook(_watch)


@lru_cache(maxsize=1024)
def padding_taps(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor | None:
    """The taps that see only padding wherever the kernel stands; all arguments are (vertical, horizontal) tuples.

    Returns:
        A bool mask of the kernel's shape, or None without such a tap.

    Example:
        >>> padding_taps((1, 2), (3, 3), (2, 2), (1, 1), (1, 1)).int().tolist()
        [[1, 1, 1], [1, 0, 0], [1, 1, 1]]
    """
    blind = [_blind(*axis) for axis in zip(size, kernel, stride, padding, dilation, strict=True)]
    mask = torch.tensor(blind[0])[:, None] | torch.tensor(blind[1])[None, :]
    return mask if mask.any() else None


def _blind(size: int, kernel: int, stride: int, padding: int, dilation: int) -> list[bool]:
    """For each tap along one axis, whether it misses all pixels."""
    places = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    return [
        all(not 0 <= place * stride - padding + tap * dilation < size for place in range(places))
        for tap in range(kernel)
    ]


def _seen(gradient: Tensor, mask: Tensor) -> Tensor:
    """The gradient with zeros at the masked taps; the few others are copied: NaN times 0 is NaN, `masked_fill` slow."""
    zeros = torch.zeros_like(gradient)
    for row, column in (~mask).nonzero().tolist():
        zeros[:, :, row, column] = gradient[:, :, row, column]
    return zeros


def blind_taps(module: nn.Module, run: Callable[[nn.Module], Any]) -> list[tuple[str, Tensor]]:
    """The weights of a network's convolutions that have such taps in a bf16 step, for steps without hooks.

    A compiled step has no node for each convolution to hang the correction on; `mend` does it on the gradients instead.

    Args:
        module: the network; a copy of it runs, so that it stays as it is.
        run: calls the copy on a batch, with gradients and under autocast; not compiled.

    Returns:
        (name of the weight, mask of the kernel's shape), for those with such a tap.

    Raises:
        ValueError: a convolution sees inputs of several sizes in one step, and other taps miss each of them.
    """
    masks: dict[str, Tensor | None] = {}
    trial = copy.deepcopy(module).requires_grad_(True)  # frozen stages may thaw
    for name, part in trial.named_modules():
        if isinstance(part, nn.Conv2d):

            def note(*given: Any, name: str = name) -> None:
                _, mask = _unwritten(given[2])
                known = masks.setdefault(f"{name}.weight", mask)
                if (known is None) != (mask is None) or not (
                    known is None or mask is None or torch.equal(known, mask)
                ):
                    raise ValueError(
                        f"compile: expected convolutions that see one size of input, received {name}, which sees "
                        "several of a few pixels; in bf16 its gradient is only right without compile. Use "
                        "compile: false, precision: fp32 or a larger size"
                    )

            part.register_forward_hook(note)
    with torch.random.fork_rng():
        run(trial)
    return [(name, mask) for name, mask in masks.items() if mask is not None]


def mend(weights: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Zeros in the gradients at the taps that `blind_taps` found; (weight, mask) pairs."""
    for weight, mask in weights:
        if weight.grad is not None:
            weight.grad.masked_fill_(mask.to(weight.device), 0)


def _unwritten(output: Any) -> tuple[Any, Tensor | None]:
    """The node of a convolution's output in the graph, and the taps of its gradient that oneDNN leaves unwritten."""
    node: Any = output.grad_fn if isinstance(output, Tensor) else None
    # The node knows what the kernel was given, whatever a subclass padded or cast before.
    if node is None or node.name() != "ConvolutionBackward0" or node._saved_transposed:
        return node, None
    image, kernel = node._saved_input, node._saved_weight
    if kernel.dtype is not torch.bfloat16 or kernel.ndim != 4:
        return node, None
    return node, padding_taps(
        tuple(image.shape[2:]),
        tuple(kernel.shape[2:]),
        tuple(node._saved_stride),
        tuple(node._saved_padding),
        tuple(node._saved_dilation),
    )


def _watch(module: nn.Module, inputs: Any, output: Any) -> None:
    """After a convolution's forward: hang the correction on its node of the graph, if this input needs one."""
    node, mask = _unwritten(output)
    if mask is None:
        return

    def correct(gradients: tuple[Tensor | None, ...], _: Any) -> tuple[Tensor | None, ...]:
        to_input, to_weight, *others = gradients
        return to_input, None if to_weight is None else _seen(to_weight, mask), *others

    node.register_hook(correct)
