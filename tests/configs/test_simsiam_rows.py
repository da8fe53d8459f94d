"""Options of SimSiam on rows."""

import pytest
from jigstack.configs.simsiam_rows import SimSiamRowsOptions


def test_it_asks_for_sgd_as_on_pictures():
    assert SimSiamRowsOptions.optimiser == "sgd"


def test_rows_are_corrupted_and_pairs_of_neighbours_are_not_unless_given():
    assert SimSiamRowsOptions().share == 0.3
    assert SimSiamRowsOptions(neighbours=5).share == 0.0
    assert SimSiamRowsOptions(neighbours=5, corruption=0.2).share == 0.2


@pytest.mark.parametrize(
    "options",
    [
        {"corruption": 1.0},
        {"corruption": -0.1},
        {"neighbours": -1},
        {"width": 30},
        {"layers": 4},
        {"views": 3},
    ],
)
def test_options_out_of_range_and_unknown_ones_are_refused(options: dict):
    with pytest.raises(ValueError):
        SimSiamRowsOptions.model_validate(options)


def test_two_views_that_are_the_same_row_are_refused():
    with pytest.raises(ValueError, match="corruption above 0 with neighbours: 0, or both views are the row"):
        SimSiamRowsOptions(corruption=0.0)
    SimSiamRowsOptions(corruption=0.0, neighbours=1)
