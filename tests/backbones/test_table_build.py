"""Backbones of tables by their name, and again from their card."""

import json
import subprocess
import sys
from typing import Any

import pytest
import torch
from jigstack.backbones.cnn1d import Cnn1d
from jigstack.backbones.mlp import Mlp
from jigstack.backbones.resmlp import ResidualMlp
from jigstack.backbones.table_build import build_table_backbone, restore_table_backbone
from jigstack.configs.errors import UserError
from jigstack.datasets.table_column import TableColumn

COLUMNS = [TableColumn("age", edges=(-1.0, 1.0)), TableColumn("sex", kind="category", levels=("f", "m"))]
BUILT: list[tuple[str, type, dict[str, Any]]] = [
    ("mlp", Mlp, {"width": 7, "depth": 1, "number_width": 3}),
    ("resmlp", ResidualMlp, {"width": 6, "expansion": 0.5, "category_width": 2}),
    ("cnn1d", Cnn1d, {"hidden": 16, "channels": 4, "filters": 3}),
]


@pytest.mark.parametrize(("kind", "expected", "options"), BUILT)
def test_a_card_that_went_through_json_gives_the_same_network(kind: str, expected: type, options: dict):
    network = build_table_backbone(kind, COLUMNS, options)
    assert type(network) is expected
    again: Any = restore_table_backbone({**json.loads(json.dumps(network.card())), "pretext": "masked"})  # pyright: ignore
    again.load_state_dict(network.state_dict())
    x = torch.tensor([[0.3, 4.0], [float("nan"), 2.0]])
    assert torch.equal(network.eval()(x), again.eval()(x))
    assert again.card() == network.card()  # pyright: ignore


@pytest.mark.parametrize(("kind", "expected", "options"), BUILT)
def test_defaults_of_the_options_are_those_of_the_class(kind: str, expected: type, options: dict):
    network: Any = build_table_backbone(kind, COLUMNS, {})
    own = expected(network.input).options
    assert own == network.options


def test_an_unknown_kind_is_answered_with_the_nearest():
    with pytest.raises(
        UserError, match="one of tabnet, mlp, resmlp, cnn1d, received 'resmpl'; did you mean 'resmlp'"
    ):
        build_table_backbone("resmpl", COLUMNS, {})


def test_all_faulty_options_are_named_at_once():
    with pytest.raises(UserError) as caught:
        build_table_backbone("mlp", COLUMNS, {"width": 0, "dropuot": 0.1})
    for part in ("2 problems in backbone 'mlp'", "options.width", "options.dropuot", "did you mean: dropout"):
        assert part in str(caught.value)


def test_a_card_without_columns_is_refused():
    with pytest.raises(
        ValueError, match="card: expected that of a backbone of tables, received one without 'columns'"
    ):
        restore_table_backbone({"kind": "mlp", "options": {}})


def test_no_backbone_is_imported_before_it_is_asked_for():
    code = (
        "import sys; from jigstack.backbones.table_build import TABLE_BACKBONES as known;"
        "files = ['jigstack.' + entry.implementation.split(':')[0] for entry in known.values()];"
        "print([file for file in files if file in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
