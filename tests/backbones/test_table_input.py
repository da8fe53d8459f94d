"""Cells become features, and what a masked cell held is seen nowhere."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jigstack.backbones.table_input import TableInput
from jigstack.datasets.table_column import FIRST_LEVEL, MASKED, MISSING, UNKNOWN, TableColumn

COLUMNS = (
    TableColumn("age", edges=(-1.0, 0.0, 1.0)),
    TableColumn("city", kind="category", levels=tuple("abcdefghijkl")),
    TableColumn("pay", edges=(-0.5, 0.5)),
    TableColumn("sex", kind="category", levels=("f", "m")),
    TableColumn("empty", kind="category"),
    TableColumn("day"),
)
D = len(COLUMNS)
NUMBERS, CATEGORIES = [0, 2, 5], [1, 3, 4]
ROW = [0.3, FIRST_LEVEL + 2.0, -0.2, FIRST_LEVEL + 1.0, UNKNOWN, 1.5]
WAYS: list[dict[str, Any]] = [
    {},
    {"category_width": 1},
    {"numbers": "piecewise", "number_width": 3},
]


@pytest.fixture(params=WAYS, ids=["plain", "width 1", "piecewise"])
def table_input(request: pytest.FixtureRequest) -> TableInput:
    return learned(TableInput(COLUMNS, **request.param))


def learned(module: TableInput) -> TableInput:
    """Blanks as after training, so that they differ from zeros."""
    torch.manual_seed(1)
    torch.nn.init.normal_(module.blank)
    return module


def features_of(module: TableInput, name: str) -> torch.Tensor:
    return module.slots == [column.name for column in module.columns].index(name)


def test_a_plain_number_is_a_feature_and_a_category_a_vector_of_torch_s_table():
    module = TableInput(COLUMNS, category_width=4)
    x = torch.tensor([ROW, ROW])
    x[1, 1] = FIRST_LEVEL
    received = module(x)
    assert received.shape == (2, module.dim) == (2, 3 + 3 * 4)
    assert torch.equal(received[:, :3], x[:, NUMBERS])
    table = torch.nn.Embedding(15, 4)
    table.weight.data = module.embeddings[0].weight[: COLUMNS[1].size]  # pyright: ignore
    assert torch.equal(received[:, features_of(module, "city")], table(x[:, 1].long()))


def test_slots_name_the_one_column_that_moves_a_feature(table_input: TableInput):
    x = torch.tensor([ROW])
    for j, column in enumerate(COLUMNS):
        other = x.clone()
        other[0, j] = -0.8 if column.kind == "number" else MISSING
        moved = (table_input(other) != table_input(x))[0]
        assert moved.any()
        assert set(table_input.slots[moved].tolist()) == {j}


def test_a_missing_or_masked_number_becomes_its_blank_which_is_learned(table_input: TableInput):
    x = torch.tensor([ROW, ROW])
    x[0, 2] = math.nan
    masked = torch.zeros(2, D, dtype=torch.bool)
    masked[1, 2] = True
    received = table_input(x, masked)[:, features_of(table_input, "pay")]
    torch.testing.assert_close(received[0], table_input.blank[1].view(-1))
    assert torch.equal(received[1], received[0])
    received.sum().backward()
    assert table_input.blank.grad is not None
    assert table_input.blank.grad[1].unique().tolist() == [2.0]
    assert table_input.blank.grad[0].unique().tolist() == [0.0]


def test_blanks_begin_at_the_mean():
    assert not TableInput(COLUMNS).blank.any()


def test_a_masked_category_is_the_level_masked_and_nan_the_level_missing(table_input: TableInput):
    x = torch.tensor([ROW] * 4)
    x[:, 1] = torch.tensor([5.0, MASKED, math.nan, MISSING])
    masked = torch.zeros(4, D, dtype=torch.bool)
    masked[0, 1] = True
    received = table_input(x, masked)
    assert torch.equal(received[0], received[1])
    assert torch.equal(received[2], received[3])
    assert not torch.equal(received[0], received[2])


@pytest.mark.parametrize("level", [FIRST_LEVEL + 12.0, -1.0, 1e30, -1e30])
def test_a_level_that_the_column_does_not_have_is_unknown(level: float, table_input: TableInput):
    x = torch.tensor([ROW, ROW])
    x[0, 1], x[1, 1] = level, UNKNOWN
    received = table_input(x)
    assert torch.equal(received[0], received[1])


CELL = st.one_of(st.floats(width=32), st.integers(-5, 40).map(float))
ROWS = st.lists(st.lists(CELL, min_size=D, max_size=D), min_size=2, max_size=2)
INPUTS = [learned(TableInput(COLUMNS, **way)) for way in WAYS]


@settings(deadline=None, max_examples=60)
@given(ROWS, st.lists(st.booleans(), min_size=D, max_size=D), st.sampled_from(INPUTS))
def test_what_masked_cells_hold_never_changes_a_feature(
    rows: list[list[float]], mask: list[bool], module: TableInput
):
    """NaN, infinities and numbers of no level included."""
    masked = torch.tensor([mask])
    x, garbage = torch.tensor(rows[:1]), torch.tensor(rows[1:])
    expected = module(x, masked)
    assert torch.equal(module(torch.where(masked, garbage, x), masked), expected)


@settings(deadline=None, max_examples=60)
@given(ROWS, st.sampled_from(INPUTS))
def test_no_cell_is_out_of_range_and_none_gives_nan(rows: list[list[float]], module: TableInput):
    assert not module(torch.tensor(rows)).isnan().any()


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_infinities_are_missing(value: float, table_input: TableInput):
    infinite, absent = torch.full((1, D), value), torch.full((1, D), math.nan)
    assert torch.equal(table_input(infinite), table_input(absent))
    assert table_input.missing(infinite).all()


def test_missing_cells_are_nan_and_the_level_missing():
    x = torch.tensor([ROW, ROW])
    x[0, [1, 2]] = torch.tensor([float(MISSING), math.nan])
    x[1, [3, 5]] = torch.tensor([math.nan, float(MISSING)])  # 2 is a number of column `day` as any other
    assert TableInput(COLUMNS).missing(x).nonzero().tolist() == [[0, 1], [0, 2], [1, 3]]


def test_columns_of_one_kind_suffice():
    numbers = TableInput([COLUMNS[0], COLUMNS[2]])
    x = torch.tensor([[0.1, math.nan]])
    assert numbers(x).tolist() == [[pytest.approx(0.1), 0.0]]
    assert numbers.missing(x).tolist() == [[False, True]]
    categories = TableInput([COLUMNS[1], COLUMNS[3]], numbers="piecewise")
    assert categories(torch.tensor([[3.0, 4.0]])).shape == (1, categories.dim)


def test_the_weights_follow_torch_s_seed_and_nothing_of_the_columns_is_among_them(table_input: TableInput):
    torch.manual_seed(3)
    first = TableInput(COLUMNS, **table_input.options()).state_dict()
    torch.manual_seed(3)
    second = TableInput(COLUMNS, **table_input.options()).state_dict()
    assert first.keys() == {name for name, _ in table_input.named_parameters()}
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_other_shapes_are_refused_with_the_way_out():
    module = TableInput(COLUMNS)
    with pytest.raises(ValueError, match=r"x: expected \(B, 6\).* received \(1, 5\); encode the table"):
        module(torch.zeros(1, 5))
    with pytest.raises(ValueError, match=r"masked: expected a bool .* received torch.bool \(6,\)"):
        module(torch.zeros(1, 6), torch.zeros(6, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"masked: .* received torch.float32"):
        module(torch.zeros(1, 6), torch.zeros(1, 6))
    with pytest.raises(ValueError, match="columns: expected at least one"):
        TableInput([])
