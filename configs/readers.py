"""Which backbone each pretext and task reads with, or which ones, where a task joins the features of several."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from .errors import KeyPath, Problem, closest, shown
from .heads import Mix
from .schema import Config, Task
from .section import several


def backbones_of(config: Config) -> dict[str, tuple[str, ...]]:
    """The names of the backbones of every `pretext <name>` and task, as far as they are known: one, or joined ones."""
    only = next(iter(config.backbones)) if len(config.backbones) == 1 else None
    known = {**{name: name for name in config.backbones}, "auto": only}
    of_pretext = {pretext.name: known.get(pretext.backbone) for pretext in config.pretext}
    found: dict[str, tuple[str | None, ...]] = {
        f"pretext {name}": (backbone,) for name, backbone in of_pretext.items()
    }
    for name, task in config.tasks.items():
        if task.backbone != "auto":
            found[name] = tuple(known.get(backbone) for backbone in several(task.backbone))
        else:
            otherwise = None if task.joined else only
            found[name] = tuple(of_pretext.get(init) or otherwise for init in several(task.init))
    return {
        name: tuple(backbone for backbone in backbones if backbone is not None)
        for name, backbones in found.items()
        if None not in backbones
    }


def joined_problems(config: Config) -> Iterator[Problem]:
    """What is wrong with tasks that join the features of several backbones."""
    readers = backbones_of(config)
    for name, task in config.tasks.items():
        if not task.joined:
            continue
        path = ("tasks", name)
        problems = list(_unpaired(config, path, task, readers))
        yield from problems
        if name in readers and not problems:
            yield from _together(config, path, task, readers[name])


def _unpaired(
    config: Config, path: KeyPath, task: Task, readers: Mapping[str, tuple[str, ...]]
) -> Iterator[Problem]:
    """Lists of starts and of backbones that do not belong together."""
    inits, backbones = several(task.init), several(task.backbone)
    for key, value in (("init", task.init), ("backbone", task.backbone)):
        if isinstance(value, list) and len(value) < 2:
            yield Problem((*path, key), "one name without a list, or a list of two or more", shown(value))
            return
    if task.backbone == "auto":
        for init in inits:
            if f"pretext {init}" not in readers and (init == "scratch" or Path(init).exists()):
                expected = f"a list of {len(inits)}, one for each of init, as {init} is no pretext"
                yield Problem((*path, "backbone"), expected, "auto")
                return
        return
    if isinstance(task.backbone, str):
        expected = f"auto, or a list of {len(inits)}, one for each of init"
        yield Problem((*path, "backbone"), expected, shown(task.backbone))
        return
    unknown = [
        Problem(
            (*path, "backbone", index),
            f"one of {', '.join(config.backbones)}",
            shown(name),
            closest(name, config.backbones),
        )
        for index, name in enumerate(backbones)
        if name not in config.backbones
    ]
    yield from unknown
    if unknown or task.init == "scratch":
        return
    if len(inits) != len(backbones) or isinstance(task.init, str):
        expected = f"scratch, or a list of {len(backbones)}, one for each of {', '.join(backbones)}"
        yield Problem((*path, "init"), expected, shown(task.init))
        return
    for index, (init, name) in enumerate(zip(inits, backbones, strict=True)):
        [theirs] = readers.get(f"pretext {init}", (name,))
        if theirs != name:
            expected = f"{theirs}, the backbone of {init} that `init` starts from"
            yield Problem((*path, "backbone", index), expected, shown(name))


def _together(config: Config, path: KeyPath, task: Task, backbones: tuple[str, ...]) -> Iterator[Problem]:
    """Backbones that cannot be joined, and what cannot be done with joined ones."""
    key = (*path, "init" if task.backbone == "auto" else "backbone")
    pictured = [name for name in backbones if not config.backbones[name].of_tables]
    if len(set(backbones)) < len(backbones):
        yield Problem(key, "each backbone once", ", ".join(backbones))
    elif len(pictured) > 1:
        yield Problem(key, "at most one backbone of pictures, beside those of tables", ", ".join(pictured))
    if isinstance(task.augment.mix, Mix):
        expected = "auto or null with joined backbones, as categories of a table have no blend"
        yield Problem((*path, "augment", "mix"), expected, shown(task.augment.mix.model_dump(mode="json")))
