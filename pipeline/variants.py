"""The rows of an ablation: one head under several starts and settings, as one config that trains them side by side."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..configs.errors import UserError, closest
from ..configs.readers import backbones_of
from ..configs.registry import PRETEXTS
from ..configs.schema import Config, Pretext, Task, Unfreeze
from ..datasets.files import digest

DEFAULT_ROWS = ("scratch", "jigsaw", "simsiam", "lejepa", "chained")
"""LeJEPA is among them since it was the best start at equal time on two sets (docs/benchmarks.md)."""
TABLE_ROWS = ("scratch", "masked")
"""The default rows of a head whose backbone reads the table."""
CHAINED = "chained"
REFERENCE = "scratch"
FOLDS = 3
LONGEST = 80
"""Characters of a task's name."""
FREEZING: dict[str, dict[str, Any]] = {
    "all learn": {"freeze": "none", "unfreeze": None},
    "head first": {"freeze": "none", "unfreeze": Unfreeze(after=1, every=0)},
    "gradual": {"freeze": "none", "unfreeze": Unfreeze(after=1, every=1)},
    "head only": {"freeze": "all", "unfreeze": None},
}
"""Ways to thaw a pretrained network, for `--freeze`."""


@dataclass(frozen=True)
class Variant:
    """One row.

    Attributes:
        label: what the table says.
        task: the name of its head in the derived config.
        init: where the head starts: `scratch`, a pretext of the derived config, or a checkpoint file.
    """

    label: str
    task: str
    init: str


@dataclass(frozen=True)
class Plan:
    """A config whose tasks are the rows of an ablation, and which row is which task."""

    config: Config
    variants: tuple[Variant, ...]


def chosen_head(config: Config, head: str | None) -> str:
    """The head to judge by: the one asked for, or the first that is a network.

    Raises:
        UserError: there is no such head.
    """
    trained = [name for name, task in config.tasks.items() if not task.frozen]
    if head is None:
        if not trained:
            raise UserError(
                "tasks: expected a trained head to judge by, received none; add one to the config"
            )
        return trained[0]
    if head not in trained:
        if not trained:
            raise UserError(
                f"--head: expected a trained head, received {head!r}, and the config has none; add a task"
            )
        near = closest(head, trained)
        raise UserError(
            f"--head: expected a trained head ({', '.join(trained)}), received {head!r}"
            + (f"; did you mean {near!r}?" if near else "")
        )
    return head


def plan_rows(
    config: Config,
    head: str,
    rows: Sequence[str] | None,
    *,
    freeze: bool = False,
    folds: Literal["auto"] | Sequence[int] | None = None,
    suffix: str = "ablate",
) -> Plan:
    """Derive the config of an ablation.

    Every row is the same head with the same budget; only its start differs. A row that is a kind of pretext takes the
    config's own pretext of that kind, or one with the size, epochs and batch of the config's first pretext.

    Args:
        config: the user's, as loaded.
        head: the task to judge by.
        rows: `scratch`, kinds or names of pretexts, `chained` (SimSiam from the jigsaw's checkpoint), checkpoint files;
            None: `DEFAULT_ROWS`, or `TABLE_ROWS`. `scratch` always comes first.
        freeze: add the head's own start under each of `FREEZING`.
        folds: to train; None: the first three, `auto`: all.
        suffix: of the derived config's name.

    Raises:
        UserError: a row that is none of these.
    """
    own = str(config.tasks[head].init)
    if config.tasks[head].joined:
        raise UserError(
            f"head: expected one of a single backbone, whose starts are compared, received {head!r}, which joins the "
            "features of several; name another, or write one task for each start and compare them in one run"
        )
    usual = TABLE_ROWS if _of_tables(config, head) else DEFAULT_ROWS
    wanted = list(dict.fromkeys([REFERENCE, *(rows or usual)]))
    pretexts: dict[str, Pretext] = {}
    variants: list[tuple[Variant, dict[str, Any]]] = []
    for row in wanted:
        init = _start(config, head, row, pretexts)
        changes: dict[str, Any] = {"init": init}
        if len(config.backbones) > 1 and init not in pretexts:
            changes["backbone"] = backbones_of(config)[head][0]  # `auto` followed the head's own start
        variants.append((Variant(row, _task_name(head, row), init), changes))
    if freeze:
        if own == REFERENCE:
            raise UserError(
                f"--freeze: expected a head with a pretrained start, received {head!r} with init: scratch"
            )
        for label, changes in FREEZING.items():
            init = _start(config, head, own, pretexts)
            row = Variant(f"{own}, {label}", _task_name(head, f"{own}-{label}"), init)
            variants.append((row, {"init": init, **changes}))
    trained = first_folds(config) if folds is None else folds if folds == "auto" else list(folds)
    task = config.tasks[head]
    tasks = {
        variant.task: task.model_copy(update={"folds": trained, **changes}) for variant, changes in variants
    }
    return Plan(derived(config, list(pretexts.values()), tasks, suffix), tuple(row for row, _ in variants))


def alone(
    config: Config,
    head: str,
    label: str,
    suffix: str,
    folds: Literal["auto"] | Sequence[int] | None = None,
) -> Plan:
    """The head as a config has it, as the only row of a run of its own; arguments as `plan_rows`."""
    plan = plan_rows(config, head, [str(config.tasks[head].init)], folds=folds)
    kept = plan.variants[-1]
    only = derived(config, plan.config.pretext, {kept.task: plan.config.tasks[kept.task]}, suffix)
    return Plan(only, (replace(kept, label=label),))


def first_folds(config: Config) -> list[int]:
    """The folds of an ablation that does not ask for all."""
    return list(range(min(FOLDS, config.folds.n)))


def derived(config: Config, pretexts: Sequence[Pretext], tasks: dict[str, Task], suffix: str) -> Config:
    """The same data and folds with other pretexts and tasks, each with a network of its own, and no level 2."""
    return config.model_copy(
        update={
            "name": f"{config.name}-{suffix}",
            "pretext": list(pretexts),
            "tasks": tasks,
            "stack": {},
            "transfer": config.transfer.model_copy(
                update={"joint": False, "final": "folds", "importance": []}
            ),
            "data": config.data.model_copy(update={"sample_submission": None}),
        }
    )


def varied(values: str) -> tuple[str, list[str]]:
    """Read `key=a,b,c`: the key and its values; commas inside brackets belong to a value.

    Raises:
        UserError: not of this form.

    Example:
        >>> varied("tasks.era.freeze=none,[stem, layer1]")
        ('tasks.era.freeze', ['none', '[stem, layer1]'])
    """
    key, equals, text = values.partition("=")
    parts = [part.strip() for part in re.split(r",(?![^\[\{]*[\]\}])", text)]
    if not equals or not key.strip() or not all(parts):
        raise UserError(f"--vary: expected key=a,b,c such as tasks.era.lr=1e-3,3e-4, received {values!r}")
    return key.strip(), parts


def _start(config: Config, head: str, row: str, pretexts: dict[str, Pretext]) -> str:
    """The `init` of a row; the pretexts that it needs are added."""
    if row == REFERENCE:
        return REFERENCE
    readers, of_tables = backbones_of(config), _of_tables(config, head)
    by_name = {
        pretext.name: pretext
        for pretext in config.pretext
        if config.backbones[readers[f"pretext {pretext.name}"][0]].of_tables == of_tables
    }
    kinds = [kind for kind, entry in PRETEXTS.items() if (entry.modality == "table") == of_tables]
    if row in by_name:
        for needed in _chain(by_name, row):
            pretexts[needed.name] = needed
        return row
    if row == CHAINED and not of_tables:
        first = _of_kind(config, head, "jigsaw")
        pretexts.setdefault(first.name, first)
        second = _of_kind(config, head, "simsiam").model_copy(update={"name": CHAINED, "init": first.name})
        pretexts[CHAINED] = second
        return CHAINED
    if row in kinds:
        found = _of_kind(config, head, row)
        for needed in _chain(by_name | {found.name: found}, found.name):
            pretexts.setdefault(needed.name, needed)
        return found.name
    if Path(row).exists():
        return row
    known: list[str] = list(dict.fromkeys([REFERENCE, *by_name, *kinds, *([] if of_tables else [CHAINED])]))
    near = closest(row, known)
    read = f", as {head} reads {'lines of the table' if of_tables else 'pictures'}"
    foreign = row in PRETEXTS or row == CHAINED or row in {pretext.name for pretext in config.pretext}
    raise UserError(
        f"--rows: expected some of {', '.join(known)}, or checkpoint files{read if foreign else ''}, received {row!r}"
        + (f"; did you mean {near!r}?" if near else "")
    )


def _of_tables(config: Config, head: str) -> bool:
    return config.backbones[backbones_of(config)[head][0]].of_tables


def _chain(by_name: dict[str, Pretext], name: str) -> Iterator[Pretext]:
    """A pretext after those that it starts from."""
    pretext = by_name[name]
    if pretext.init in by_name:
        yield from _chain(by_name, str(pretext.init))
    yield pretext


def _of_kind(config: Config, head: str, kind: str) -> Pretext:
    """The config's own pretext of a kind that starts from nothing, or one like its first pretext."""
    readers = backbones_of(config)
    like = [each for each in config.pretext if readers[f"pretext {each.name}"] == readers[head]]
    for pretext in like:
        if pretext.kind == kind and pretext.init is None and pretext.reuse is None:
            return pretext
    shared: dict[str, Any] = {"size": config.tasks[head].size, "backbone": readers[head][0]}
    if like:
        first = like[0]
        shared = {key: getattr(first, key) for key in ("size", "backbone", "epochs", "batch", "scope")}
    taken = {pretext.name for pretext in config.pretext}
    name = kind if kind not in taken else f"{kind}-default"
    return Pretext(name=name, kind=kind, **shared)


def _task_name(head: str, label: str) -> str:
    plain = f"{head}-{label}"
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", plain)
    # Two labels must not become one name.
    return name if name == plain and len(name) <= LONGEST else f"{name[: LONGEST - 9]}-{digest([label])[:8]}"
