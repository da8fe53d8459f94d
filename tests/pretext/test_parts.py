"""A pretext's own parts are written beside its backbone and found again, or refused."""

from pathlib import Path

import pytest
import torch
from jigstack.backbones.table_backbone import TableBackbone
from jigstack.backbones.table_build import build_table_backbone
from jigstack.configs.masked import MaskedOptions
from jigstack.datasets.files import content_digests
from jigstack.datasets.table_column import TableColumn
from jigstack.pretext.masked import MaskedTable
from jigstack.pretext.parts import PARTS, keeps_parts, load_parts, own_state, put_parts, save_parts
from safetensors.torch import load_file, save_file

ROWS = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))


def pretext(seed: int, backbone: TableBackbone | None = None, **options) -> MaskedTable:
    torch.manual_seed(seed)
    columns = [TableColumn("age"), TableColumn("pay")]
    taken = backbone or build_table_backbone("mlp", columns, {"width": 8, "depth": 1})
    assert isinstance(taken, TableBackbone)
    return MaskedTable(taken, MaskedOptions(**options)).eval()


def says(method: MaskedTable) -> torch.Tensor:
    views = {"values": ROWS, "masked": torch.ones_like(ROWS, dtype=torch.bool)}
    with torch.no_grad():
        return method(views)["numbers"]


def test_only_the_pretext_that_predicts_cells_keeps_its_parts():
    assert keeps_parts("masked")
    assert not any(keeps_parts(kind) for kind in ("jigsaw", "tiles", "simsiam", "dino", "lejepa"))


def test_another_pretext_on_the_same_backbone_says_the_same_with_them(tmp_path: Path):
    method = pretext(0)
    named = save_parts(method, tmp_path)
    assert named == content_digests([tmp_path / PARTS])[0]
    assert not any(name.startswith("backbone") for name in load_file(tmp_path / PARTS))
    other = pretext(1, method.backbone)
    with torch.no_grad():
        other.decoder.get_parameter("output.bias").fill_(3.0)
    assert not torch.equal(says(other), says(method))
    load_parts(other, tmp_path, named)
    assert torch.equal(says(other), says(method))


def test_the_backbone_stays_as_it_is_where_parts_are_put_in():
    method, other = pretext(0), pretext(1)
    before = {name: value.clone() for name, value in other.backbone.state_dict().items()}
    put_parts(other, own_state(method))
    assert all(torch.equal(value, before[name]) for name, value in other.backbone.state_dict().items())
    assert all(torch.equal(value, own_state(method)[name]) for name, value in own_state(other).items())


def test_a_file_of_another_training_is_refused(tmp_path: Path):
    method = pretext(0)
    named = save_parts(method, tmp_path)
    with torch.no_grad():
        method.decoder.get_parameter("output.bias").fill_(3.0)
    save_parts(method, tmp_path)
    with pytest.raises(ValueError, match=r"the file that was written with backbone.json .*pretrain again"):
        load_parts(method, tmp_path, named)


def test_parts_of_another_decoder_are_refused_by_name(tmp_path: Path):
    named = save_parts(pretext(0, width=16), tmp_path)
    with pytest.raises(
        ValueError, match=r"of another shape: .*\.0\.own\.1\.weight \(file \(32, 16\), network \(64, 32\)\)"
    ):
        load_parts(pretext(0, width=32), tmp_path, named)
    with pytest.raises(ValueError, match=r"missing: .*decoder\.transformers\.3"):
        load_parts(pretext(0, width=16, steps=4), tmp_path, named)


def test_none_and_such_as_are_not_finite_are_refused(tmp_path: Path):
    with pytest.raises(
        ValueError, match=rf"expected {PARTS} beside the backbone, received none .*copy it too"
    ):
        load_parts(pretext(0), tmp_path, "")
    state = own_state(pretext(0))
    state["decoder.output.bias"] = torch.full((2,), float("inf"))
    save_file(state, tmp_path / PARTS)
    with pytest.raises(
        ValueError, match=r"expected finite weights, received NaN or infinity in 'decoder.output.bias'"
    ):
        load_parts(pretext(0), tmp_path, content_digests([tmp_path / PARTS])[0])
