"""How mistakes are told."""

import pickle

import pytest
from jigstack.configs.errors import ConfigError, Problem, UserError, closest, shown


@pytest.mark.parametrize(
    ("word", "meant"), [("regresion", "regression"), ("ONEHOT", "onehot"), ("xyz", None), (3, None)]
)
def test_the_closest_choice_is_found_or_none(word: object, meant: str | None):
    assert closest(word, ["regression", "onehot"]) == meant


def test_a_long_value_is_cut():
    assert shown("ab") == '"ab"'
    assert shown([1.5, None, True]) == "[1.5, null, true]"
    assert len(shown("x" * 500)) == 80


def test_a_config_error_is_a_user_error_and_survives_another_process():
    error = ConfigError("f.yaml", [Problem(("a", 0), "x", "y", "z", "w", "f.yaml:3")])
    assert isinstance(error, UserError)
    assert isinstance(error, ValueError)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.problems == error.problems
    assert str(error) == (
        "1 problem in f.yaml\n\nf.yaml:3: a.0\n  expected: x\n  received: y\n  did you mean: z\n  way out: w"
    )
