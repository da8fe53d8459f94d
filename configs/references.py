"""What one section of the config says about another: names that must exist, kinds and their options."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from . import registry
from .errors import KeyPath, Problem, closest, shown
from .heads import Options, RegressionOptions
from .readers import backbones_of, joined_problems
from .schema import HEAD_OPTIONS, Config, Pretext, Task
from .section import several
from .validation import validate

_AS_LEFT_OUT: dict[str, tuple[object, ...]] = {
    "size": (None,),
    "views": ("auto", "none", ["identity"]),
    "precision": ("auto", "fp32"),
    "channels_last": ("auto", False),
}
"""What keys of pictures may say where nothing reads any: it is what happens then, and files of older runs have it."""
RUNGS = ("best", "constant", "mean")
"""Words that `submit` knows beside models and tasks."""
TAKEN = (*RUNGS, "ridge", "lightgbm", "table")
"""Rungs of the ladder and the table's features, so that no task may be called so."""
NOT_A_PRETEXT = ("scratch", "pretrained")
"""What `init` and `weights` already mean."""


def find_problems(config: Config, broken: Sequence[KeyPath] = ()) -> list[Problem]:
    """Check everything that concerns more than one key.

    Args:
        config: A config whose single keys are right, or were replaced by something right.
        broken: The keys that were replaced; nothing that hangs on them is judged.

    Returns:
        The mistakes, in the order of the config.
    """
    problems: list[Problem] = []
    for check, reads in _CHECKS:
        if any(_matches(path, pattern) for path in broken for pattern in reads):
            continue
        problems += check(config)
    return [found for found in problems if not any(found.path[: len(path)] == path for path in broken)]


def with_full_options(config: Config) -> Config:
    """The config with every default of the pretexts' and heads' options written out."""
    return config.model_copy(
        update={
            "pretext": [
                p.model_copy(update={"options": _full(registry.options_class(p.kind), p)})
                for p in config.pretext
            ],
            "tasks": {
                name: t.model_copy(update={"options": _full(HEAD_OPTIONS[t.kind], t)})
                for name, t in config.tasks.items()
            },
        }
    )


def _full(options: type[Options], owner: Pretext | Task) -> dict[str, object]:
    return options.model_validate(owner.options).model_dump(mode="json")


def _pretext_names(config: Config) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, pretext in enumerate(config.pretext):
        if pretext.name in NOT_A_PRETEXT:
            words = ", ".join(NOT_A_PRETEXT)
            yield Problem(("pretext", index, "name"), f"a name other than {words}", shown(pretext.name))
        if pretext.name in seen:
            first = f"pretext.{seen[pretext.name]}"
            yield Problem(
                ("pretext", index, "name"), "a name of its own", f"{shown(pretext.name)}, the name of {first}"
            )
        seen.setdefault(pretext.name, index)


def _pretext_options(config: Config) -> Iterator[Problem]:
    for index, pretext in enumerate(config.pretext):
        if pretext.kind not in registry.PRETEXTS:
            yield Problem(
                ("pretext", index, "kind"),
                f"one of {', '.join(registry.PRETEXTS)}",
                shown(pretext.kind),
                closest(pretext.kind, registry.PRETEXTS),
            )
            continue
        options, problems = validate(
            registry.options_class(pretext.kind), pretext.options, ("pretext", index, "options")
        )
        yield from problems
        if isinstance(options, Options):
            try:
                options.check_size(pretext.size)
            except ValueError as error:
                yield Problem(("pretext", index, "size"), str(error), shown(pretext.size))


def _snapshots(config: Config) -> Iterator[Problem]:
    for index, pretext in enumerate(config.pretext):
        lacking = [
            part
            for part, there in (("tasks to probe", config.tasks), ("probe.every > 0", config.probe.every))
            if not there
        ]
        if pretext.snapshot == "probe" and lacking:
            yield Problem(
                ("pretext", index, "snapshot"), f"last, or {' and '.join(lacking)}", shown(pretext.snapshot)
            )


def _pictures(config: Config) -> Iterator[Problem]:
    if config.data.images is not None:
        return
    readers = backbones_of(config)
    if wanting := [
        name
        for name, backbones in readers.items()
        if not all(config.backbones[backbone].of_tables for backbone in backbones)
    ]:
        yield Problem(
            ("data", "images"),
            f"a pattern, or a column of paths, for {', '.join(wanting[:5])}, which learn from pictures",
            "null",
        )


def _modalities(config: Config) -> Iterator[Problem]:
    readers = backbones_of(config)
    for index, pretext in enumerate(config.pretext):
        names = readers.get(f"pretext {pretext.name}")
        if names is None or pretext.kind not in registry.PRETEXTS:
            continue
        backbone = config.backbones[names[0]]
        wanted = registry.PRETEXTS[pretext.kind].modality
        if wanted != ("table" if backbone.of_tables else "image"):
            fitting = [name for name, entry in registry.PRETEXTS.items() if entry.modality != wanted]
            yield Problem(
                ("pretext", index, "kind"),
                f"one of {', '.join(fitting)}, as its backbone ({backbone.kind}) reads "
                f"{'lines of the table' if backbone.of_tables else 'pictures'}",
                shown(pretext.kind),
                closest(pretext.kind, fitting),
            )


def of_pictures_only(config: Config) -> Iterator[KeyPath]:
    """The keys that nothing reads: of pretexts and tasks whose backbones read lines of the table, of all without
    pictures."""
    if not _has_pictures(config):
        yield ("data", "decode")
        yield from (("features", "size"), ("features", "views"))
        yield from (("precision",), ("channels_last",))
    readers = backbones_of(config)
    owners: dict[KeyPath, str] = {
        ("pretext", index): f"pretext {stage.name}" for index, stage in enumerate(config.pretext)
    }
    owners |= {("tasks", name): name for name in config.tasks}
    for path, name in owners.items():
        if name in readers and all(config.backbones[backbone].of_tables for backbone in readers[name]):
            yield from ((*path, key) for key in ("size", "augment") if path[0] == "tasks" or key == "size")


def _has_pictures(config: Config) -> bool:
    """Whether a backbone could read pictures; without `images` one that does has a complaint of its own."""
    readers = {name for names in backbones_of(config).values() for name in names}
    wanted = config.backbones if config.data.images is not None else readers
    return any(not config.backbones[name].of_tables for name in wanted)


def _unread(config: Config) -> Iterator[Problem]:
    for *owners, key in of_pictures_only(config):
        owner: Any = config
        for part in owners:
            owner = getattr(owner, str(part)) if isinstance(owner, BaseModel) else owner[part]
        value = owner.model_dump(mode="json", include={key}, exclude_unset=True).get(key)
        if key in owner.model_fields_set and value not in _AS_LEFT_OUT.get(str(key), ()):
            why = (
                "its backbone reads lines of the table" if len(owners) > 1 else "nothing here reads pictures"
            )
            why += ", and networks of tables compute in fp32" if key == "precision" else ""
            yield Problem((*owners, key), f"a key left out, as {why}", shown(value))


def _table_options(config: Config) -> Iterator[Problem]:
    for name, backbone in config.backbones.items():
        if backbone.of_tables:
            options = registry.load(registry.TABLE_BACKBONES[backbone.kind].options)
            yield from validate(options, backbone.options, ("backbones", name, "options"))[1]


def _augment(config: Config) -> Iterator[Problem]:
    for name, task in config.tasks.items():
        pad, size = task.augment.pad, task.size
        if pad >= size:
            yield Problem(
                ("tasks", name, "augment", "pad"), f"fewer pixels than the size, {size}", shown(pad)
            )


def _head_options(config: Config) -> Iterator[Problem]:
    for name, task in config.tasks.items():
        options, problems = validate(HEAD_OPTIONS[task.kind], task.options, ("tasks", name, "options"))
        yield from problems
        if isinstance(options, RegressionOptions) and options.correlates:
            yield from _pearson(name, task, options)


def _pearson(name: str, task: Task, options: RegressionOptions) -> Iterator[Problem]:
    if task.frozen:
        yield Problem(
            ("tasks", name, "options", "loss"),
            f"squared with learner: {task.learner}, which fits squared error; pearson needs learner: network",
            "pearson",
        )
    elif options.correlates == "row" and len(task.columns) < 3:
        yield Problem(
            ("tasks", name, "columns"),
            "three or more columns with loss: pearson, which correlates within a row (that of two values is 1 or -1 "
            "and teaches nothing); centre: column takes one",
            shown(task.columns),
        )


def _task_names(config: Config) -> Iterator[Problem]:
    for name in config.tasks:
        if name in TAKEN:
            yield Problem(
                ("tasks", name), f"a name other than {', '.join(TAKEN)}, which level 2 uses itself", name
            )


def _backbones(config: Config) -> Iterator[Problem]:
    owners: list[tuple[KeyPath, Pretext | Task]] = [
        *((("pretext", index), pretext) for index, pretext in enumerate(config.pretext)),
        *((("tasks", name), task) for name, task in config.tasks.items() if not task.joined),
    ]
    of_pretext = {pretext.name: pretext.backbone for pretext in config.pretext}
    for path, owner in owners:
        init = str(owner.init)
        if owner.backbone not in ("auto", *config.backbones):
            yield Problem(
                (*path, "backbone"),
                f"one of auto, {', '.join(config.backbones)}",
                shown(owner.backbone),
                closest(str(owner.backbone), config.backbones),
            )
        elif owner.backbone == "auto" and len(config.backbones) > 1 and init not in of_pretext:
            yield Problem(
                (*path, "backbone"), f"one of {', '.join(config.backbones)}, as there are several", "auto"
            )
        elif owner.backbone != "auto" and of_pretext.get(init, "auto") not in (
            "auto",
            owner.backbone,
        ):
            theirs = of_pretext[init]
            yield Problem(
                (*path, "backbone"),
                f"auto or {theirs}, the backbone of {init} that `init` starts from",
                shown(owner.backbone),
            )


def _pretext_init(config: Config) -> Iterator[Problem]:
    for index, pretext in enumerate(config.pretext):
        earlier = [other.name for other in config.pretext[:index]]
        if pretext.init is not None and pretext.init not in earlier and not Path(pretext.init).exists():
            names = ", ".join(earlier) or "there is none"
            yield Problem(
                ("pretext", index, "init"),
                f"null, an earlier pretext ({names}) or an existing checkpoint",
                shown(pretext.init),
                closest(pretext.init, earlier),
            )


def _task_init(config: Config) -> Iterator[Problem]:
    names = [pretext.name for pretext in config.pretext]
    for name, task in config.tasks.items():
        path: KeyPath = ("tasks", name, "init")
        for index, init in enumerate(several(task.init)):
            if init not in ("scratch", *names) and not Path(init).exists():
                known = ", ".join(names) or "there is none"
                yield Problem(
                    path if isinstance(task.init, str) else (*path, index),
                    f"scratch, a pretext ({known}) or an existing checkpoint",
                    shown(init),
                    closest(init, ["scratch", *names]),
                )


def _files(config: Config) -> Iterator[Problem]:
    for name, backbone in config.backbones.items():
        if backbone.weights not in (None, "pretrained") and not Path(backbone.weights).exists():
            yield Problem(
                ("backbones", name, "weights"),
                "null, pretrained or an existing checkpoint",
                shown(backbone.weights),
                closest(backbone.weights, ["pretrained"]),
            )
    for index, pretext in enumerate(config.pretext):
        if pretext.reuse is not None and not Path(pretext.reuse).exists():
            yield Problem(
                ("pretext", index, "reuse"),
                "null, a run directory or an existing checkpoint",
                shown(pretext.reuse),
            )


def _task_folds(config: Config) -> Iterator[Problem]:
    if config.folds.scheme == "column":
        return
    count = 1 if config.folds.scheme == "holdout" else config.folds.n
    for name, task in config.tasks.items():
        for index, fold in enumerate([] if task.folds == "auto" else task.folds):
            if fold >= count:
                allowed = (
                    "0, as scheme: holdout has one fold" if count == 1 else f"a fold from 0 to {count - 1}"
                )
                yield Problem(("tasks", name, "folds", index), allowed, shown(fold))


def _members(config: Config) -> Iterator[Problem]:
    whole = [name for name, task in config.tasks.items() if _all_folds(config, task)]
    listed = ", ".join(whole) or "there is none"
    for name, stack in config.stack.items():
        if not stack.members and not whole and not stack.table:
            yield Problem(
                ("stack", name, "members"),
                "at least one task trained on all folds, or table: true for the columns of the table alone",
                "none",
            )
        for index, member in enumerate(stack.members):
            if member not in whole:
                why = (
                    f"{shown(member)}, which is trained on some folds only"
                    if member in config.tasks
                    else shown(member)
                )
                yield Problem(
                    ("stack", name, "members", index),
                    f"a task trained on all folds ({listed})",
                    why,
                    None if member in config.tasks else closest(member, whole),
                )


def _all_folds(config: Config, task: Task) -> bool:
    """Whether a task is trained on every fold; of the user's own folds the table must say how many there are."""
    if task.folds == "auto" or config.folds.scheme == "column":
        return True
    return set(task.folds) >= set(range(1 if config.folds.scheme == "holdout" else config.folds.n))


def _submit(config: Config) -> Iterator[Problem]:
    for name, stack in config.stack.items():
        tasks = stack.members or list(config.tasks)
        through = [*tasks, "table"] if stack.table and tasks else tasks
        rungs = [*RUNGS, *stack.models, *tasks, *(f"{task}~ridge" for task in through)]
        if stack.submit not in rungs:
            yield Problem(
                ("stack", name, "submit"),
                f"one of {', '.join(rungs)}",
                shown(stack.submit),
                closest(stack.submit, rungs),
            )


def _importance(config: Config) -> Iterator[Problem]:
    if "permutation" not in config.transfer.importance:
        return
    readers = backbones_of(config)
    for name, task in config.tasks.items():
        if name not in readers or (
            not task.frozen and not task.joined and config.backbones[readers[name][0]].of_tables
        ):
            return
    index = config.transfer.importance.index("permutation")
    yield Problem(
        ("transfer", "importance", index),
        "attention alone, as no task trains a network of one table",
        "permutation",
    )


def _matches(path: KeyPath, pattern: str) -> bool:
    """Whether replacing `path` changes a key of the pattern; `*` stands for any one part."""
    parts = pattern.split(".")
    return all(want in ("*", str(part)) for want, part in zip(parts, path, strict=False))


# Each check, and the keys of other sections that it relies on.
_CHECKS: tuple[tuple[Callable[[Config], Iterator[Problem]], tuple[str, ...]], ...] = (
    (_pictures, ("backbones", "pretext.*.backbone", "tasks.*.backbone")),
    (_modalities, ("backbones", "pretext.*.backbone", "pretext.*.kind", "plugins")),
    (_table_options, ()),
    (
        _unread,
        (
            "backbones",
            "data.images",
            "pretext.*.backbone",
            "pretext.*.name",
            "tasks.*.backbone",
            "tasks.*.init",
        ),
    ),
    (_backbones, ("backbones", "pretext.*.name", "pretext.*.backbone")),
    (joined_problems, ("backbones", "pretext.*.name", "pretext.*.backbone")),
    (_files, ()),
    (_pretext_names, ("pretext.*.name",)),
    (_pretext_options, ("pretext.*.kind", "plugins")),
    (_pretext_init, ("pretext.*.name",)),
    (_snapshots, ("tasks", "probe")),
    (_task_names, ()),
    (_head_options, ("tasks.*.kind",)),
    (_augment, ("tasks.*.size",)),
    (_task_init, ("pretext.*.name",)),
    (_task_folds, ("folds.scheme", "folds.n")),
    (_importance, ("backbones", "pretext.*.name", "pretext.*.backbone", "tasks")),
    (_members, ("tasks.*.folds",)),
    (_submit, ("stack.*.models", "stack.*.members")),
)
