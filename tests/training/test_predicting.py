"""Networks made ready to predict: what they say, and that the trained ones stay as they are."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from jigstack.backbones import JoinedBackbone, TimmBackbone, batch_norms
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


COLUMNS = [
    *(TableColumn(f"n{j}", edges=(-1.0, 0.0, 1.0)) for j in range(10)),
    TableColumn("c", kind="category", levels=("a", "b", "c"), shares=(0.5, 0.3, 0.2)),
]
TABLES = {
    "tabnet": {"n_d": 16, "n_a": 16},
    "mlp": {"width": 64},
    "resmlp": {"width": 64},
    "cnn1d": {"hidden": 64, "channels": 8, "filters": 16},
}


def lines(count: int) -> torch.Tensor:
    """Rows of `COLUMNS`, a tenth of their numbers missing."""
    draws = torch.Generator().manual_seed(0)
    numbers = torch.randn(count, 10, generator=draws)
    numbers[torch.rand(count, 10, generator=draws) < 0.1] = torch.nan
    return torch.cat([numbers, torch.randint(1, 6, (count, 1), generator=draws).float()], 1)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads; afterwards it is what it was."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", TABLES)
def test_predictions_for_a_table_by_one_and_two_threads_differ_by_rounding_alone(
    kind: str, threads: Callable[[int], None]
):
    torch.manual_seed(0)
    backbone = build_table_backbone(kind, COLUMNS, TABLES[kind]).train()
    with torch.no_grad():
        for _ in range(3):
            backbone(lines(512))  # running statistics that are some
    ready, rows, found = prepare(backbone, FP32), lines(6000), []
    for count in (1, 2):
        threads(count)
        with torch.inference_mode():
            found.append(ready(rows))
    assert found[0].std() > 1e-3
    torch.testing.assert_close(*found, rtol=0, atol=1e-5)


def test_of_joined_backbones_those_of_tables_are_prepared_in_float32_and_those_of_pictures_in_bfloat16():
    torch.manual_seed(0)
    parts: dict[str, Any] = {"img": trained()} | {
        kind: build_table_backbone(kind, COLUMNS, TABLES[kind]) for kind in TABLES
    }
    joined = JoinedBackbone(parts).eval()
    ready: Any = prepare(joined, BF16)
    inputs: dict[str, Any] = {"img": IMAGES} | dict.fromkeys(TABLES, lines(6))
    with torch.inference_mode(), BF16.autocast():
        features = ready(inputs).float()
    begin = parts["img"].dim
    kinds = {weight.dtype for weight in ready.parts["img"].parameters()}
    assert torch.bfloat16 in kinds
    plain = prepare(joined, FP32)
    with torch.inference_mode():
        expected: torch.Tensor = plain(inputs)
    assert not torch.equal(features[:, :begin], expected[:, :begin])
    torch.testing.assert_close(features[:, begin:], expected[:, begin:], rtol=0, atol=1e-6)
    for kind in TABLES:
        assert {weight.dtype for weight in ready.parts[kind].parameters()} == {torch.float32}


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
