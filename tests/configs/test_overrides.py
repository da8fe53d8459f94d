"""Flags laid over a config."""

from typing import Any

import pytest
from jigstack.configs.overrides import apply_overrides


def base() -> dict[str, Any]:
    return {
        "seed": 0,
        "pretext": [{"name": "jig", "epochs": 1}, {"name": "sim", "epochs": 2}],
        "tasks": {"era": {"lr": 1}},
        "data": {"train": ["a.csv", "b.csv"]},
    }


def applied(*flags: str) -> dict[str, Any]:
    data = base()
    _, problems = apply_overrides(data, flags)
    assert problems == []
    return data


def complaint(*flags: str) -> str:
    _, problems = apply_overrides(base(), flags)
    return "\n".join(map(str, problems))


def test_a_flag_sets_a_value_in_yaml():
    assert applied("tasks.era.lr=3e-4")["tasks"]["era"]["lr"] == 3e-4
    assert applied("tasks.era.columns=[a, b]")["tasks"]["era"]["columns"] == ["a", "b"]
    assert applied("tasks.era.clip=")["tasks"]["era"]["clip"] is None
    assert applied("name=a=b")["name"] == "a=b"


def test_an_item_is_named_by_index_and_a_pretext_also_by_name():
    assert applied("pretext.1.epochs=9")["pretext"][1]["epochs"] == 9
    assert applied("pretext.sim.epochs=9")["pretext"][1]["epochs"] == 9
    assert applied("data.train.1=c.csv")["data"]["train"] == ["a.csv", "c.csv"]


def test_sections_that_the_file_leaves_out_begin_with_a_flag():
    assert applied("folds.n=3")["folds"] == {"n": 3}
    assert applied("backbones.img.name=resnet34")["backbones"] == {"img": {"name": "resnet34"}}
    assert applied("tasks.new={kind: onehot}")["tasks"]["new"] == {"kind": "onehot"}


def test_the_last_of_two_flags_wins():
    data = base()
    flags, _ = apply_overrides(data, ["tasks.era.lr=1", "tasks.era={lr: 2}", "seed=1", "seed=2"])
    assert (data["tasks"]["era"]["lr"], data["seed"]) == (2, 2)
    assert flags == {("tasks", "era"): "flag tasks.era={lr: 2}", ("seed",): "flag seed=2"}


@pytest.mark.parametrize("flag", ["seed", "=3", ".a=3", "a..b=3", "--seed"])
def test_a_flag_without_key_or_value_is_told(flag: str):
    assert complaint(flag) == f"flag {flag}\n  expected: key.path=value\n  received: {flag}"


def test_a_mistyped_name_is_told_with_the_likely_one():
    assert complaint("tasks.eraa.lr=3") == (
        "flag tasks.eraa.lr=3: tasks.eraa.lr\n"
        "  expected: an entry of tasks: era\n"
        "  received: eraa\n"
        "  did you mean: era"
    )
    assert complaint("pretext.jug.epochs=3") == (
        "flag pretext.jug.epochs=3: pretext.jug.epochs\n"
        "  expected: an item of pretext: jig, sim\n"
        "  received: jug\n"
        "  did you mean: jig"
    )


def test_an_index_beyond_the_list_is_told():
    assert "  expected: an item of data.train: 0, 1\n  received: 2" in complaint("data.train.2=c.csv")


def test_a_path_through_a_plain_value_is_told():
    assert "  expected: seed to be a mapping or a list\n  received: 0" in complaint("seed.x=1")


def test_a_value_that_is_no_yaml_is_told():
    assert complaint("seed=[1").startswith("flag seed=[1: seed\n  expected: a value in YAML\n")
