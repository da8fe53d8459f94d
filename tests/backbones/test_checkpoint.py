"""A checkpoint comes back bit for bit, or says which keys do not fit."""

from pathlib import Path

import pytest
import torch
from jigstack.backbones import (
    TimmBackbone,
    build_backbone,
    load_backbone,
    load_weights,
    read_seen,
    save_backbone,
)
from jigstack.backbones.table_build import build_table_backbone
from jigstack.configs.schema import Backbone
from jigstack.datasets.table_column import TableColumn
from safetensors.torch import load_file, save_file

EXTRA = {"pretext": {"kind": "jigsaw"}, "scope": "transductive"}


def equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


@pytest.fixture(scope="module")
def backbone() -> TimmBackbone:
    torch.manual_seed(1)
    backbone = TimmBackbone("test_resnet", 3, 32)
    backbone(torch.rand(4, 3, 32, 32))  # moves the batch norms' running statistics
    return backbone


@pytest.fixture
def saved(backbone: TimmBackbone, tmp_path: Path) -> Path:
    save_backbone(backbone, tmp_path / "jig", EXTRA, ["b", "007", "b"])
    return tmp_path / "jig"


def test_a_checkpoint_comes_back_bit_for_bit(backbone: TimmBackbone, saved: Path):
    for path in (saved, saved / "backbone.safetensors", str(saved)):
        loaded, card = load_backbone(path)
        assert equal(loaded, backbone)
        assert card == {**backbone.card(), **EXTRA}


def test_seen_ids_are_text_and_unique(saved: Path):
    assert read_seen(saved) == {"007", "b"}


def test_channels_last_weights_come_back(tmp_path: Path):
    backbone = TimmBackbone("test_resnet", 3, 32).to(memory_format=torch.channels_last)
    save_backbone(backbone, tmp_path, {}, [])
    assert equal(load_backbone(tmp_path)[0], backbone)


def test_averaged_weights_are_written_instead(backbone: TimmBackbone, tmp_path: Path):
    average = {key: torch.zeros_like(value) for key, value in backbone.net.state_dict().items()}
    save_backbone(backbone, tmp_path, {}, [], weights=average)
    assert not any(value.any() for value in load_backbone(tmp_path)[0].state_dict().values())


def test_the_config_names_a_checkpoint(backbone: TimmBackbone, saved: Path):
    assert equal(build_backbone(Backbone(name="test_resnet", weights=str(saved)), 3, 32), backbone)


def test_a_vit_keeps_its_positions_at_another_size(tmp_path: Path):
    save_backbone(TimmBackbone("test_vit", 3, 64), tmp_path, {}, [])
    section = Backbone(name="test_vit", weights=str(tmp_path))
    for backbone in (build_backbone(section, 3, 96), load_backbone(tmp_path, size=96)[0]):
        assert backbone.size == 64
        assert backbone.eval()(torch.rand(1, 3, 96, 96)).shape == (1, backbone.dim)
    with pytest.raises(ValueError, match="cannot take 3 x 50 x 50 images"):
        load_backbone(tmp_path, size=50)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_file_of_weights_that_are_not_finite_is_refused_and_nothing_is_loaded(
    backbone: TimmBackbone, saved: Path, value: float
):
    weights = load_file(saved / "backbone.safetensors")
    weights["conv1.0.weight"].view(-1)[0] = value
    save_file(weights, saved / "backbone.safetensors")
    before = {key: tensor.clone() for key, tensor in backbone.net.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"backbone.safetensors: .* NaN or infinity in '.*'; delete the file, and a"
    ):
        load_weights(backbone, saved)
    assert all(torch.equal(before[key], tensor) for key, tensor in backbone.net.state_dict().items())
    (saved.parent / "twin").hardlink_to(saved / "backbone.safetensors")
    with pytest.raises(ValueError, match="delete the file under all of its 2 names"):
        load_weights(backbone, saved)


def test_random_weights_follow_the_global_seed():
    def build() -> TimmBackbone:
        torch.manual_seed(5)
        return build_backbone(Backbone(name="test_resnet"), 3, 32)

    assert equal(build(), build())


def test_keys_that_do_not_fit_are_named_and_nothing_is_loaded(backbone: TimmBackbone, saved: Path):
    tensors = load_file(saved / "backbone.safetensors")
    del tensors["bn1.weight"]
    tensors["fc.weight"] = torch.zeros(2, 2)
    tensors["bn1.bias"] = torch.zeros(3)
    save_file(tensors, saved / "other.safetensors")
    fresh = TimmBackbone("test_resnet", 3, 32)
    before = {key: value.clone() for key, value in fresh.state_dict().items()}
    with pytest.raises(ValueError) as caught:
        load_weights(fresh, saved / "other.safetensors")
    message = str(caught.value)
    assert "1 missing: 'bn1.weight'" in message
    assert "1 unexpected: 'fc.weight'" in message
    assert "bn1.bias (file (3,), network (32,))" in message
    assert all(torch.equal(value, before[key]) for key, value in fresh.state_dict().items())


@pytest.mark.parametrize(
    ("section", "channels", "message"),
    [
        (
            {"name": "test_convnext"},
            3,
            "expected a backbone with name 'test_convnext', received 'test_resnet'",
        ),
        ({"name": "test_resnet"}, 1, "expected a backbone with channels 1, received 3"),
        (
            {"name": "test_resnet", "options": {"drop_rate": 0.1}},
            3,
            r"expected a backbone with options \{'drop_rate': 0.1\}, received \{\}",
        ),
    ],
)
def test_another_network_is_refused_by_its_card(saved: Path, section: dict, channels: int, message: str):
    with pytest.raises(ValueError, match=message):
        build_backbone(Backbone(**section, weights=str(saved)), channels, 32)


def test_missing_parts_are_named(backbone: TimmBackbone, saved: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"expected a folder with backbone.safetensors .* received"):
        load_backbone(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="rename"):
        save_backbone(backbone, tmp_path, {"dim": 3}, [])
    (saved / "seen.parquet").unlink()
    with pytest.raises(ValueError, match="ids that the checkpoint has seen"):
        read_seen(saved)
    (saved / "backbone.json").write_text('{"kind": "timm", "name": "test_resnet"}')
    with pytest.raises(ValueError, match="without 'options', 'channels', 'size', 'dim'"):
        load_backbone(saved)
    (saved / "backbone.json").write_text(
        '{"kind": "x", "name": "y", "options": {}, "channels": 3, "size": 32, "dim": 2}'
    )
    with pytest.raises(ValueError, match=r"expected a kind out of timm, tabnet.* received 'x'"):
        load_backbone(saved)
    (saved / "backbone.json").unlink()
    with pytest.raises(ValueError, match=r"expected backbone.json beside it, received none"):
        load_backbone(saved)
    (saved / "backbone.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="expected a safetensors file"):
        load_weights(backbone, saved)


def test_a_backbone_of_tables_is_saved_and_comes_back_with_its_columns(tmp_path: Path):
    columns = (TableColumn("age"), TableColumn("job", "category", ("a", "b"), (0.5, 0.5)))
    backbone = build_table_backbone("tabnet", columns, {"n_d": 4, "n_a": 4})
    save_backbone(backbone, tmp_path, {"pretext": {}}, ["r1"])
    again, card = load_backbone(tmp_path)
    assert card["kind"] == "tabnet" and again.columns == columns and read_seen(tmp_path) == {"r1"}
    lines = torch.tensor([[0.5, 3.0], [float("nan"), 4.0]])
    assert torch.equal(backbone.eval()(lines), again.eval()(lines))
    section = Backbone(kind="tabnet", options={"n_d": 4, "n_a": 4}, weights=str(tmp_path))
    assert torch.equal(build_backbone(section, columns, 0).eval()(lines), again(lines))
    with pytest.raises(
        ValueError, match=r"of the 1 columns of this table, received one of 2; they differ in 'job'"
    ):
        build_backbone(section, columns[:1], 0)
    with pytest.raises(ValueError, match="expected a backbone with kind 'mlp', received 'tabnet'"):
        build_backbone(Backbone(kind="mlp", weights=str(tmp_path)), columns, 0)
