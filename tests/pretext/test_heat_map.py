"""The preview of a masked table."""

import math

import pytest
import torch
from jigstack.datasets.table_column import FIRST_LEVEL, MISSING, TableColumn
from jigstack.pretext.heat_map import heat_map

BLUE, WHITE, RED, GREY, DARK = (
    (33, 102, 172),
    (247, 247, 247),
    (178, 24, 43),
    (150, 150, 150),
    (40, 40, 40),
)
COLUMNS = (
    TableColumn("n"),
    TableColumn("c", kind="category", levels=("a", "b", "c"), shares=(0.5, 0.3, 0.2)),
)


def test_each_cell_has_the_colour_of_its_value_in_the_three_panels():
    values = torch.tensor(
        [[-9.0, FIRST_LEVEL], [0.0, FIRST_LEVEL + 1], [3.0, FIRST_LEVEL + 2], [math.nan, MISSING]]
    )
    masked = torch.tensor([[True, False], [False, True], [False, False], [False, False]])
    filled = torch.tensor(
        [[3.0, FIRST_LEVEL], [0.0, FIRST_LEVEL + 2], [3.0, FIRST_LEVEL + 2], [-3.0, FIRST_LEVEL]]
    )
    picture = heat_map(values, masked, filled, COLUMNS)
    panel = 2 * 24 + 16

    def colours(number: int) -> list[list[tuple[int, ...]]]:
        return [
            [picture.getpixel((number * panel + 24 * j + 12, 12 * i + 6)) for j in range(2)]  # pyright: ignore[reportReturnType]
            for i in range(4)
        ]

    assert colours(0) == [[BLUE, BLUE], [WHITE, WHITE], [RED, RED], [DARK, DARK]]
    assert colours(1) == [[GREY, BLUE], [WHITE, GREY], [RED, RED], [DARK, DARK]]
    assert colours(2) == [[RED, BLUE], [WHITE, RED], [RED, RED], [BLUE, BLUE]]


@pytest.mark.parametrize(("count", "width"), [(1, 24), (40, 12 * 40), (200, 400), (5000, 400)])
def test_few_and_many_columns_are_readable(count: int, width: int):
    values = torch.randn(50, count)
    masked = torch.rand(50, count) < 0.5
    columns = [TableColumn(str(j)) for j in range(count)]
    assert heat_map(values, masked, values, columns).size == (3 * width + 2 * 16, 32 * 12)


def test_a_category_of_one_level_is_drawn():
    column = TableColumn("c", kind="category", levels=("a",), shares=(1.0,))
    value = torch.full((1, 1), float(FIRST_LEVEL))
    assert heat_map(value, torch.zeros(1, 1, dtype=torch.bool), value, [column]).getpixel((1, 1)) == BLUE
