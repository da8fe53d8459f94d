"""Curves in the terminal show what the numbers do."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jigstack.configs import load_config
from jigstack.pipeline.curves import BLOCKS, PLAIN, draw, marks, schedules, thaws
from jigstack.pipeline.preflight import untrained
from jigstack.pipeline.stages import Stages
from jigstack.pipeline.workspace import Workspace
from jigstack.transfer.network import HeadNetwork


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


@given(st.integers(1, 500), st.integers(1, 80), st.data())
def test_a_mark_stands_below_the_column_that_shows_its_value(count: int, width: int, data: st.DataObject):
    point = data.draw(st.integers(0, count - 1))
    values = [0.0] * count
    values[point] = 1.0
    peak = draw(values, width, 1)[0]
    assert marks([point], count, width) == peak.replace(BLOCKS[-1], "^").rstrip()


def test_no_marks_are_an_empty_line():
    assert marks([], 10) == ""


def test_heads_alone_and_then_the_whole_backbone_is_one_mark(make_config):
    config = make_config(pretext=[])
    for task in config["tasks"].values():
        task |= {"init": "scratch", "epochs": 5, "unfreeze": {"after": 2}}
    workspace = Workspace(load_config(config))
    (curve,) = schedules(Stages(workspace))
    assert len(curve.rates) == 10 and curve.marked == [4]  # two updates an epoch
    assert curve.note == (
        "^ the heads alone in epochs 1 to 2; from epoch 3 also stem layer1 layer2 layer3 layer4"
    )


def test_every_stage_that_thaws_is_marked_at_the_epoch_in_which_the_network_lets_it_learn(make_config):
    """Compared with the network itself, with a stage that stays frozen."""
    config = make_config(pretext=[])
    config["tasks"]["kind"]["init"] = "scratch"
    config["tasks"]["era"] |= {
        "init": "scratch",
        "epochs": 6,
        "freeze": ["stem"],
        "unfreeze": {"after": 1, "every": 1},
    }
    workspace = Workspace(load_config(config))
    options = workspace.config.tasks["era"]
    backbone = untrained(workspace, options)
    network = HeadNetwork(
        backbone,
        {},
        size=options.size,
        augment=options.augment,
        weights={},
        frozen=options.freeze,
        unfreeze=options.unfreeze,
    )
    still = [set(backbone.stages()), *(set(network.thaw(epoch)) for epoch in range(1, options.epochs))]
    expected = {
        epoch: before - after
        for epoch, (before, after) in enumerate(pairwise(still), start=1)
        if before - after
    }
    found = thaws(workspace, options)
    assert {epoch: set(stages) for epoch, stages in found} == expected
    assert list(expected) == [1, 2, 3, 4] and expected[1] == {"layer4"}
    assert thaws(workspace, workspace.config.tasks["kind"]) == ()
    first, second = schedules(Stages(workspace))
    assert first.heading.startswith("finetune/era: ") and first.marked == [2, 4, 6, 8]
    assert "alone in epoch 1; from epoch 2 also layer4; from epoch 3 also layer3;" in first.note
    assert (second.marked, second.note) == ([], "")


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="expected at least one"):
        draw([])
