"""One table for the levels of many columns, against one table a column."""

import torch
import torch.nn.functional as F
from jigstack.backbones.level_embedding import LevelEmbedding, auto_width


def test_one_table_gives_what_a_table_a_column_gives():
    torch.manual_seed(0)
    sizes = [4, 3, 9]
    module = LevelEmbedding(sizes, width=5)
    levels = torch.stack([torch.randint(size, (20,)) for size in sizes], 1)
    tables = module.weight.split(sizes)
    expected = torch.cat([F.embedding(levels[:, k], table) for k, table in enumerate(tables)], 1)
    assert torch.equal(module(levels), expected)


def test_widths_rise_with_the_levels_and_are_powers_of_two():
    widths = [auto_width(levels) for levels in range(5000)]
    assert widths == sorted(widths)
    assert set(widths) == {2, 4, 8, 16, 32}
