"""The rows of an ablation as one config."""

from typing import Any

import pytest
from jigstack.configs import load_config
from jigstack.configs.errors import UserError
from jigstack.configs.schema import Config
from jigstack.pipeline.variants import chosen_head, plan_rows, varied

from .conftest import MakeConfig


@pytest.fixture
def config(make_config: MakeConfig) -> Config:
    return load_config(make_config())


def starts(config: Config, *rows: str, **options: Any) -> dict[str, str]:
    plan = plan_rows(config, "era", rows or None, **options)
    return {variant.label: variant.init for variant in plan.variants}


def test_without_rows_scratch_jigsaw_simsiam_lejepa_and_a_chain_are_compared(config: Config):
    plan = plan_rows(config, "era", None)
    assert [(row.label, row.init) for row in plan.variants] == [
        ("scratch", "scratch"),
        ("jigsaw", "jig"),  # the config's own
        ("simsiam", "simsiam"),
        ("lejepa", "lejepa"),
        ("chained", "chained"),
    ]
    by_name = {pretext.name: pretext for pretext in plan.config.pretext}
    own = config.pretext[0]
    assert by_name["jig"] == own
    assert (by_name["simsiam"].size, by_name["simsiam"].epochs, by_name["simsiam"].batch) == (32, 2, 16)
    assert (by_name["chained"].kind, by_name["chained"].init) == ("simsiam", "jig")


def test_all_rows_have_the_same_head_budget_and_folds_and_a_network_each(config: Config):
    plan = plan_rows(config, "era", None)
    era = config.tasks["era"]
    for row in plan.variants:
        assert plan.config.tasks[row.task] == era.model_copy(update={"init": row.init, "folds": [0, 1, 2]})
    assert (
        plan.config.transfer.joint is False and not plan.config.stack and not plan.config.transfer.importance
    )
    assert plan.config.name == "trial-ablate"
    assert plan_rows(config, "era", None, folds="auto").config.tasks["era-scratch"].folds == "auto"


def test_a_row_may_be_a_name_a_kind_or_a_file(config: Config, tmp_path):
    file = tmp_path / "old.safetensors"
    file.touch()
    assert starts(config, "jig", "dino", str(file)) == {
        "scratch": "scratch",
        "jig": "jig",
        "dino": "dino",
        str(file): str(file),
    }


def test_a_pretext_brings_those_that_it_starts_from(make_config: MakeConfig):
    values = make_config()
    values["pretext"].append({"name": "sim", "kind": "simsiam", "size": 32, "init": "jig"})
    plan = plan_rows(load_config(values), "era", ["sim"])
    assert [pretext.name for pretext in plan.config.pretext] == ["jig", "sim"]


def test_freezing_adds_the_head_s_own_start_under_each_policy(config: Config):
    plan = plan_rows(config, "era", ["jigsaw"], freeze=True)
    added = {row.label: plan.config.tasks[row.task] for row in plan.variants[2:]}
    assert list(added) == ["jig, all learn", "jig, head first", "jig, gradual", "jig, head only"]
    assert added["jig, head only"].freeze == "all"
    assert added["jig, gradual"].unfreeze is not None and added["jig, gradual"].unfreeze.every == 1
    scratch = config.model_copy(
        update={"tasks": {"era": config.tasks["era"].model_copy(update={"init": "scratch"})}}
    )
    with pytest.raises(UserError, match="--freeze: expected a head with a pretrained start"):
        plan_rows(scratch, "era", None, freeze=True)


def test_unknown_rows_and_heads_are_told_with_the_likely_one(config: Config):
    with pytest.raises(
        UserError, match=r"--rows: expected some of .*, received 'simsam'; did you mean 'simsiam'"
    ):
        plan_rows(config, "era", ["simsam"])
    with pytest.raises(UserError, match=r"--head: expected a trained head \(era, kind\), received 'eras'"):
        chosen_head(config, "eras")
    assert chosen_head(config, None) == "era"
    without = config.model_copy(update={"tasks": {}})
    with pytest.raises(UserError, match="received 'era', and the config has none"):
        chosen_head(without, "era")


def test_values_of_a_varied_key_are_split_at_commas_outside_of_brackets():
    assert varied("tasks.era.lr=1e-3, 3e-4") == ("tasks.era.lr", ["1e-3", "3e-4"])
    assert varied("a.b=[1, 2],{c: 3, d: 4}") == ("a.b", ["[1, 2]", "{c: 3, d: 4}"])
    for bad in ("tasks.era.lr", "=1,2", "a=1,,2"):
        with pytest.raises(UserError, match="--vary: expected key=a,b,c"):
            varied(bad)


def test_two_files_never_share_a_task(config: Config, tmp_path):
    paths = []
    for folder in ("a", "b", "x/y", "x-y"):
        path = tmp_path / ("long" * 20) / folder / "backbone.safetensors"
        path.parent.mkdir(parents=True)
        path.touch()
        paths.append(str(path))
    plan = plan_rows(config, "era", paths)
    assert [plan.config.tasks[row.task].init for row in plan.variants] == ["scratch", *paths]
    assert all(len(row.task) <= 80 for row in plan.variants)


def test_on_tables_scratch_and_masked_are_compared(make_table_config: MakeConfig):
    config = load_config(make_table_config())
    plan = plan_rows(config, "amount", None)
    assert [(row.label, row.init) for row in plan.variants] == [("scratch", "scratch"), ("masked", "mask")]
    assert plan.config.pretext == config.pretext
    without = load_config(
        make_table_config(pretext=[], tasks={"amount": make_table_config()["tasks"]["scratch"]})
    )
    [made] = plan_rows(without, "amount", None).config.pretext
    assert (made.name, made.kind, made.backbone) == ("masked", "masked", "rows")


@pytest.mark.parametrize("row", ["chained", "jigsaw"])
def test_pretexts_of_pictures_are_no_rows_of_a_head_of_tables(make_table_config: MakeConfig, row: str):
    with pytest.raises(
        UserError,
        match=f"scratch, mask, masked, simsiam_rows, or checkpoint files, as amount reads lines .* received '{row}'",
    ):
        plan_rows(load_config(make_table_config()), "amount", [row])


def test_masked_is_no_row_of_a_head_of_pictures(config: Config):
    with pytest.raises(
        UserError, match=r"chained, or checkpoint files, as era reads pictures, received 'masked'"
    ):
        plan_rows(config, "era", ["masked"])


def test_of_several_backbones_every_row_keeps_that_of_the_head(
    make_config: MakeConfig, make_table_config: MakeConfig
):
    tables = make_table_config()
    mixed = make_config(
        backbones={"img": {"name": "test_resnet"}, **tables["backbones"]},
        pretext=[
            make_config()["pretext"][0] | {"backbone": "img"},
            tables["pretext"][0] | {"backbone": "rows", "epochs": 7},
        ],
        tasks={"amount": tables["tasks"]["amount"] | {"columns": ["target"]}},
        stack={},
    )
    plan = plan_rows(load_config(mixed), "amount", None)
    assert [plan.config.tasks[row.task].backbone for row in plan.variants] == ["rows", "auto"]
    assert [pretext.name for pretext in plan.config.pretext] == ["mask"]
    with pytest.raises(UserError, match="as amount reads lines of the table, received 'jig'"):
        plan_rows(load_config(mixed), "amount", ["jig"])
