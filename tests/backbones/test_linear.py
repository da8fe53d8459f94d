"""Linear layers against torch's own: the same values and gradients, whichever library multiplies."""

import copy

import pytest
import torch
from jigstack.backbones import linear
from jigstack.backbones.linear import Linear
from torch import Tensor, nn


@pytest.fixture(autouse=True)
def slow_products(monkeypatch: pytest.MonkeyPatch):
    """The way by convolution is right on every processor, so it is tested on every one."""
    monkeypatch.setattr(linear, "SLOW_PRODUCTS", True)


def layers(bias: bool = True) -> tuple[Linear, nn.Linear]:
    torch.manual_seed(0)
    ours, theirs = Linear(64, 96, bias=bias), nn.Linear(64, 96, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def convolutions(layer: nn.Module, x: Tensor) -> int:
    with torch.profiler.profile() as profile:
        layer(x)
    return sum(event.key == "aten::conv2d" for event in profile.key_averages())


@pytest.mark.parametrize("bias", [True, False])
def test_a_large_product_is_a_convolution_with_the_values_and_gradients_of_torch(bias: bool):
    ours, theirs = layers(bias)
    x = torch.randn(512, 64, requires_grad=True)
    received = torch.randn(512, 96)
    assert convolutions(ours, x) == 1
    y, expected = ours(x), theirs(x)
    assert y.is_contiguous()
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    gradients = torch.autograd.grad(y, (x, *ours.parameters()), received)
    twins = torch.autograd.grad(expected, (x, *theirs.parameters()), received)
    for gradient, twin in zip(gradients, twins, strict=True):
        torch.testing.assert_close(gradient, twin, rtol=1e-5, atol=1e-4)


def test_rows_of_a_slice_and_of_a_transpose_are_read_as_they_are():
    ours, theirs = layers()
    for x in (torch.randn(512, 128)[:, ::2], torch.randn(64, 512).t()):
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "x",
    [torch.randn(500, 64), torch.randn(64, 64), torch.randn(2, 256, 64), torch.randn(0, 64)],
    ids=["not in 16 parts", "few rows", "three dimensions", "no rows"],
)
def test_what_gains_nothing_is_torchs_own_to_the_bit(x: Tensor):
    ours, theirs = layers()
    assert convolutions(ours, x) == 0
    assert torch.equal(ours(x), theirs(x))


def test_float64_and_bf16_are_torchs_own_to_the_bit():
    ours, theirs = layers()
    x = torch.randn(512, 64)
    assert torch.equal(copy.deepcopy(ours).double()(x.double()), copy.deepcopy(theirs).double()(x.double()))
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(x).dtype == torch.bfloat16 and torch.equal(ours(x), theirs(x))


def test_it_repeats_its_bits():
    ours, _ = layers()
    x = torch.randn(1024, 64)
    assert torch.equal(ours(x), ours(x))


def test_where_products_are_fast_nothing_changes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(linear, "SLOW_PRODUCTS", False)
    ours, theirs = layers()
    x = torch.randn(512, 64)
    assert convolutions(ours, x) == 0 and torch.equal(ours(x), theirs(x))


def test_the_compiled_layer_has_its_values():
    ours, _ = layers()
    x = torch.randn(512, 64)
    traced = torch.compile(ours, backend="aot_eager", fullgraph=True, dynamic=False)
    torch.testing.assert_close(traced(x), ours(x), rtol=1e-5, atol=1e-5)


def test_the_exported_layer_takes_any_number_of_rows():
    ours, theirs = layers()
    rows = torch.export.Dim("rows", min=2)
    exported = torch.export.export(
        ours, (torch.randn(512, 64),), dynamic_shapes={"input": {0: rows}}
    ).module()
    for count in (3, 300, 1024):
        x = torch.randn(count, 64)
        torch.testing.assert_close(exported(x), theirs(x), rtol=1e-5, atol=1e-5)
