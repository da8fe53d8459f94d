"""What sections of a config say about each other."""

import re
from pathlib import Path
from typing import Any

import pytest
from jigstack.configs import ConfigError, load_config, to_yaml
from jigstack.configs.document import parse_value

BASE: dict[str, Any] = {
    "name": "x",
    "data": {"id": "id", "train": ["t.csv"], "images": "i"},
    "folds": {"n": 3},
    "pretext": [{"name": "jig", "kind": "jigsaw"}, {"name": "two", "kind": "jigsaw", "init": "jig"}],
    "tasks": {
        "era": {"kind": "regression", "columns": ["t"], "init": "jig"},
        "part": {"kind": "regression", "columns": ["t"], "folds": [0]},
    },
    "stack": {"t": {"target": "t"}},
}
TWO_BACKBONES = ["backbones={a: {}, b: {}}", "pretext.jig.backbone=a"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def complaint(*flags: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(BASE, flags)
    assert len(caught.value.problems) == 1, str(caught.value)
    problem = caught.value.problems[0]
    near = f" | {problem.suggestion}" if problem.suggestion else ""
    return f"{problem.key} | {problem.expected} | {problem.received}{near}"


def test_the_base_is_right():
    load_config(BASE)


def test_a_snapshot_of_the_best_probe_needs_probes_during_the_training():
    told = complaint("pretext.jig.snapshot=probe", "probe.every=0")
    assert told == 'pretext.0.snapshot | last, or probe.every > 0 | "probe"'
    told = complaint("pretext.jig.snapshot=probe", "tasks={}", "stack={}")
    assert told == 'pretext.0.snapshot | last, or tasks to probe | "probe"'


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        (
            "tasks.era.init=jigg",
            'tasks.era.init | scratch, a pretext (jig, two) or an existing checkpoint | "jigg" | jig',
        ),
        (
            "tasks.era.init=scrach",
            'tasks.era.init | scratch, a pretext (jig, two) or an existing checkpoint | "scrach" | scratch',
        ),
        (
            "pretext.jig.init=two",
            'pretext.0.init | null, an earlier pretext (there is none) or an existing checkpoint | "two"',
        ),
        (
            "pretext.two.init=two",
            'pretext.1.init | null, an earlier pretext (jig) or an existing checkpoint | "two"',
        ),
        ("pretext.two.name=jig", 'pretext.1.name | a name of its own | "jig", the name of pretext.0'),
        (
            "pretext.jig.kind=jigsow",
            'pretext.0.kind | one of jigsaw, tiles, simsiam, dino, lejepa, masked, simsiam_rows | "jigsow" | jigsaw',
        ),
        ("pretext.jig.options.grid=9", "pretext.0.options.grid | a whole number from 2 to 5 | 9"),
        (
            "pretext.0={name: jig, kind: simsiam, options: {width: 30}}",
            "pretext.0.options.width | a whole number from 4 to 65536, a multiple of 4 | 30",
        ),
        ("pretext.jig.options.crop=[1, 0.5]", "pretext.0.options.crop | the smaller value first | [1, 0.5]"),
        (
            "tasks.era.options.smoothing=1",
            "tasks.era.options.smoothing | a key of tasks.era.options: range, loss, centre | smoothing",
        ),
        (
            "tasks.era={kind: regression, columns: [t, u], options: {loss: pearson}}",
            "tasks.era.columns | three or more columns with loss: pearson, which correlates within a row (that of two "
            'values is 1 or -1 and teaches nothing); centre: column takes one | ["t", "u"]',
        ),
        (
            "tasks.era={kind: regression, columns: [t, u], learner: ridge, options: {loss: pearson}}",
            "tasks.era.options.loss | squared with learner: ridge, which fits squared error; pearson needs learner: "
            "network | pearson",
        ),
        ("tasks.era.augment.pad=96", "tasks.era.augment.pad | fewer pixels than the size, 96 | 96"),
        ("tasks.era.backbone=imgs", 'tasks.era.backbone | one of auto, img | "imgs" | img'),
        ("tasks.part.folds=[0, 3]", "tasks.part.folds.1 | a fold from 0 to 2 | 3"),
        (
            "backbones.img.weights=pretraind",
            'backbones.img.weights | null, pretrained or an existing checkpoint | "pretraind" | pretrained',
        ),
        (
            "pretext.jig.reuse=runs/gone",
            'pretext.0.reuse | null, a run directory or an existing checkpoint | "runs/gone"',
        ),
        ("stack.t.members=[eta]", 'stack.t.members.0 | a task trained on all folds (era) | "eta" | era'),
        (
            "stack.t.members=[part]",
            'stack.t.members.0 | a task trained on all folds (era) | "part", which is trained on some folds only',
        ),
        (
            "stack.t.submit=lightgmb",
            "stack.t.submit | one of best, constant, mean, lightgbm, ridge, era, part, era~ridge, part~ridge "
            '| "lightgmb" | lightgbm',
        ),
        (
            "tasks.era.folds=[0]",
            "stack.t.members | at least one task trained on all folds, or table: true for the columns of the table "
            "alone | none",
        ),
        (
            "data.images=null",
            "data.images | a pattern, or a column of paths, for pretext jig, pretext two, era, part, which learn from "
            "pictures | null",
        ),
        (
            "tasks.mean={kind: onehot, columns: [t]}",
            "tasks.mean | a name other than best, constant, mean, ridge, lightgbm, table, which level 2 uses itself "
            "| mean",
        ),
    ],
)
def test_a_reference_that_leads_nowhere_is_told(flag: str, told: str):
    assert complaint(flag) == told


@pytest.mark.parametrize(
    ("limits", "years"),
    [
        ("{earliest: 1950, latest: 1900}", "1950 and 1900"),
        ("{earliest: 2200}", "2200 and 2200"),
        ("{latest: 0.5}", "1 and 0.5"),
    ],
)
def test_the_years_of_a_date_must_rise(limits: str, years: str):
    date = "tasks.era={kind: date, columns: [t], init: jig, options: %s}"
    assert complaint(date % limits).startswith(
        f"tasks.era.options | earliest before latest, which are {years}; both are fractional years | "
    )
    load_config(BASE, [date % "{earliest: 1900, latest: 1900.5}"])


def test_more_orders_than_the_tiles_have_are_told_before_anything_is_read():
    tiles = ["pretext.jig.kind=tiles", "pretext.jig.options.grid=2", "pretext.jig.options.permutations=25"]
    load_config(BASE, tiles)  # the slots do not ask
    assert complaint(*tiles, "pretext.jig.options.target=permutations").startswith(
        "pretext.0.options | permutations of at most 24, the orders of 2 x 2 tiles, which are 25 | "
    )


def test_an_empty_separator_is_refused():
    task = "tasks.era={kind: word2vec, columns: [t], init: jig, options: {separator: ''}}"
    assert complaint(task).startswith("tasks.era.options.separator | ")


def test_a_mix_of_nothing_is_told_with_the_way_out():
    assert complaint("tasks.era.augment.mix={mixup: 0, cutmix: 0}").startswith(
        "tasks.era.augment.mix | mixup or cutmix above 0; write `mix: null` for none | "
    )


def test_a_board_whose_tiles_are_too_small_is_told():
    assert complaint("pretext.jig.options.grid=5", "pretext.jig.size=47") == (
        "pretext.0.size | at least 48 pixels, so that each tile of a 5 x 5 board with a gap of 2 keeps 8 | 47"
    )
    load_config(BASE, ["pretext.jig.options.grid=5", "pretext.jig.size=48"])


def test_the_smallest_input_has_a_pixel_for_every_cell_that_may_be_shuffled():
    """So that no check of one against the other is needed."""
    grid = "tasks.era.augment.grid_shuffle.grid"
    with pytest.raises(ConfigError) as caught:
        load_config(BASE, ["tasks.era.size=1", f"{grid}=1000"])
    said = {problem.key: problem.expected for problem in caught.value.problems}
    smallest, largest = (re.findall(r"\d+", said[key]) for key in ("tasks.era.size", grid))
    assert int(largest[-1]) <= int(smallest[0])


def test_auto_needs_exactly_one_backbone():
    flags = [*TWO_BACKBONES, "tasks.part.backbone=b"]
    load_config(BASE, flags)
    assert complaint(*TWO_BACKBONES) == ("tasks.part.backbone | one of a, b, as there are several | auto")


def test_a_task_has_the_backbone_of_the_pretext_it_starts_from():
    flags = [*TWO_BACKBONES, "tasks.part.backbone=b", "tasks.era.backbone=b"]
    assert complaint(*flags) == (
        'tasks.era.backbone | auto or a, the backbone of jig that `init` starts from | "b"'
    )


def test_existing_files_are_taken_as_checkpoints():
    Path("weights.safetensors").touch()
    file = "weights.safetensors"
    load_config(BASE, [f"tasks.era.init={file}", f"pretext.jig.init={file}", f"backbones.img.weights={file}"])


def test_a_holdout_has_one_fold():
    load_config(BASE, ["folds.scheme=holdout"])
    assert complaint("folds.scheme=holdout", "tasks.part.folds=[1]") == (
        "tasks.part.folds.0 | 0, as scheme: holdout has one fold | 1"
    )


@pytest.mark.parametrize("rung", ["best", "constant", "mean", "ridge", "era"])
def test_every_rung_may_be_submitted(rung: str):
    load_config(BASE, [f"stack.t.submit={rung}"])


TABLES: dict[str, Any] = {
    "name": "x",
    "data": {"id": "id", "train": ["t.csv"]},
    "backbones": {"rows": {"kind": "tabnet"}},
    "pretext": [{"name": "mask", "kind": "masked"}],
    "tasks": {"era": {"kind": "regression", "columns": ["t"], "init": "mask"}},
}


def complaint_of_tables(*flags: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(TABLES, flags)
    [problem] = caught.value.problems
    return f"{problem.key} | {problem.expected} | {problem.received}"


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        (
            "pretext.mask.kind=jigsaw",
            "pretext.0.kind | one of masked, simsiam_rows, as its backbone (tabnet) reads lines of the table "
            '| "jigsaw"',
        ),
        (
            "pretext.mask.size=64",
            "pretext.0.size | a key left out, as its backbone reads lines of the table | 64",
        ),
        (
            "tasks.era.size=96",
            "tasks.era.size | a key left out, as its backbone reads lines of the table | 96",
        ),
        (
            "tasks.era.augment={vflip: true}",
            'tasks.era.augment | a key left out, as its backbone reads lines of the table | {"vflip": true}',
        ),
        (
            "data.decode={channels: 1}",
            'data.decode | a key left out, as nothing here reads pictures | {"channels": 1}',
        ),
        ("features.size=64", "features.size | a key left out, as nothing here reads pictures | 64"),
        ("features.views=d4", 'features.views | a key left out, as nothing here reads pictures | "d4"'),
        (
            "features.views=[identity, hflip]",
            'features.views | a key left out, as nothing here reads pictures | ["identity", "hflip"]',
        ),
        (
            "precision=bf16",
            "precision | a key left out, as nothing here reads pictures, and networks of tables compute in fp32 | "
            '"bf16"',
        ),
        ("channels_last=true", "channels_last | a key left out, as nothing here reads pictures | true"),
        (
            "backbones.rows.options={n_d: 0}",
            "backbones.rows.options.n_d | a whole number of at least 1 | 0",
        ),
    ],
)
def test_what_belongs_to_pictures_is_refused_on_tables(flag: str, told: str):
    load_config(TABLES)
    assert complaint_of_tables(flag) == told


@pytest.mark.parametrize(
    "flag",
    [
        "data.decode={fit: pad}",
        "features.size=64",
        "features.views=d4",
        "precision=bf16",
        "channels_last=true",
    ],
)
def test_pictures_that_only_tables_stand_beside_need_a_backbone_that_reads_them(flag: str):
    key = flag.split("=")[0]
    assert complaint_of_tables("data.images=a/{id}.png", flag).startswith(f"{key} | a key left out")
    load_config(
        TABLES, ["data.images=a/{id}.png", "backbones.img.kind=timm", "pretext.mask.backbone=rows", flag]
    )


@pytest.mark.parametrize(
    "flag",
    [
        "features.size=null",
        "features.views=auto",
        "features.views=none",
        "features.views=[identity]",
        "precision=fp32",
        "channels_last=false",
    ],
)
def test_keys_of_pictures_may_say_on_tables_what_happens_anyway(flag: str):
    """Files of finished runs do."""
    load_config(TABLES, [flag])


def test_a_forgotten_pattern_of_pictures_is_one_mistake_and_not_two():
    told = complaint("data.images=null", "data.decode={fit: pad}", "features.size=64")
    assert told.startswith("data.images | a pattern, or a column of paths")


def test_a_pretext_of_tables_is_refused_on_pictures():
    told = complaint("pretext.two.kind=masked", "tasks.era.init=jig")
    assert told == (
        'pretext.1.kind | one of jigsaw, tiles, simsiam, dino, lejepa, as its backbone (timm) reads pictures | "masked"'
    )


def test_a_config_of_tables_survives_the_file_without_keys_of_pictures(tmp_path: Path):
    config = load_config(TABLES)
    text = to_yaml(config)
    values = parse_value(text)
    assert not {"size", "augment"} & (values["tasks"]["era"].keys() | values["pretext"][0].keys())
    assert "name" not in values["backbones"]["rows"]
    assert "decode" not in values["data"] and set(values["features"]) == {"stats"}
    assert not {"precision", "channels_last"} & set(values)
    (tmp_path / "c.yaml").write_text(text)
    assert load_config(tmp_path / "c.yaml") == load_config(config) == config


@pytest.mark.parametrize(
    ("backbone", "kind", "told"),
    [("tabnet", "simsiam", "simsiam_rows"), ("timm", "simsiam_rows", "simsiam"), ("tabnet", "jigsaw", None)],
)
def test_simsiam_of_pictures_and_of_rows_point_to_each_other(backbone: str, kind: str, told: str | None):
    data = {"id": "id", "train": ["train.csv"], "images": "{id}.png", "columns": ["f*"]}
    config = {"name": "trial", "data": data, "backbones": {"net": {"kind": backbone}}}
    with pytest.raises(ConfigError) as caught:
        load_config(config | {"pretext": [{"name": "one", "kind": kind}]}, [])
    assert [problem.suggestion for problem in caught.value.problems] == [told]
