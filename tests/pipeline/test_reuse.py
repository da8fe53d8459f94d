"""How many test rows a checkpoint must have seen beside its train rows, and which checkpoints are asked."""

from pathlib import Path
from typing import Any

import jigstack
import pytest
from jigstack.configs.errors import UserError
from jigstack.configs.load import load_config
from jigstack.pipeline.reuse import UNEQUAL, check_files, one_sided
from jigstack.pipeline.workspace import Workspace
from scipy.stats import binom


@pytest.mark.parametrize(
    ("share", "seen", "count"),
    [
        (0.95, 4, 5),
        (0.95, 3, 4),
        (1.0, 1, 2),
        (0.95, 900, 1000),
        (0.5, 450, 1000),
        (0.1, 0, 1000),
        (0.0, 0, 0),
    ],
)
def test_a_checkpoint_that_saw_train_and_test_rows_alike_may_be_used(share: float, seen: int, count: int):
    """Of few test rows one or two may have been held out."""
    assert not one_sided(share, seen, count)


@pytest.mark.parametrize(
    ("share", "seen", "count"),
    [
        (0.95, 0, 1),
        (0.95, 0, 5),
        (0.95, 1, 5),
        (0.95, 0, 0),
        (0.95, 600, 1000),
        (0.5, 300, 1000),
        (1.0, 50, 100),
    ],
)
def test_a_checkpoint_that_hardly_saw_the_test_rows_may_not(share: float, seen: int, count: int):
    assert one_sided(share, seen, count)


@pytest.mark.parametrize("count", [2, 5, 12, 100, 2000])
def test_a_twentieth_held_out_at_random_is_hardly_ever_refused(count: int):
    refused = sum(binom.pmf(seen, count, 0.95) for seen in range(count + 1) if one_sided(0.95, seen, count))
    assert refused < 0.01 < UNEQUAL


NETWORKS = {
    "wide": {"kind": "mlp", "options": {"width": 16, "depth": 1}},
    "deep": {"kind": "mlp", "options": {"width": 8, "depth": 2}, "columns": ["heat", "site"]},
}


@pytest.fixture
def finished(make_table_config) -> list[Path]:
    """The pretrainings of both networks."""
    stages = [
        {"name": f"of-{name}", "kind": "masked", "backbone": name, "epochs": 1, "batch": 16}
        for name in NETWORKS
    ]
    config = make_table_config(name="before", backbones=NETWORKS, pretext=stages, tasks={}, stack={})
    path = jigstack.pretrain(config, quiet=True).path
    return [path / "pretext" / f"of-{name}" for name in NETWORKS]


def joined(make_table_config: Any, starts: list[Path], **changes: Any) -> Workspace:
    """A task on both networks, each from its checkpoint."""
    head = {"kind": "regression", "columns": ["yield"], "epochs": 1, "batch": 16, "backbone": [*NETWORKS]}
    tasks = {"amount": head | {"init": [str(path) for path in starts]}}
    return Workspace(
        load_config(make_table_config(backbones=NETWORKS | changes, pretext=[], tasks=tasks, stack={}))
    )


def test_each_checkpoint_of_a_joined_head_is_asked_by_its_place(make_table_config, finished: list[Path]):
    first, second = check_files(joined(make_table_config, finished))
    assert first.startswith(f"tasks.amount.init.0: {finished[0] / 'backbone.safetensors'} saw ")
    assert second.startswith(f"tasks.amount.init.1: {finished[1] / 'backbone.safetensors'} saw ")
    (finished[1] / "seen.parquet").unlink()
    first, second = check_files(joined(make_table_config, finished))
    assert " saw " in first and second.startswith("note: tasks.amount.init.1: ")
    assert jigstack.finetune(joined(make_table_config, finished).config, quiet=True).computed


def test_a_checkpoint_in_a_list_that_does_not_suit_its_backbone_is_refused_by_its_place(
    make_table_config, finished: list[Path]
):
    with pytest.raises(UserError, match=r"tasks.amount.init.1: .*also reads 'load', 'dust'"):
        check_files(joined(make_table_config, [finished[0], finished[0]]))
    named = NETWORKS["deep"] | {"columns": ["heat", "site", "load"]}
    with pytest.raises(UserError, match=r"tasks.amount.init.1: columns: .*does not know 'load'"):
        check_files(joined(make_table_config, finished, deep=named))


def test_a_fresh_start_beside_a_checkpoint_is_not_asked(make_table_config, finished: list[Path]):
    workspace = joined(make_table_config, [finished[0], Path("scratch")])
    [line] = check_files(workspace)
    assert line.startswith("tasks.amount.init.0: ")


def test_a_checkpoint_of_another_network_is_refused_before_anything_is_trained(
    make_table_config, finished: list[Path]
):
    """Its kind and options are asked for at once, not when the stage that starts from it has its turn."""
    with pytest.raises(UserError, match=r"tasks.amount.init.0: .*expected a backbone with kind 'cnn1d'"):
        check_files(joined(make_table_config, finished, wide={"kind": "cnn1d"}))
    wider = NETWORKS["wide"] | {"options": {"width": 32, "depth": 1}}
    with pytest.raises(
        UserError, match=r"tasks.amount.init.0: .*options \{'width': 32\}, received \{'width': 16\};"
    ):
        check_files(joined(make_table_config, finished, wide=wider))
    stages = [
        {"name": "long", "kind": "masked", "backbone": "deep", "epochs": 1, "batch": 16},
        {"name": "taken", "kind": "masked", "backbone": "wide", "reuse": str(finished[0])},
    ]
    config = make_table_config(backbones=NETWORKS | {"wide": wider}, pretext=stages, tasks={}, stack={})
    with pytest.raises(UserError, match=r"pretext.taken.reuse: .*expected a backbone with options"):
        jigstack.pretrain(config, quiet=True)
    assert not list(Path(config["runs"]).glob("*/pretext/long/*"))


@pytest.mark.parametrize("named", ["", "pretext/mask", "pretext/mask/backbone.safetensors"])
def test_a_run_does_not_reuse_what_its_own_stage_wrote_and_would_replace(make_table_config, named: str):
    finished = jigstack.run(make_table_config(), quiet=True, until="pretrain").path
    kept = [finished / "config.yaml", finished / "manifest.json", *finished.glob("pretext/mask/*")]
    files = {file: file.read_bytes() for file in kept}
    config = make_table_config()
    config["pretext"][0]["reuse"] = str(finished / named)
    with pytest.raises(
        UserError, match=r"pretext.mask.reuse: expected a checkpoint of another run, .*leave reuse out"
    ):
        jigstack.run(config, quiet=True, until="pretrain", replace=True)
    assert len(files) > 6 and {file: file.read_bytes() for file in kept} == files
