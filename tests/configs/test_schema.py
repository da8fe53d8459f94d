"""The models themselves."""

from typing import get_args

from jigstack.configs.heads import OnehotOptions
from jigstack.configs.schema import HEAD_OPTIONS, Stack, Task, View
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
