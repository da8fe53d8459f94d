"""Loading a config: values, flags, and every mistake at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jigstack.configs import Config, ConfigError, load_config, to_yaml

GOOD = """\
name: fruit
data:
  id: object_id
  train: [train.csv]
  images: "photos/{object_id}.jpg"
folds: {scheme: stratified_group, n: 3, group: series, stratify: target}
pretext:
  - name: jig
    kind: jigsaw
    size: 64
    epochs: 20
tasks:
  era:
    kind: regression
    columns: [target]
    init: jig
    lr: 1e-3
  era_class:
    kind: onehot
    columns: [target]
stack:
  target: {target: target}
"""


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("fruit.yaml").write_text(GOOD)
    return Path("fruit.yaml")


def complaint(source: object, *overrides: str, **options: bool) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(source, overrides, **options)  # pyright: ignore[reportArgumentType]
    return str(caught.value)


def test_a_file_becomes_a_config_with_its_values_and_defaults(good: Path):
    config = load_config(good)
    assert (config.name, config.seed, config.folds.n) == ("fruit", 0, 3)
    assert config.tasks["era"].lr == 1e-3
    assert config.pretext[0].epochs == 20
    assert list(config.backbones) == ["img"]


def test_options_are_written_out_in_full(good: Path):
    """What ran must stand in the run's config even if a later version has other defaults."""
    config = load_config(good, ["pretext.jig.options.grid=4"])
    assert config.pretext[0].options["grid"] == 4
    assert config.pretext[0].options["gap"] == 2
    assert config.tasks["era_class"].options == {"ordinal": None, "smoothing": 0.0}


def test_yaml_written_is_read_back_to_an_equal_config(good: Path):
    config = load_config(
        good, ["tasks.era.folds=[0, 2]", "tasks.era.lr=1e-5", "tasks.era.options.range=[0, 3]"]
    )
    Path("again.yaml").write_text(to_yaml(config))
    assert load_config("again.yaml") == config
    assert to_yaml(load_config("again.yaml")) == to_yaml(config)


def test_a_config_a_mapping_and_a_run_directory_load_alike(good: Path):
    config = load_config(good)
    Path("runs/fruit").mkdir(parents=True)
    Path("runs/fruit/config.yaml").write_text(to_yaml(config))
    assert load_config(config) == load_config(config.model_dump()) == load_config("runs/fruit") == config


def test_loading_does_not_change_the_mapping_it_was_given():
    data = {"name": "x", "data": {"id": "id", "train": ["t.csv"], "images": "i"}}
    before = json.dumps(data)
    load_config(data, ["seed=3", "data.id=key"])
    assert json.dumps(data) == before


@given(
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True),
    text=st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=30),
    lr=st.floats(1e-12, 1e3),
)
def test_any_name_text_and_number_survives_the_file(tmp_path_factory: pytest.TempPathFactory, name, text, lr):
    """Text such as 007, 1e-3, no, null or ~ stays text."""
    data = {"id": text, "train": [text], "images": text}
    task = {"kind": "regression", "columns": [text, "1e-3", "007", "no", "~"], "lr": lr}
    config = load_config({"name": name, "data": data, "tasks": {f"t{name}": task}})
    path = tmp_path_factory.mktemp("any") / "c.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert load_config(path) == config


def test_an_unknown_key_is_told_with_its_line_and_the_likely_one(good: Path):
    good.write_text(GOOD.replace("    epochs: 20", "    epoch: 20"))
    assert complaint(good) == (
        "1 problem in fruit.yaml\n"
        "\n"
        "fruit.yaml:11: pretext.0.epoch\n"
        "  expected: a key of pretext.0\n"
        "  received: epoch\n"
        "  did you mean: epochs"
    )


def test_an_unknown_key_like_no_other_is_told_with_all_that_exist(good: Path):
    assert complaint(good, "folds.zzz=1") == (
        "1 problem in fruit.yaml\n"
        "\n"
        "flag folds.zzz=1: folds.zzz\n"
        "  expected: a key of folds: scheme, n, group, stratify, bins, column, share\n"
        "  received: zzz"
    )


def test_a_value_out_of_range_is_told_with_the_range(good: Path):
    good.write_text(GOOD.replace("n: 3", "n: 1"))
    assert complaint(good) == (
        "1 problem in fruit.yaml\n"
        "\n"
        "fruit.yaml:6: folds.n\n"
        "  expected: a whole number from 2 to 50\n"
        "  received: 1"
    )


def test_a_mistyped_choice_is_told_with_the_choices(good: Path):
    good.write_text(GOOD.replace("kind: onehot", "kind: onehott"))
    assert complaint(good) == (
        "1 problem in fruit.yaml\n"
        "\n"
        "fruit.yaml:19: tasks.era_class.kind\n"
        "  expected: one of regression, onehot, date, word2vec\n"
        '  received: "onehott"\n'
        "  did you mean: onehot"
    )


def test_a_missing_key_is_told_at_the_line_of_its_section(good: Path):
    good.write_text(GOOD.replace("  id: object_id\n", ""))
    assert complaint(good) == (
        "1 problem in fruit.yaml\n\nfruit.yaml:2: data.id\n  expected: text\n  received: nothing"
    )


def test_a_bad_flag_is_told_as_a_flag(good: Path):
    assert complaint(good, "tasks.era.lr=x") == (
        "1 problem in fruit.yaml\n"
        "\n"
        "flag tasks.era.lr=x: tasks.era.lr\n"
        "  expected: auto or a number above 0\n"
        '  received: "x"'
    )


def test_all_mistakes_come_at_once_in_the_order_of_the_file(good: Path):
    """Of values, names, options, references and flags alike."""
    text = GOOD.replace("n: 3", "n: 1").replace("init: jig", "init: jog").replace("size: 64", "size: 20")
    good.write_text(text.replace("{target: target}", "{target: target, members: [eras], metric: rsme}"))
    assert complaint(good, "seeed=1", "nonsense", "tasks.era.options.rang=[0, 3]") == (
        "8 problems in fruit.yaml\n"
        "\n"
        "flag nonsense\n"
        "  expected: key.path=value\n"
        "  received: nonsense\n"
        "\n"
        "fruit.yaml:6: folds.n\n"
        "  expected: a whole number from 2 to 50\n"
        "  received: 1\n"
        "\n"
        "fruit.yaml:10: pretext.0.size\n"
        "  expected: at least 28 pixels, so that each tile of a 3 x 3 board with a gap of 2 keeps 8\n"
        "  received: 20\n"
        "\n"
        "fruit.yaml:16: tasks.era.init\n"
        "  expected: scratch, a pretext (jig) or an existing checkpoint\n"
        '  received: "jog"\n'
        "  did you mean: jig\n"
        "\n"
        "fruit.yaml:22: stack.target.metric\n"
        "  expected: one of rmse, mae, r2, pearson, pearson_columns, accuracy, logloss, auc, f1, qwk\n"
        '  received: "rsme"\n'
        "  did you mean: rmse\n"
        "\n"
        "fruit.yaml:22: stack.target.members.0\n"
        "  expected: a task trained on all folds (era, era_class)\n"
        '  received: "eras"\n'
        "  did you mean: era\n"
        "\n"
        "flag seeed=1: seeed\n"
        "  expected: a key at the top\n"
        "  received: seeed\n"
        "  did you mean: seed\n"
        "\n"
        "flag tasks.era.options.rang=[0, 3]: tasks.era.options.rang\n"
        "  expected: a key of tasks.era.options\n"
        "  received: rang\n"
        "  did you mean: range"
    )


def test_one_mistake_is_not_told_twice_through_what_hangs_on_it(good: Path):
    """A pretext whose name is refused is not also missing for the task that starts from it."""
    good.write_text(GOOD.replace("name: jig", "name: j g").replace("init: jig", "init: j g"))
    message = complaint(good)
    assert message.startswith("1 problem")
    assert "expected: a name of letters, digits, _ and -, starting with a letter or digit" in message


@pytest.mark.parametrize(
    ("flag", "expected", "received"),
    [
        ("tasks.era.freeze=3", "one of none, all or a list, each text", "3"),
        ("tasks.era.folds=[-1]", "a whole number of at least 0", "-1"),
        ("tasks.era.augment.crop=[1, 0.5]", "the smaller value first", "[1, 0.5]"),
        ("data.decode.background=[1, 2]", "a list of 3, each a whole number", "[1, 2]"),
        ("data.decode.background=[0, 0, 256]", "three values from 0 to 255", "[0, 0, 256]"),
        ("data.train=[]", "a list of at least one, each text", "[]"),
        ("data.train=train.csv", "a list of at least one, each text", '"train.csv"'),
        ("device=gpu", "auto, cpu, cuda, cuda:N or mps", '"gpu"'),
        ("transfer.joint=maybe", "auto or true or false", '"maybe"'),
        ("folds.group=null", "group to be given with scheme: stratified_group", None),
        ("tasks.era.lr=.inf", "auto or a number above 0", "Infinity"),
        ("features.views=[d4]", "one of identity, hflip, vflip", '"d4"'),
        ("features=[]", "a mapping", "[]"),
        ("seed=0.5", "a whole number of at least 0", "0.5"),
        ("backbones={}", "a mapping of at least one entry", "{}"),
    ],
)
def test_what_is_expected_is_said_in_words(good: Path, flag: str, expected: str, received: str | None):
    message = complaint(good, flag)
    assert message.startswith("1 problem")
    assert f"  expected: {expected}" in message
    if received is not None:
        assert f"  received: {received}" in message


def test_a_number_where_text_belongs_is_told_to_be_quoted(good: Path):
    message = complaint(good, "data.id=7")
    assert '  expected: text\n  received: 7\n  way out: put it in quotes: "7"' in message


def test_a_missing_file_suggests_the_one_beside_it(good: Path):
    assert complaint("friut.yaml") == (
        "1 problem in friut.yaml\n"
        "\n"
        "friut.yaml\n"
        "  expected: an existing YAML file\n"
        "  received: No such file or directory\n"
        "  did you mean: fruit.yaml"
    )
    assert "way out: `jigstack recipes` lists configs to start from" in complaint("nothing/like/it.yaml")


def test_text_that_is_no_yaml_is_told_with_its_line(good: Path):
    good.write_text("name: x\ndata: {id: [a}\n")
    message = complaint(good)
    assert "fruit.yaml:2\n  expected: valid YAML\n" in message
    good.write_bytes(b"\xff\xfe\x00")
    assert "expected: a text file in UTF-8" in complaint(good)
    good.write_text("- a\n")
    assert "fruit.yaml:1\n  expected: a mapping of keys\n  received: list" in complaint(good)


def test_an_empty_file_lacks_what_is_required(good: Path):
    good.write_text("")
    message = complaint(good)
    assert "name\n  expected: a name of letters" in message
    assert "data\n  expected: a mapping\n  received: nothing" in message


def test_loading_imports_neither_torch_nor_pandas_nor_numpy(good: Path):
    code = (
        "import sys; from jigstack import load_config; load_config('fruit.yaml'); "
        "print([m for m in ('torch', 'pandas', 'numpy', 'sklearn') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_a_config_cannot_be_changed_and_forbids_unknown_keys(good: Path):
    config = load_config(good)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3
    with pytest.raises(ValueError, match="Extra inputs"):
        Config.model_validate({**config.model_dump(), "zzz": 1})


STEPS = "backbones={rows: {kind: mlp, steps: [%s]}}"


@pytest.mark.parametrize(
    ("step", "key", "expected", "received", "near"),
    [
        (
            "{kind: quantil}",
            ".kind",
            "one of log1p, pca, quantile, rows, standard, svd",
            '"quantil"',
            "quantile",
        ),
        ("{columns: [a]}", ".kind", "one of log1p, pca, quantile, rows, standard, svd", "nothing", None),
        ("{kind: 3}", ".kind", "one of log1p, pca, quantile, rows, standard, svd", "3", None),
        ("quantile", "", "a mapping", '"quantile"', None),
        ("{kind: pca, nam: x}", ".nam", "a key of backbones.rows.steps.0", "nam", "name"),
        (
            "{kind: quantile, n: 3}",
            ".n",
            "a key of backbones.rows.steps.0: columns, kind, quantiles",
            "n",
            None,
        ),
        ("{kind: quantile, quantiles: 1}", ".quantiles", "a whole number from 2 to 10000", "1", None),
        ("{kind: rows, how: totl}", ".how", "one of standard, total", '"totl"', "total"),
        (
            "{kind: svd, columns: []}",
            ".columns",
            "a list of at least one, each text",
            "[]",
            None,
        ),
    ],
)
def test_a_step_is_judged_as_what_its_kind_says(
    step: str, key: str, expected: str, received: str, near: str | None
):
    with pytest.raises(ConfigError) as caught:
        load_config({"name": "x", "data": {"id": "id", "train": ["t.csv"]}}, [STEPS % step])
    [problem] = caught.value.problems
    assert problem.key == f"backbones.rows.steps.0{key}"
    assert (problem.expected, problem.received, problem.suggestion) == (expected, received, near)


def test_a_second_step_is_judged_by_its_own_kind():
    with pytest.raises(ConfigError) as caught:
        load_config(
            {"name": "x", "data": {"id": "id", "train": ["t.csv"]}},
            [STEPS % "{kind: svd, n: 4}, {kind: quantile, n: 4}, {kind: svd, n: 0}"],
        )
    assert [problem.key for problem in caught.value.problems] == [
        "backbones.rows.steps.1.n",
        "backbones.rows.steps.2.n",
    ]
