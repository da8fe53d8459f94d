"""Draws are pure functions of their names."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from jigstack.training.randomness import generator, kept_generators, reseed_global, seed_of

names = st.lists(st.one_of(st.text(max_size=8), st.integers(0, 99)), max_size=4)


@given(st.integers(0, 2**31), names, names)
def test_other_names_give_another_seed(seed: int, one: list, other: list):
    assert (seed_of(seed, *one) == seed_of(seed, *other)) == (one == other)
    assert 0 <= seed_of(seed, *one) < 2**63


def test_a_generator_starts_where_its_names_say():
    first, second = (torch.rand(3, generator=generator(0, "views", 5)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.rand(3, generator=generator(0, "views", 6)))


def test_reseeding_decides_dropout():
    drawn = []
    for _ in range(2):
        reseed_global(3, "step", 1)
        drawn.append(torch.nn.functional.dropout(torch.ones(50)))
    assert torch.equal(*drawn)


def test_the_global_generator_can_be_kept_as_it_was():
    reseed_global(3, "a")
    expected = torch.rand(4)
    reseed_global(3, "a")
    with kept_generators():
        reseed_global(5, "b")
        torch.rand(9)
    assert torch.equal(torch.rand(4), expected)
