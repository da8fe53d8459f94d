"""What `auto` means: for a small table, on one thread of the CPU."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from jigstack.configs import Config, load_config, to_yaml
from jigstack.configs.errors import UserError
from jigstack.configs.rates import ADAMW
from jigstack.datasets.folds import make_plan
from jigstack.datasets.tables import Table
from jigstack.pipeline.resolving import resolve
from jigstack.training.device import resolve_machine

Resolved = Callable[..., Config]


@pytest.fixture
def resolved() -> Resolved:
    """Resolves a config for 12 train rows and a number of test rows."""

    def resolve_with(tests: int = 4, **changes: Any) -> Config:
        frame = pd.DataFrame(
            {
                "age": np.arange(16.0),
                "city": ["Kyoto", "Lima"] * 8,
                "cost": np.ones(16),
                "part": [0, 1, 2, 0] * 4,
            },
            index=pd.Index([f"p{number:02d}" for number in range(16)]),
        )
        train = Table(frame.iloc[:12], "id")
        test = Table(frame.iloc[12 : 12 + tests].drop(columns=["cost", "part"]), "id")
        config = load_config(
            {
                "name": "trial",
                "device": "cpu",
                "threads": 1,
                "data": {"id": "id", "train": ["train.csv"], **({"test": ["test.csv"]} if tests else {})},
                "folds": {"n": 3},
                "backbones": {"steps": {"kind": "tabnet"}, "layers": {"kind": "mlp"}},
                **changes,
            }
        )
        column = train.column("part") if config.folds.scheme == "column" else None
        plan = make_plan(train.ids, config.folds, config.seed, column=column)
        return resolve(config, train, test, plan, resolve_machine(config))

    return resolve_with


PRETEXTS = [
    {"name": "mask", "kind": "masked", "backbone": "steps"},
    {"name": "wide", "kind": "masked", "backbone": "layers"},
]
PLAIN = {"kind": "regression", "columns": ["cost"]}


def test_rates_that_are_not_given_follow_the_backbone(resolved: Resolved):
    tasks = {
        "first": {**PLAIN, "backbone": "steps"},
        "follows": {**PLAIN, "init": "wide"},
        "given": {**PLAIN, "backbone": "steps", "lr": 3e-4},
        "linear": {**PLAIN, "backbone": "steps", "learner": "ridge"},
    }
    config = resolved(pretext=PRETEXTS, tasks=tasks)
    tabnet, mlp = ADAMW["tabnet"], ADAMW["mlp"]
    assert [(stage.lr, stage.weight_decay) for stage in config.pretext] == [tabnet, mlp]
    rates = {name: (task.lr, task.weight_decay) for name, task in config.tasks.items() if not task.frozen}
    assert rates == {"first": tabnet, "follows": mlp, "given": (3e-4, tabnet[1])}


def test_a_resolved_config_is_resolved_to_itself(resolved: Resolved):
    once = resolved(pretext=PRETEXTS, tasks={"cost": {**PLAIN, "init": "mask"}})
    assert (once.tasks["cost"].backbone, once.tasks["cost"].folds) == ("steps", [0, 1, 2])
    again = yaml.safe_load(to_yaml(once))
    assert resolved(**again) == once


def test_the_columns_of_the_table_are_those_that_new_rows_have_and_no_task_learns(resolved: Resolved):
    config = resolved(tasks={"cost": {**PLAIN, "backbone": "steps"}})
    assert config.data.columns == ["age", "city"]
    stack = {"old": {"target": "age", "table": True}}
    assert resolved(stack=stack).data.columns == ["city"]


@pytest.mark.parametrize(("tests", "scope"), [(4, "transductive"), (0, "inductive")])
def test_a_pretext_sees_the_test_rows_where_there_are_some(resolved: Resolved, tests: int, scope: str):
    assert [stage.scope for stage in resolved(tests, pretext=PRETEXTS).pretext] == [scope, scope]


def test_what_these_data_do_not_allow_is_told_with_its_key(resolved: Resolved):
    asked = [{**PRETEXTS[0], "scope": "transductive"}]
    with pytest.raises(UserError, match=r"^pretext\.mask\.scope: expected test rows for scope: transductive"):
        resolved(0, pretext=asked)
    own = {"scheme": "column", "column": "part"}
    with pytest.raises(
        UserError, match=r"^tasks\.cost\.folds: expected folds of the plan 0\.\.2, received \[0, 7\]"
    ):
        resolved(folds=own, tasks={"cost": {**PLAIN, "backbone": "steps", "folds": [7, 0]}})
