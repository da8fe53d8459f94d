"""The models themselves."""

from typing import get_args

import pytest
from jigstack.configs.heads import OnehotOptions
from jigstack.configs.schema import FROZEN_KEYS, HEAD_OPTIONS, Stack, Task, View
from jigstack.training.views import VIEWS


def test_the_views_of_the_config_are_those_of_the_training():
    assert list(get_args(View)) == list(VIEWS)


def test_every_kind_of_head_has_options():
    assert set(get_args(Task.model_fields["kind"].annotation)) == set(HEAD_OPTIONS)
    task = Task.model_validate({"kind": "onehot", "columns": ["c"], "options": {"smoothing": 0.1}})
    assert task.head_options() == OnehotOptions(smoothing=0.1)


def test_a_stack_has_one_target_column_or_several():
    assert Stack(target="a").columns == ["a"]
    assert Stack(target=["a", "b"]).columns == ["a", "b"]


@pytest.mark.parametrize("learner", ["ridge", "knn", "lightgbm"])
def test_a_frozen_task_refuses_what_it_does_not_read(learner: str):
    with pytest.raises(
        ValueError,
        match=rf"epochs, freeze, lr left out with learner: {learner}, which trains no network and reads kind, columns",
    ):
        Task.model_validate(
            {
                "kind": "regression",
                "columns": ["c"],
                "learner": learner,
                "lr": 0.1,
                "freeze": "all",
                "epochs": 30,
            }
        )


def test_a_network_refuses_the_table():
    with pytest.raises(ValueError, match=r"table left out with learner: network, whose backbone reads all"):
        Task(kind="regression", columns=["c"], table=True)


def test_a_frozen_task_is_written_without_what_it_does_not_read():
    """So that a run's config can be read back."""
    task = Task(kind="regression", columns=["c"], learner="knn", table=True, size=64)
    written = task.model_dump(mode="json")
    assert set(written) == set(FROZEN_KEYS)
    assert Task.model_validate(written) == task and Task.model_validate_json(task.model_dump_json()) == task


def test_a_network_is_written_as_it_always_was():
    """Stage keys follow from it."""
    written = Task(kind="regression", columns=["c"]).model_dump(mode="json")
    assert {"epochs", "augment", "learner"} <= set(written) and "table" not in written


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"centre": "row"}, "centre left out with loss: squared"),
        ({"loss": "pearson", "range": (0, 1)}, "range left out with loss: pearson within rows"),
    ],
)
def test_options_of_a_correlation_that_nothing_reads_are_refused(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Task(kind="regression", columns=["a", "b"], options=options).head_options()


def test_one_target_has_no_correlation_within_a_row():
    with pytest.raises(ValueError, match="two or more columns as target with metric: pearson"):
        Stack(target="a", metric="pearson")
    assert Stack(target="a", metric="pearson_columns").columns == ["a"]
