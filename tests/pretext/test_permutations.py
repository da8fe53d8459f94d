"""Orders that lie far apart."""

import itertools

import numpy as np
import pytest
from jigstack.pretext.permutations import far_apart


def distances(orders: np.ndarray) -> np.ndarray:
    apart = (orders[:, None] != orders[None]).sum(-1)
    return apart[~np.eye(len(orders), dtype=bool)]


@pytest.mark.parametrize(("tiles", "count"), [(4, 24), (9, 100), (9, 1500), (16, 200)])
def test_the_orders_are_different_orders_and_the_first_is_none(tiles: int, count: int):
    orders = far_apart(tiles, count)
    assert orders.shape == (count, tiles)
    assert len({tuple(order) for order in orders}) == count
    assert (np.sort(orders, axis=1) == np.arange(tiles)).all()
    assert (orders[0] == np.arange(tiles)).all()


def test_a_few_orders_of_nine_tiles_differ_everywhere_and_a_hundred_nearly():
    assert distances(far_apart(9, 9)).min() == 9
    assert distances(far_apart(9, 100)).min() >= 6
    random = np.random.default_rng(0).permuted(np.tile(np.arange(9), (100, 1)), axis=1)
    assert distances(far_apart(9, 100)).min() > distances(random).min()


def test_they_are_those_of_the_greedy_choice_written_out():
    every = list(itertools.permutations(range(5)))
    chosen = [every[0]]
    while len(chosen) < 30:
        far = [min(sum(a != b for a, b in zip(one, other, strict=True)) for other in chosen) for one in every]
        chosen.append(every[far.index(max(far))])
    assert far_apart(5, 30).tolist() == [list(order) for order in chosen]


def test_more_orders_than_there_are_is_refused():
    with pytest.raises(ValueError, match="at most 24, the orders of 4 tiles, received 25"):
        far_apart(4, 25)
