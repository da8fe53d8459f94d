"""`jigstack check --find-lr`: which learning rates the trainings of a config bear."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..pretext import pretrain
from ..training.finder import RangeTest, range_test
from ..transfer import finetune
from .checkpoints import checkpoint_of, is_trained
from .jobs import fold_work, pretrain_work
from .manifest import Job
from .stages import Stages

STEPS = 100


def find_rates(stages: Stages) -> Iterator[tuple[str, list[str], float, RangeTest]]:
    """A range test of every pretext and every network, on the real rows of fold 0; nothing is written.

    Yields:
        the name of the training with what it started from, the config keys of its rate (one for each head of a network,
        which stays one network only while they agree), the rate there, and the test.
    """
    workspace = stages.workspace
    workspace.machine.apply_threads()
    run = workspace.run_path
    for index, options in enumerate(workspace.config.pretext):
        if options.reuse is None:
            fold = 0 if options.scope == "inductive" else None
            start = _start(checkpoint_of(workspace, run, options.init, fold))
            work = _uncompiled(pretrain_work(workspace, run, options, fold, started=False))
            training = pretrain.begin(work)
            trained, _ = pretrain.sources(work, training.method, *pretrain.split_held(work))
            test = range_test(training, trained, STEPS)
            yield f"pretrain/{options.name}{start}", [f"pretext.{index}.lr"], work.options.rates()[0], test
    for network in stages.networks:
        starts = network.shared.starts.values()
        start = "".join(_start(checkpoint_of(workspace, run, init, 0)) for init in starts)
        work = _uncompiled(fold_work(workspace, run, Job("finetune", network.name, 0), started=False))
        work = dataclasses.replace(work, tasks=_thawed(work.tasks))
        ids, _ = work.fit_ids()
        targets = {name: target.fit(work.frame.loc[ids]) for name, target in work.targets.items()}
        source = finetune.labelled(work, ids, targets)
        test = range_test(finetune.begin(work, targets), source, STEPS)
        yield (
            f"finetune/{network.name}{start}",
            [f"tasks.{task}.lr" for task in network.tasks],
            network.shared.rates()[0],
            test,
        )


def _uncompiled(work: Any) -> Any:
    """So few steps are not worth compiling."""
    return dataclasses.replace(work, machine=dataclasses.replace(work.machine, compile=False))


def _start(checkpoint: Path | None) -> str:
    """What a training starts from: its checkpoint, if that is there already."""
    if checkpoint is None:
        return ""
    if is_trained(checkpoint):
        return f" (from {checkpoint})"
    return f" (from random weights: {checkpoint} is not trained yet)"


def _thawed(tasks: Any) -> Any:
    """The tasks without their thawing: what is tested is the rate of the whole network."""
    return {name: task.model_copy(update={"unfreeze": None}) for name, task in tasks.items()}
