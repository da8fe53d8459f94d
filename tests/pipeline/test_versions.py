"""The code's version in the keys of stages: what a raised number makes anew, and what it leaves alone."""

import doctest

import pytest
from jigstack.configs.load import load_config
from jigstack.configs.schema import Task
from jigstack.pipeline import versions
from jigstack.pipeline.stages import Stages
from jigstack.pipeline.versions import CODE, CODE_OF_KIND, code_of, kind_of_head
from jigstack.pipeline.workspace import Workspace

LEVELS = ["pretrain", "probe", "finetune", "predict", "importance", "embed", "frozen", "features", "stack"]


def keys(config: dict) -> dict[str, str]:
    return {stage.name: stage.key for stage in Stages(Workspace(load_config(config)))}


def changed(config: dict, before: dict[str, str]) -> set[str]:
    return {name.split("/")[0] for name, key in keys(config).items() if before[name] != key}


@pytest.mark.parametrize(
    ("stage", "anew"),
    [
        ("pretrain", {*LEVELS}),
        ("probe", {"probe"}),
        ("finetune", {"finetune", "predict", "importance", "features", "stack"}),
        ("predict", {"predict", "features", "stack"}),
        ("importance", {"importance"}),
        ("embed", {"embed", "frozen", "features", "stack"}),
        ("frozen", {"frozen", "features", "stack"}),
        ("features", {"features", "stack"}),
        ("stack", {"stack"}),
    ],
)
def test_a_raised_number_makes_its_stage_anew_and_what_follows_from_it(
    make_table_config, monkeypatch: pytest.MonkeyPatch, stage: str, anew: set[str]
):
    before = keys(make_table_config())
    assert {name.split("/")[0] for name in before} == {*LEVELS} == {*CODE}
    monkeypatch.setitem(CODE, stage, CODE[stage] + 1)
    assert changed(make_table_config(), before) == anew


@pytest.mark.parametrize(
    ("stage", "kind", "anew"),
    [
        ("pretrain", "masked", {"pretrain/mask"}),
        ("pretrain", "tabnet", {"pretrain/mask"}),
        ("pretrain", "simsiam_rows", set()),
        ("finetune", "onehot", set()),
        ("finetune", "regression", {f"finetune/amount/fold{fold}" for fold in range(3)}),
        ("frozen", "onehot", {f"frozen/linear/fold{fold}" for fold in range(3)}),
        ("frozen", "ridge", {f"frozen/linear/fold{fold}" for fold in range(3)}),
        ("stack", "rmse", {"stack/yield"}),
    ],
)
def test_the_number_of_a_kind_makes_anew_only_what_has_that_kind(
    make_table_config, monkeypatch: pytest.MonkeyPatch, stage: str, kind: str, anew: set[str]
):
    before = keys(make_table_config())
    monkeypatch.setitem(CODE_OF_KIND, (stage, kind), 2)
    of_stage = {
        name
        for name, key in keys(make_table_config()).items()
        if key != before[name] and name.startswith(f"{stage}/") and "scratch" not in name
    }
    assert of_stage == anew


def test_a_kind_without_a_number_leaves_the_keys_of_before():
    assert code_of("pretrain", "jigsaw", "timm") == {"code": CODE["pretrain"]}
    assert doctest.testmod(versions).failed == 0


def test_heads_of_correlated_columns_from_before_they_were_calibrated_are_not_taken(
    make_table_config, monkeypatch: pytest.MonkeyPatch
):
    config = make_table_config()
    config["tasks"]["amount"]["options"] = {"loss": "pearson", "centre": "column"}
    now = keys(config)
    monkeypatch.delitem(CODE_OF_KIND, ("finetune", "pearson of columns"))
    then = keys(config)
    assert {name for name in now if name.startswith("finetune") and now[name] != then[name]} == {
        f"finetune/amount/fold{fold}" for fold in range(3)
    }


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [
        ("regression", {}, "regression"),
        ("regression", {"loss": "pearson"}, "pearson of rows"),
        ("regression", {"loss": "pearson", "centre": "column"}, "pearson of columns"),
        ("onehot", {}, "onehot"),
        ("word2vec", {"loss": "squared"}, "word2vec"),
    ],
)
def test_a_head_is_called_by_what_it_correlates(kind: str, options: dict, name: str):
    assert kind_of_head(Task.model_validate({"kind": kind, "columns": ["a"], "options": options})) == name
