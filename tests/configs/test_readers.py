"""Tasks that join the features of several backbones, in the config."""

from typing import Any

import pytest
from jigstack.configs import ConfigError, load_config
from jigstack.configs.readers import backbones_of

BASE: dict[str, Any] = {
    "name": "x",
    "data": {"id": "id", "train": ["t.csv"], "images": "i"},
    "backbones": {"img": {}, "more": {}, "rows": {"kind": "mlp"}},
    "pretext": [
        {"name": "jig", "kind": "jigsaw", "backbone": "img"},
        {"name": "mask", "kind": "masked", "backbone": "rows"},
    ],
    "tasks": {"era": {"kind": "regression", "columns": ["t"], "init": ["jig", "mask"]}},
}


def complaint(*flags: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(BASE, flags)
    assert len(caught.value.problems) == 1, str(caught.value)
    problem = caught.value.problems[0]
    near = f" | {problem.suggestion}" if problem.suggestion else ""
    return f"{problem.key} | {problem.expected} | {problem.received}{near}"


@pytest.mark.parametrize(
    ("flags", "backbones"),
    [
        ([], ("img", "rows")),
        (["tasks.era.init=[mask, jig]"], ("rows", "img")),
        (["tasks.era.init=scratch", "tasks.era.backbone=[img, rows]"], ("img", "rows")),
        (["tasks.era.init=[scratch, mask]", "tasks.era.backbone=[more, rows]"], ("more", "rows")),
        (["tasks.era.init=mask"], ("rows",)),
    ],
)
def test_a_task_reads_with_the_backbones_of_its_starts_or_with_those_it_names(
    flags: list[str], backbones: tuple[str, ...]
):
    config = load_config(BASE, flags)
    assert backbones_of(config) == {"pretext jig": ("img",), "pretext mask": ("rows",), "era": backbones}
    assert load_config(config) == config


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            ["tasks.era.init=[jig, maks]"],
            'tasks.era.init.1 | scratch, a pretext (jig, mask) or an existing checkpoint | "maks" | mask',
        ),
        (
            ["tasks.era.init=[scratch, mask]"],
            "tasks.era.backbone | a list of 2, one for each of init, as scratch is no pretext | auto",
        ),
        (
            ["tasks.era.backbone=img"],
            'tasks.era.backbone | auto, or a list of 2, one for each of init | "img"',
        ),
        (
            ["tasks.era.backbone=[img, row]"],
            'tasks.era.backbone.1 | one of img, more, rows | "row" | rows',
        ),
        (
            ["tasks.era.backbone=[rows, img]", "tasks.era.init=jig"],
            'tasks.era.init | scratch, or a list of 2, one for each of rows, img | "jig"',
        ),
        (
            ["tasks.era.backbone=[more, rows]"],
            'tasks.era.backbone.0 | img, the backbone of jig that `init` starts from | "more"',
        ),
        (["tasks.era.init=[jig, jig]"], "tasks.era.init | each backbone once | img, img"),
        (
            ["tasks.era.init=scratch", "tasks.era.backbone=[img, more, rows]"],
            "tasks.era.backbone | at most one backbone of pictures, beside those of tables | img, more",
        ),
        (
            ["tasks.era.augment={mix: {p: 0.5, mixup: 0.2, cutmix: 0}}"],
            "tasks.era.augment.mix | auto or null with joined backbones, as categories of a table have no blend | "
            '{"p": 0.5, "mixup": 0.2, "cutmix": 0.0}',
        ),
    ],
)
def test_lists_that_do_not_fit_are_told_with_the_way_out(flags: list[str], told: str):
    assert complaint(*flags) == told


@pytest.mark.parametrize("value", ["[]", '["jig"]'])
def test_a_list_of_fewer_than_two_is_told(value: str):
    expected = "one name without a list, or a list of two or more"
    assert complaint(f"tasks.era.init={value}") == f"tasks.era.init | {expected} | {value}"
