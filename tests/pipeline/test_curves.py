"""Curves in the terminal show what the numbers do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jigstack.pipeline.curves import BLOCKS, PLAIN, draw


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=200), st.integers(1, 80), st.integers(1, 8))
def test_a_curve_has_the_size_asked_for_and_full_columns(values: list[float], width: int, height: int):
    lines = draw(values, width, height)
    assert len(lines) == height
    assert {len(line) for line in lines} == {min(width, len(values))}
    for column in zip(*lines, strict=True):
        filled = [BLOCKS.index(sign) for sign in reversed(column)]
        assert filled == sorted(filled, reverse=True)


def test_a_rise_is_a_rise_and_ascii_is_enough():
    assert draw([0, 1, 2, 3, 4, 5, 6, 7, 8], height=1) == [BLOCKS]
    assert draw([0, 1, 2, 3, 4, 5, 6, 7, 8], height=1, plain=True) == [PLAIN]
    assert "\n".join(draw(range(9), plain=True)).isascii()


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="expected at least one"):
        draw([])
