"""Options of the steps that prepare a table."""

from typing import Any

import pytest
from jigstack.configs.steps import PcaStep, Step, SvdStep
from pydantic import TypeAdapter, ValidationError

STEP: TypeAdapter[Step] = TypeAdapter(Step)


@pytest.mark.parametrize("kind", ["standard", "quantile", "log1p", "svd", "pca", "rows"])
def test_the_kind_alone_is_a_step_of_all_columns(kind: str):
    step = STEP.validate_python({"kind": kind})
    assert step.kind == kind and step.columns == ("*",)
    assert STEP.validate_python(step.model_dump()) == step


def test_the_keys_are_those_of_the_kind():
    step = STEP.validate_python({"kind": "svd", "columns": ["chr*"], "n": 8, "group": r"^(chr\w+):"})
    assert isinstance(step, SvdStep) and (step.n, step.group) == (8, r"^(chr\w+):")
    assert PcaStep().group is None


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"kind": "scale"}, "'standard'"),
        ({"columns": ["a"]}, "kind"),
        ({"kind": "log1p", "n": 3}, "Extra inputs"),
        ({"kind": "svd", "n": 0}, "greater than or equal to 1"),
        ({"kind": "svd", "columns": []}, "at least 1 item"),
        ({"kind": "pca", "group": "chr"}, "with a bracket"),
        ({"kind": "pca", "group": "(chr"}, "a regular expression"),
        ({"kind": "rows", "how": "total", "total": 0}, "greater than 0"),
    ],
)
def test_mistakes_are_refused(bad: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        STEP.validate_python(bad)
