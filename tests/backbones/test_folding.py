"""Folded batch norm: the same outputs from fewer layers, and no fold where it would be wrong."""

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from jigstack.backbones import TimmBackbone
from jigstack.backbones.folding import batch_norms, fold_batch_norm
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def lived(module: nn.Module) -> nn.Module:
    """Batch norms with statistics and weights as training leaves them."""
    draws = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
            part.running_mean.normal_(0, 0.3, generator=draws)
            part.get_buffer("running_var").uniform_(0.3, 3, generator=draws)
            if part.affine:
                part.weight.data.uniform_(-1.5, 1.5, generator=draws)
                part.bias.data.normal_(0, 0.3, generator=draws)
    return module.eval()


@torch.no_grad()
def same(module: nn.Module, folded: nn.Module, inputs: Tensor = IMAGES) -> None:
    expected = module(inputs)
    torch.testing.assert_close(folded(inputs), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


class Net(nn.Module):
    """Layers that tests call in an order of their own."""

    def __init__(self, how: Callable[[Any, Tensor], Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.how = how
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, images: Tensor) -> Tensor:
        return self.how(self, images)


def conv(inputs: int = 3, outputs: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


@pytest.mark.parametrize(
    "name",
    [
        "test_resnet",
        "resnet10t",
        "efficientnet_b0",
        "tf_mobilenetv3_small_minimal_100",
        "regnety_002",
        "seresnet18",
    ],
)
def test_every_batch_norm_of_these_families_is_folded(name: str):
    """Among them norms that activate (`BatchNormAct2d`) and convolutions that pad by themselves."""
    torch.manual_seed(0)
    module = lived(timm.create_model(name, num_classes=0))
    folded = fold_batch_norm(module, IMAGES[:1])
    assert batch_norms(module) and batch_norms(folded) == []
    same(module, folded)


@pytest.mark.parametrize("name", ["resnetv2_18", "repvgg_a0"])
def test_a_norm_before_its_convolution_stays_and_is_named(name: str):
    torch.manual_seed(0)
    module = lived(timm.create_model(name, num_classes=0))
    folded = fold_batch_norm(module, IMAGES[:1])
    left = batch_norms(folded)
    assert 0 < len(left) < len(batch_norms(module))
    assert set(left) <= set(batch_norms(module))
    same(module, folded)


def test_a_fold_is_that_of_torch():
    module = lived(nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)))
    folded = fold_batch_norm(module, IMAGES[:1])
    theirs = fuse_conv_bn_eval(module[0], module[1])  # pyright: ignore[reportIndexIssue, reportArgumentType]
    torch.testing.assert_close(folded.get_parameter("0.weight"), theirs.weight)
    torch.testing.assert_close(folded.get_parameter("0.bias"), theirs.bias)


def test_a_norm_after_a_linear_layer_of_rows_is_folded():
    module = lived(nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2, bias=False)))
    rows = torch.randn(5, 6, generator=torch.Generator().manual_seed(2))
    folded = fold_batch_norm(module, rows[:1])
    assert batch_norms(folded) == []
    same(module, folded, rows)


def test_a_norm_along_the_length_of_a_sequence_stays():
    """(B, L, C): the norm's channels are L, which happens to equal C."""
    module = lived(nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)))
    rows = torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(2))
    folded = fold_batch_norm(module, rows[:1])
    assert batch_norms(folded) == ["1"]
    same(module, folded, rows)


def test_the_original_is_not_touched():
    module = lived(TimmBackbone("test_resnet", 3, 32))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.train()
    fold_batch_norm(module, IMAGES[:1])
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


WRONG = {
    "a convolution used twice": Net(
        lambda net, x: net.norm(net.conv(net.conv(x))), conv=conv(), norm=nn.BatchNorm2d(3)
    ),
    "a norm used twice": Net(
        lambda net, x: net.norm(net.conv(x)) + net.norm(net.other(x)),
        conv=conv(),
        other=conv(),
        norm=nn.BatchNorm2d(3),
    ),
    "an output that is read elsewhere": Net(
        lambda net, x: net.norm(y := net.conv(x)) + y, conv=conv(), norm=nn.BatchNorm2d(3)
    ),
    "an activation between": Net(
        lambda net, x: net.norm(net.conv(x).relu()), conv=conv(), norm=nn.BatchNorm2d(3)
    ),
    "a change in place between": Net(
        lambda net, x: net.norm(net.conv(x).mul_(2.0)), conv=conv(), norm=nn.BatchNorm2d(3)
    ),
    "a norm without running statistics": Net(
        lambda net, x: net.norm(net.conv(x)), conv=conv(), norm=nn.BatchNorm2d(3, track_running_stats=False)
    ),
    "a norm that is asked for its weights": Net(
        lambda net, x: net.norm(net.conv(x)) * net.norm.weight.mean(), conv=conv(), norm=nn.BatchNorm2d(3)
    ),
    "weights that enter twice": Net(
        lambda net, x: net.norm(net.conv(x)) + net.conv.weight.sum(), conv=conv(), norm=nn.BatchNorm2d(3)
    ),
    "weights made anew in each call": Net(
        lambda net, x: net.norm(net.conv(x)),
        conv=nn.utils.parametrizations.weight_norm(conv()),
        norm=nn.BatchNorm2d(3),
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_nothing_is_folded_where_it_would_be_wrong(case: str):
    module = lived(WRONG[case])
    folded = fold_batch_norm(module, IMAGES[:1])
    assert batch_norms(folded) == ["norm"]
    same(module, folded)


def test_a_hook_that_changes_outputs_is_respected():
    module = lived(nn.Sequential(conv(), nn.BatchNorm2d(3)))
    module[0].register_forward_hook(lambda *given: given[2] + 1)  # pyright: ignore[reportIndexIssue]
    folded = fold_batch_norm(module, IMAGES[:1])
    assert batch_norms(folded) == ["1"]
    same(module, folded)


def test_a_module_under_two_names_is_folded_in_both():
    one = nn.Sequential(conv(), nn.BatchNorm2d(3))
    module = lived(Net(lambda net, x: net.one(x), one=one, two=one))
    folded = fold_batch_norm(module, IMAGES[:1])
    assert batch_norms(folded) == [] and folded.get_submodule("one") is folded.get_submodule("two")
    same(module, folded)
