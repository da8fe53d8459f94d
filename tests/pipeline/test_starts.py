"""Frozen features of the starts of an ablation."""

import json

import pytest
from jigstack.configs import load_config
from jigstack.pipeline import starts
from jigstack.pipeline.commands import pretrain
from jigstack.pipeline.console import Console
from jigstack.pipeline.stages import Stages
from jigstack.pipeline.starts import PROBES, RAW, probe_starts
from jigstack.pipeline.variants import plan_rows
from jigstack.pipeline.workspace import Workspace

from .conftest import MakeConfig


def test_each_start_is_probed_once_with_few_and_with_all_labels(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(starts, "LABELS", (20, None))
    plan = plan_rows(load_config(make_config()), "era", ["jig"])
    result = pretrain(plan.config, quiet=True)
    workspace, path = Workspace(plan.config), result.path / PROBES

    def again() -> starts.ProbeTable:
        return probe_starts(workspace, "era", plan, path, Console(quiet=True), raw=True)

    table = again()
    assert list(table) == [RAW, "scratch", "jig"]
    assert all(set(scores) == {"ridge.20", "ridge.all", "knn.all"} for scores in table.values())
    assert table[RAW]["ridge.all"] > table[RAW]["ridge.20"]  # the colours tell the target
    assert len(json.loads(path.read_text())) == 3

    for damaged in ("{broken", "[1]", '{"a": {"b": "c"}}'):
        path.write_text(damaged)
        assert again() == table

    def refuse(*_: object) -> None:
        raise AssertionError("a finished start was probed again")

    monkeypatch.setattr(starts, "_probe", refuse)
    assert again() == table


def test_another_coding_of_the_same_labels_is_probed_anew(make_config: MakeConfig):
    """Classes of a column are scored by accuracy, its numbers by r2: neither score stands for the other."""
    plans = {head: plan_rows(load_config(make_config()), head, ["scratch"]) for head in ("era", "kind")}
    keys = set()
    for head, plan in plans.items():
        renamed = plan.config.model_copy(update={"tasks": {"head": plan.config.tasks[f"{head}-scratch"]}})
        workspace = Workspace(renamed)
        keys.add(starts._key(workspace, Stages(workspace), "scratch", "head"))
    assert len(keys) == 2


def test_an_inductive_pretext_is_probed_fold_by_fold_with_what_has_not_seen_it(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
):
    values = make_config()
    values["pretext"][0] |= {"scope": "inductive", "epochs": 1}
    plan = plan_rows(load_config(values), "era", ["jig"])
    path = pretrain(plan.config, quiet=True).path / PROBES
    asked: list[tuple[str, int | None]] = []
    real = starts.checkpoint_of

    def note(workspace: Workspace, run, init: str, fold: int | None):
        asked.append((init, fold))
        return real(workspace, run, init, fold)

    monkeypatch.setattr(starts, "checkpoint_of", note)
    table = probe_starts(Workspace(plan.config), "era", plan, path, Console(quiet=True))
    assert asked == [("scratch", None), ("jig", 0), ("jig", 1), ("jig", 2)]
    assert set(table["jig"]) == {"ridge.all", "knn.all"}
