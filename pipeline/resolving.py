"""What every `auto` of a config means for the data and the machine at hand."""

from fnmatch import fnmatchcase
from string import Formatter
from typing import Any

from ..configs.errors import UserError, closest
from ..configs.heads import HeadAugment
from ..configs.registry import options_class
from ..configs.schema import Config
from ..configs.section import several
from ..datasets.folds import FoldPlan
from ..datasets.tables import Table
from ..training.device import Machine
from ..training.mix import resolve_mix
from ..training.views import resolve_views


def resolve(config: Config, train: Table, test: Table, plan: FoldPlan, machine: Machine) -> Config:
    """The config with every `auto` replaced by what it means for these data on this machine.

    Args:
        config: as loaded.
        train, test: the tables; one without rows where there are no test rows.
        plan: the fold plan.
        machine: where the run computes.

    Raises:
        UserError: a fold, a scope or a column that these data do not allow.
    """
    only = next(iter(config.backbones))
    by_name = {stage.name: stage for stage in config.pretext}
    all_folds = list(range(plan.n))
    pretexts = []
    for stage in config.pretext:
        own = options_class(stage.kind).optimiser if stage.optimiser == "auto" else stage.optimiser
        backbone = only if stage.backbone == "auto" else stage.backbone
        lr, weight_decay = stage.rates(own, config.backbones[backbone].kind)
        resolved = {
            "backbone": backbone,
            "scope": _scope(stage.name, stage.scope, len(test) > 0),
            "optimiser": own,
            "lr": lr,
            "weight_decay": weight_decay,
        }
        pretexts.append(stage.model_copy(update=resolved))
    tasks = {}
    for name, task in config.tasks.items():
        inits = several(task.init)
        follows = [by_name[init].backbone if init in by_name else "auto" for init in inits]
        wanted = follows if task.backbone == "auto" else several(task.backbone)
        backbones = [only if each == "auto" else each for each in wanted]
        starts = list(inits) * len(backbones) if len(inits) == 1 else list(inits)
        folds = all_folds if task.folds == "auto" else sorted(set(task.folds))
        if any(fold >= plan.n for fold in folds):
            raise UserError(
                f"tasks.{name}.folds: expected folds of the plan 0..{plan.n - 1}, received {folds}"
            )
        update: dict[str, Any] = {"backbone": backbones, "init": starts, "folds": folds}
        if not task.joined:
            update |= {"backbone": backbones[0], "init": starts[0]}
        if not task.frozen:
            lr, weight_decay = task.rates(kind=[config.backbones[backbone].kind for backbone in backbones])
            update |= {"lr": lr, "weight_decay": weight_decay}
            tables = any(config.backbones[backbone].of_tables for backbone in backbones)
            update["augment"] = task.augment.model_copy(update={"mix": None if tables else resolve_mix(task)})
        tasks[name] = task.model_copy(update=update)
    joint = machine.kind == "cpu" if config.transfer.joint == "auto" else config.transfer.joint
    pictured = [
        task
        for task in tasks.values()
        if any(not config.backbones[backbone].of_tables for backbone in task.starts)
    ]
    trained = [task.augment for task in pictured if not task.frozen]
    # Where no network is trained, frozen features are those of a picture and its mirror image.
    frozen = [HeadAugment()] if pictured and not trained else []
    views = resolve_views(config.features.views, trained + frozen) if pictured else ["identity"]
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"columns": _table_columns(config, train, test)}),
            "device": machine.device,
            "precision": machine.precision,
            "channels_last": machine.channels_last,
            "threads": machine.threads,
            "pretext": pretexts,
            "tasks": tasks,
            "transfer": config.transfer.model_copy(update={"joint": joint}),
            "features": config.features.model_copy(update={"views": views}),
        }
    )


def _table_columns(config: Config, train: Table, test: Table) -> list[str]:
    """The columns that stacks of the table learn from, by name."""
    test = test if config.data.test else train
    learned = {
        column: f"stack.{name}.target" for name, stack in config.stack.items() for column in stack.columns
    }
    if config.data.columns == "auto":
        folds = (config.folds.group, config.folds.stratify, config.folds.column)
        paths = [field for _, field, _, _ in Formatter().parse(config.data.images or "")] + [
            config.data.images
        ]
        known = {*learned, *folds, *paths} | {
            column for task in config.tasks.values() for column in task.columns
        }
        return [column for column in train.frame if column in test.frame and column not in known]
    wanted: list[str] = []
    for pattern in config.data.columns:
        found = [column for column in train.frame if fnmatchcase(column, pattern)]
        if not found:
            near = closest(pattern, train.frame.columns)
            raise UserError(
                f"data.columns: expected columns of the train table, or patterns of them, received {pattern!r}"
                + (f"; did you mean {near!r}?" if near else "")
            )
        for column in found:
            if column in learned:
                raise UserError(
                    f"data.columns: expected columns that are known for new rows, received {column!r} "
                    f"(by {pattern!r}), which is {learned[column]}: level 2 would read what it has to predict"
                )
            if column not in test.frame:
                raise UserError(
                    f"data.columns: expected columns that train and test share, received {column!r} "
                    f"(by {pattern!r}), which the test table lacks"
                )
        wanted += found
    return list(dict.fromkeys(wanted))


def _scope(name: str, scope: str, has_test: bool) -> str:
    if scope == "auto":
        return "transductive" if has_test else "inductive"
    if scope == "transductive" and not has_test:
        raise UserError(
            f"pretext.{name}.scope: expected test rows for scope: transductive, received none; without them the "
            f"validation rows would be "
            "seen in pretraining but the rows to predict would not, and every score would flatter. Use scope: "
            "inductive (one "
            "pretraining a fold), or scope: asymmetric to do it all the same and see it printed beside every score"
        )
    return scope
