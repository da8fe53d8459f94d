"""Backbones side by side: their features, stages and weights."""

from collections import OrderedDict
from typing import Any

import pytest
import torch
from jigstack.backbones import JoinedBackbone, TimmBackbone, from_card
from jigstack.backbones.table_build import build_table_backbone
from jigstack.datasets.table_column import TableColumn


@pytest.fixture
def joined() -> JoinedBackbone:
    torch.manual_seed(0)
    rows: Any = build_table_backbone("tabnet", [TableColumn("x"), TableColumn("y")], {"sparsity": 0.5})
    return JoinedBackbone({"img": TimmBackbone("test_resnet", 3, 32), "rows": rows}).eval()


def batch() -> dict[str, torch.Tensor]:
    draws = torch.Generator().manual_seed(1)
    return {"img": torch.randn(4, 3, 32, 32, generator=draws), "rows": torch.randn(4, 2, generator=draws)}


def test_the_features_are_those_of_the_parts_side_by_side(joined: JoinedBackbone):
    x, (pictures, lines) = batch(), joined.parts.values()
    wanted = torch.cat([pictures(x["img"]), lines(x["rows"])], dim=1)
    assert torch.equal(joined(x), wanted) and joined.dim == wanted.shape[1] == pictures.dim + lines.dim


def test_the_penalty_is_that_of_the_part_that_has_one_times_its_weight(joined: JoinedBackbone):
    x = batch()
    features, penalty = joined.penalised(x)
    assert torch.equal(features, joined(x))
    assert torch.equal(penalty, 0.5 * joined.parts["rows"].penalised(x["rows"])[1])


def test_tables_stay_in_float32_beside_pictures_in_bfloat16(joined: JoinedBackbone):
    x = batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = joined(x)
    width = joined.parts["img"].dim
    assert torch.equal(features[:, width:], joined.parts["rows"](x["rows"]))
    assert not torch.equal(features[:, :width], joined.parts["img"](x["img"]))


def test_stages_hold_every_weight_once_and_the_top_ones_of_all_parts_come_last(joined: JoinedBackbone):
    stages = joined.stages()
    held = [id(parameter) for parameters in stages.values() for parameter in parameters]
    assert sorted(held) == sorted(map(id, joined.parameters()))
    tops = [f"{name}.{list(part.stages())[-1]}" for name, part in joined.parts.items()]
    assert list(stages)[-2:] == tops
    for name, part in joined.parts.items():
        own = OrderedDict((stage, stages[f"{name}.{stage}"]) for stage in part.stages())
        assert [stage for stage in stages if stage.startswith(f"{name}.")] == [f"{name}.{s}" for s in own]
    assert set(stages) <= set(joined.stage_modules())


def test_a_card_and_its_weights_give_the_same_features_again(joined: JoinedBackbone):
    again = from_card(joined.card()).eval()
    again.load_state_dict(joined.state_dict())
    assert again.names == ("img", "rows") and torch.equal(again(batch()), joined(batch()))


def test_one_backbone_is_not_joined():
    with pytest.raises(ValueError, match=r"parts: expected two or more backbones, received \['img'\]"):
        JoinedBackbone({"img": TimmBackbone("test_resnet", 3, 32)})
