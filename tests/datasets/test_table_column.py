"""A column of a table as a network knows it."""

import math

import pytest
from jigstack.datasets.table_column import FIRST_LEVEL, TableColumn


def test_a_category_has_a_number_for_each_level_and_three_for_what_is_none():
    column = TableColumn("colour", "category", levels=("red", "blue"), shares=(0.25, 0.75))
    assert column.size == FIRST_LEVEL + 2
    assert column.entropy == pytest.approx(-0.25 * math.log(0.25) - 0.75 * math.log(0.75))
    assert TableColumn("one", "category", levels=("x",), shares=(1.0,)).entropy == 0


def test_a_column_is_restored_from_its_state():
    column = TableColumn("x", edges=(-1.0, 0.5, 2.0))
    assert TableColumn.restore(column.state()) == column
