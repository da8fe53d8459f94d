"""Every backbone of tables keeps one contract: features (B, D), ordered stages, a card, no sight of masked cells."""

import copy
import json
import math
from typing import Any

import pytest
import torch
from jigstack.backbones.folding import fold_batch_norm
from jigstack.backbones.table_backbone import TableBackbone
from jigstack.backbones.table_build import build_table_backbone
from jigstack.datasets.table_column import TableColumn
from torch.nn.modules.batchnorm import _BatchNorm

COLUMNS = (
    TableColumn("age", edges=(-1.0, 0.0, 1.0)),
    TableColumn("city", kind="category", levels=("a", "b", "c")),
    TableColumn("pay", edges=(-0.5, 0.5)),
)
SMALL: dict[str, tuple[dict[str, Any], list[str]]] = {
    "mlp": ({"width": 8, "depth": 2}, ["stem", "layers.0", "layers.1"]),
    "resmlp": ({"width": 8, "depth": 2, "numbers": "piecewise"}, ["stem", "blocks.0", "blocks.1", "tail"]),
    "cnn1d": (
        {"hidden": 32, "channels": 4, "filters": 6},
        ["stem", "conv1", "conv2", "conv3", "conv4", "tail"],
    ),
    "tabnet": ({"n_d": 4, "steps": 2, "virtual_batch": 2}, ["stem", "shared", "step1", "step2"]),
}
ROWS = torch.tensor([[0.5, 3, -1.0], [math.nan, 4, 0.2], [1.5, 5, math.nan], [-0.3, 99, 0.1]])


@pytest.fixture(params=SMALL)
def backbone(request: pytest.FixtureRequest) -> TableBackbone:
    torch.manual_seed(0)
    built = build_table_backbone(request.param, COLUMNS, SMALL[request.param][0])
    assert isinstance(built, TableBackbone)
    return built


def test_rows_become_finite_features_of_the_stated_width(backbone: TableBackbone):
    for training in (True, False):
        features = backbone.train(training)(ROWS)
        assert features.shape == (4, backbone.dim)
        assert features.isfinite().all()


def test_the_example_is_a_row_that_it_takes(backbone: TableBackbone):
    assert backbone.example().shape == (1, len(COLUMNS))
    assert backbone.eval()(backbone.example()).shape == (1, backbone.dim)


def test_a_batch_of_one_row_trains(backbone: TableBackbone):
    backbone.train()(ROWS[:1]).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in backbone.parameters())


def test_every_parameter_learns(backbone: TableBackbone):
    masked = torch.zeros(4, 3, dtype=torch.bool)
    masked[3] = True
    features = backbone.train()(ROWS, masked)
    (features * torch.randn_like(features)).sum().backward()
    assert [
        name for name, p in backbone.named_parameters() if p.grad is None or not p.grad.isfinite().all()
    ] == []


def test_what_masked_cells_hold_changes_no_feature_of_any_row(backbone: TableBackbone):
    """In training too, where batch norm mixes the rows."""
    masked = torch.rand(ROWS.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    garbage = torch.where(masked, torch.tensor([math.nan, -7.0, 1e30]), ROWS)
    assert masked.any() and not masked.all()
    for training in (True, False):
        features = []
        for cells in (ROWS, garbage):
            torch.manual_seed(1)  # of dropout
            features.append(copy.deepcopy(backbone).train(training)(cells, masked))
        assert torch.equal(*features)


def test_a_row_s_features_do_not_depend_on_the_others_in_evaluation(backbone: TableBackbone):
    backbone.train()(ROWS)
    backbone.eval()
    torch.testing.assert_close(backbone(ROWS.flip(0)), backbone(ROWS).flip(0))
    torch.testing.assert_close(backbone(ROWS[:1]), backbone(ROWS)[:1])


def test_stages_go_from_the_input_to_the_output(backbone: TableBackbone):
    expected = SMALL[backbone.kind][1]
    assert list(backbone.stages()) == list(backbone.stage_modules()) == expected
    fired: list[str] = []
    for name, modules in backbone.stage_modules().items():
        for module in modules:
            module.register_forward_hook(lambda *_, name=name: fired.append(name))
    backbone.eval()(ROWS)
    assert list(dict.fromkeys(fired)) == expected


def test_every_parameter_is_in_exactly_one_stage(backbone: TableBackbone):
    staged = [id(p) for stage in backbone.stages().values() for p in stage]
    assert len(staged) == len(set(staged))
    assert set(staged) == {id(p) for p in backbone.parameters()}


def test_stage_modules_hold_every_batch_norm(backbone: TableBackbone):
    norms = {id(m) for m in backbone.modules() if isinstance(m, _BatchNorm)}
    held = {id(m) for modules in backbone.stage_modules().values() for top in modules for m in top.modules()}
    assert norms <= held


def test_the_card_is_plain_and_names_what_was_built(backbone: TableBackbone):
    card = backbone.card()
    assert json.loads(json.dumps(card)) == card
    assert card["kind"] == backbone.kind
    assert card["dim"] == backbone.dim
    assert card["columns"] == [column.state() for column in COLUMNS]
    assert SMALL[backbone.kind][0].items() <= card["options"].items()


def test_random_weights_follow_torch_s_seed(backbone: TableBackbone):
    torch.manual_seed(0)
    again = build_table_backbone(backbone.kind, COLUMNS, SMALL[backbone.kind][0]).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in backbone.state_dict().items())


def test_it_can_be_folded_for_prediction(backbone: TableBackbone):
    backbone.train()(ROWS)
    folded = fold_batch_norm(backbone, backbone.example())
    torch.testing.assert_close(folded(ROWS), backbone.eval()(ROWS), rtol=1e-4, atol=1e-5)
