"""Networks made ready to predict: what they say, and that the trained ones stay as they are."""

import pytest
import torch
from jigstack.backbones import TimmBackbone, batch_norms
from jigstack.backbones.table_build import build_table_backbone
from jigstack.datasets.table_column import TableColumn
from jigstack.training.device import Machine
from jigstack.training.predicting import prepare, unfused
from torch import nn

IMAGES = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
FP32 = Machine("cpu", "fp32", False, 1)
BF16 = Machine("cpu", "bf16", True, 1)


def trained(name: str = "test_resnet") -> TimmBackbone:
    """A few large steps, so that weights and statistics are far from their start."""
    torch.manual_seed(0)
    backbone = TimmBackbone(name, 3, 32)
    head = nn.Linear(backbone.dim, 2)
    optimiser = torch.optim.SGD([*backbone.parameters(), *head.parameters()], 0.1, momentum=0.9)
    images = torch.randn(48, 3, 32, 32) * torch.linspace(0.5, 2, 48)[:, None, None, None]
    wanted = torch.stack([images.mean((1, 2, 3)), images.std((1, 2, 3))], 1)
    for step in range(30):
        part = slice(16 * (step % 3), 16 * (step % 3) + 16)
        optimiser.zero_grad()
        (head(backbone(images[part])) - wanted[part]).square().mean().backward()
        nn.utils.clip_grad_norm_(backbone.parameters(), 1.0)
        optimiser.step()
    return backbone.eval()


def features(network: nn.Module, machine: Machine) -> torch.Tensor:
    with torch.inference_mode(), machine.autocast():
        return network(IMAGES).float()


@pytest.mark.parametrize("machine", [FP32, BF16], ids=["fp32", "bf16"])
def test_features_of_a_trained_network_keep_their_direction_and_length(machine: Machine):
    network = trained()
    plain, ready = features(network, FP32), features(prepare(network, machine), machine)
    assert torch.cosine_similarity(plain, ready).min() >= (0.999999 if machine is FP32 else 0.999)
    torch.testing.assert_close(ready.norm(dim=1), plain.norm(dim=1), rtol=2e-2, atol=0)
    # Features of different images differ by far more than rounding.
    centred = plain - plain.mean(0)
    assert torch.cosine_similarity(centred, ready - ready.mean(0)).min() > 0.99


def test_weights_cast_once_are_those_that_autocast_casts_in_every_call():
    """A network without batch norm: nothing is folded, so that no bit may differ."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(7200, 4)).eval()
    plain, ready = features(network, BF16), prepare(network, BF16)
    assert ready.get_parameter("0.weight").dtype is torch.bfloat16
    assert torch.equal(features(ready, BF16), plain)


def test_the_trained_network_is_untouched():
    network = trained().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    ready = prepare(network, BF16)
    assert network.training and not ready.training
    assert all(p.requires_grad for p in network.parameters())
    after = network.state_dict()
    assert all(
        torch.equal(after[name], value) and after[name].dtype == value.dtype for name, value in before.items()
    )


def test_backbones_inside_a_network_are_folded_too():
    network = nn.ModuleDict({"trunk": trained(), "head": nn.Linear(96, 2)})
    assert batch_norms(network) and not batch_norms(prepare(network, FP32))


def test_what_stays_unfused_is_said_by_name():
    torch.manual_seed(0)
    assert unfused(prepare(TimmBackbone("test_resnet", 3, 32), FP32)) == ""
    said = unfused(prepare(TimmBackbone("resnetv2_18", 3, 32), FP32))
    assert said.startswith("9 batch norms cannot be folded into the layer before and stay: 'net.stages.0")


def test_batch_norms_of_a_table_are_not_spoken_of():
    table = build_table_backbone("tabnet", [TableColumn("a"), TableColumn("b")], {"n_d": 4, "n_a": 4})
    ready = prepare(table, FP32)
    assert batch_norms(ready) and unfused(ready) == ""
    torch.manual_seed(0)
    both = nn.ModuleDict({"table": table, "picture": TimmBackbone("resnetv2_18", 3, 32)})
    assert unfused(prepare(both, FP32)).startswith("9 batch norms cannot be folded")
