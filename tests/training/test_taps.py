"""Gradients of convolutions on tiny inputs in bf16 equal those in fp32, whatever lay in memory before."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from jigstack.training.device import Machine
from jigstack.training.taps import blind_taps, mend, padding_taps, zero_padding_taps
from torch import Tensor, nn

BF16 = Machine("cpu", "bf16", False, 1)
Case = tuple[int, int, tuple[int, int]]
# (kernel, stride, input): each of them left taps unwritten on AVX512-BF16.
CASES: list[Case] = [
    (3, 2, (1, 1)),
    (3, 2, (2, 1)),
    (3, 2, (4, 1)),
    (3, 3, (2, 2)),
    (7, 1, (2, 2)),
    (7, 1, (1, 8)),
]


def poison(like: Tensor) -> None:
    """Leave freed memory of the gradient's size behind that is full of NaN."""
    junk = [torch.full_like(like, float("nan"), dtype=kind) for kind in (torch.float32, torch.bfloat16) * 4]
    del junk


def gradients(module: nn.Module, images: Tensor, machine: Machine) -> dict[str, Tensor]:
    """Of the mean square of the outputs."""
    module.zero_grad()
    weight = next(module.parameters())
    with machine.autocast():
        outputs = module(images)
    poison(weight)
    outputs.float().square().mean().backward()
    return {name: value.grad.clone() for name, value in module.named_parameters() if value.grad is not None}


def convolution(kernel: int, stride: int) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(256, 512, kernel, stride, kernel // 2, bias=False)


def worst(case: Case, channels_last: bool, *, corrected: bool) -> tuple[float, bool]:
    """The largest difference to fp32 as a part of the largest gradient, and whether all blind taps got exact zeros."""
    kernel, stride, size = case
    images = torch.randn(32, 256, *size, generator=torch.Generator().manual_seed(1))
    truth = gradients(convolution(kernel, stride), images, Machine("cpu", "fp32", False, 1))["weight"]
    machine = Machine("cpu", "bf16", channels_last, 1)
    module = convolution(kernel, stride)
    if corrected:
        machine.lay_out(module)
    elif channels_last:
        module = module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    found = [gradients(module, images, machine)["weight"] for _ in range(3)]
    differences = [
        float((one.nan_to_num(1e9) - truth).abs().max()) / float(truth.abs().max()) for one in found
    ]
    mask = padding_taps(size, (kernel,) * 2, (stride,) * 2, (kernel // 2,) * 2, (1, 1))
    return max(differences), all(bool((one[:, :, mask] == 0).all()) for one in found)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_gradients_of_tiny_inputs_are_those_of_fp32(case: Case, channels_last: bool):
    difference, zeros = worst(case, channels_last, corrected=True)
    assert difference < 0.03 and zeros


def test_without_the_correction_they_are_not():
    """Once this is skipped everywhere, oneDNN is mended and `taps` can go."""
    if all(worst(case, False, corrected=False)[0] < 0.03 for case in CASES[:2]):
        pytest.skip("this processor's oneDNN writes all taps")


class Twice(nn.Module):
    """One convolution that sees a tiny and a large input in the same step."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = convolution(3, 2)

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([self.conv(images).flatten(), self.conv(images[:, :, :1, :1]).flatten()])


def test_a_tiny_input_does_not_spoil_the_gradient_of_a_large_one():
    images = torch.randn(8, 256, 6, 6, generator=torch.Generator().manual_seed(2))
    truth = gradients(Twice(), images, Machine("cpu", "fp32", False, 1))["conv.weight"]
    found = gradients(BF16.lay_out(Twice()), images, BF16)["conv.weight"]
    torch.testing.assert_close(found, truth, rtol=0, atol=0.03 * float(truth.abs().max()))
    assert (truth[:, :, 0, 0] != 0).all()


class PaddedBefore(nn.Conv2d):
    """As timm's `Conv2dSame`: it pads itself, to the right only, so that other taps see the one pixel."""

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.conv2d(nn.functional.pad(input, (0, 2, 0, 2)), self.weight, None, 2)


def test_a_convolution_that_pads_by_itself_keeps_the_taps_that_see_the_picture():
    torch.manual_seed(0)
    module = PaddedBefore(256, 512, 3, 2, bias=False)
    images = torch.randn(32, 256, 1, 1)
    truth = gradients(copy.deepcopy(module), images, Machine("cpu", "fp32", False, 1))["weight"]
    found = gradients(BF16.lay_out(module), images, BF16)["weight"]
    torch.testing.assert_close(found, truth, rtol=0, atol=0.03 * float(truth.abs().max()))
    assert (found[:, :, 0, 0] != 0).any()


def test_nothing_else_changes():
    """Neither the bits of inputs of a usual size, nor any bit in fp32."""
    images = torch.randn(8, 256, 7, 7, generator=torch.Generator().manual_seed(3))
    assert torch.equal(
        gradients(convolution(3, 2), images, BF16)["weight"],
        gradients(BF16.lay_out(convolution(3, 2)), images, BF16)["weight"],
    )
    fp32, tiny = Machine("cpu", "fp32", False, 1), images[:, :, :1, :1]
    assert not fp32.lay_out(convolution(3, 2))._forward_hooks
    assert torch.equal(
        gradients(convolution(3, 2), tiny, fp32)["weight"],
        gradients(BF16.lay_out(convolution(3, 2)), tiny, fp32)["weight"],
    )


def test_hooks_do_not_pile_up_and_travel_with_copies():
    """Laid out twice, trained for some steps, copied as the moving average is, pickled as a job is."""
    module: Any = nn.Sequential(convolution(3, 2), nn.BatchNorm2d(512))
    keys = list(module.state_dict())
    for _ in range(2):
        BF16.lay_out(module)
    images = torch.randn(4, 256, 1, 1)
    for _ in range(3):
        gradients(module, images, BF16)
    for one in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert len(one[0]._forward_hooks) == 1 and not one[0].weight._backward_hooks
        assert list(one.state_dict()) == keys
        assert (gradients(one, images, BF16)["0.weight"][:, :, 0, 0] == 0).all()


def test_a_frozen_convolution_and_one_without_gradients_are_left_alone():
    module = convolution(3, 2)
    zero_padding_taps(module)
    module.weight.requires_grad_(False)
    images = torch.randn(2, 256, 1, 1, requires_grad=True)
    with BF16.autocast():
        module(images).float().sum().backward()
        assert images.grad is not None and images.grad.isfinite().all()
        with torch.inference_mode():
            assert module(images.detach()).isfinite().all()


@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "dilation"), [
    ((1, 5), (3, 3), (2, 2), (1, 1), (1, 1)),
    ((2, 2), (3, 3), (2, 2), (1, 1), (1, 1)),
    ((4, 1), (5, 3), (1, 2), (2, 1), (1, 1)),
    ((3, 3), (3, 3), (1, 1), (4, 4), (4, 4)),
    ((8, 8), (3, 3), (2, 2), (1, 1), (1, 1)),
])  # fmt: skip
def test_the_mask_is_where_an_input_of_ones_has_no_gradient(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
):
    weight = torch.zeros(1, 1, *kernel, requires_grad=True)
    nn.functional.conv2d(torch.ones(1, 1, *size), weight, None, stride, padding, dilation).sum().backward()
    assert weight.grad is not None
    blind, mask = weight.grad[0, 0] == 0, padding_taps(size, kernel, stride, padding, dilation)
    assert torch.equal(blind, torch.zeros_like(blind) if mask is None else mask)


def forward(images: Tensor) -> Callable[[nn.Module], Any]:
    def run(module: nn.Module) -> Any:
        with BF16.autocast():
            return module(images)

    return run


def test_taps_are_found_without_running_the_network_itself():
    module = nn.Sequential(convolution(3, 2), nn.BatchNorm2d(512), nn.Dropout(0.5)).requires_grad_(False)
    state = torch.get_rng_state()
    images = torch.zeros(4, 256, 1, 1)
    found = blind_taps(module, forward(images))
    assert [(name, int(mask.sum())) for name, mask in found] == [("0.weight", 8)]
    assert int(module.get_buffer("1.num_batches_tracked")) == 0 and not module[0]._forward_hooks
    assert not blind_taps(module, forward(torch.zeros(4, 256, 7, 7)))
    assert torch.equal(torch.get_rng_state(), state)  # of the dropout


def test_mended_gradients_are_zero_at_those_taps_and_untouched_elsewhere():
    weight = nn.Parameter(torch.ones(2, 2, 3, 3))
    weight.grad = torch.full_like(weight, float("nan"))
    weight.grad[:, :, 1, 1] = 5.0
    mask = padding_taps((1, 1), (3, 3), (2, 2), (1, 1), (1, 1))
    assert mask is not None
    mend([(weight, mask), (nn.Parameter(torch.ones(1)), mask)])
    assert (weight.grad[:, :, 1, 1] == 5).all() and weight.grad.sum() == 20


def test_several_sizes_of_a_few_pixels_are_refused_before_a_compiled_training():
    with pytest.raises(
        ValueError, match=r"compile: expected convolutions that see one size of input, received conv"
    ):
        blind_taps(Twice(), forward(torch.randn(2, 256, 6, 6)))
