"""`jigstack check --shortcuts`: does a jigsaw look at its pictures, or does it match the borders of the tiles?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..configs.errors import UserError
from ..configs.pretext import TileOptions
from ..configs.registry import options_class
from ..configs.schema import Config, Pretext, Task
from ..datasets.files import read_json
from .commands import run
from .console import Console
from .ladders import aligned
from .probes import average
from .stages import Stages
from .variants import derived
from .workspace import Workspace

JUMP = 0.1
"""Share of the tiles: a gain in accuracy that says that borders are matched."""
LEARNED = 0.05
"""Share of the tiles above chance below which nothing can be said."""
NOISE = 0.01
"""A difference of mean scores that one short run does not resolve."""
PROBES = {"knn": "neighbours", "ridge": "ridge"}


@dataclass(frozen=True)
class ShortcutRow:
    """One short jigsaw.

    Attributes:
        gap, jitter: pixels.
        tile_accuracy: of held-out pictures after the last epoch, on boards cut as in training; 0..1.
        scores: `era.knn.r2` and so on -> score of the frozen features, out of fold.
    """

    gap: int
    jitter: int
    tile_accuracy: float
    scores: dict[str, float]

    def worth(self, probe: str) -> float:
        """Mean of the scores of `knn` or `ridge` of which more is better; NaN without any."""
        better = [
            value
            for name, value in self.scores.items()
            if f".{probe}." in name and not name.endswith(".rmse")
        ]
        return float(np.mean(better)) if better else math.nan


@dataclass(frozen=True)
class Shortcuts:
    """What borders are worth to a jigsaw.

    Attributes:
        pretext: its name.
        chance: tile accuracy by chance.
        rows: the first without gap and jitter, the last as configured.
        random: scores of the network before any training.
        sentence: the result in words.
    """

    pretext: str
    chance: float
    rows: tuple[ShortcutRow, ...]
    random: dict[str, float]
    sentence: str

    def table(self) -> list[tuple[str, ...]]:
        """The table as text, headings first."""
        names = [name for name in self.rows[0].scores if not name.endswith(".rmse")]  # r2 says the same
        lines = [("jigsaw", "tiles right", *(name.replace(".", " ") for name in names))]
        if self.random:
            lines.append(("random init", f"{self.chance:.3f}", *_cells(self.random, names)))
        for row in self.rows:
            label = f"gap {row.gap}, jitter {row.jitter}"
            if row is self.rows[-1]:
                label += ", as configured"
            lines.append((label, f"{row.tile_accuracy:.3f}", *_cells(row.scores, names)))
        return lines


def look_for_shortcuts(config: Config, *, epochs: int, quiet: bool = False) -> Shortcuts:
    """Train the config's jigsaw a few epochs without gap and jitter, with the gap alone, and as configured.

    All start from the same weights and see the pictures in the same order; each has a run directory of its own, so that
    a stopped check goes on and a finished one is only read. Source of gap and jitter: Doersch et al. 2015, section 3.1.

    Args:
        config: as loaded; its first jigsaw is looked at, its heads' labels are what the features are tested on.
        epochs: of each training.
        quiet: print only the result.

    Returns:
        The table and what it means.

    Raises:
        UserError: no jigsaw in the config, one without gap and jitter, or fewer than one epoch.
        Interrupted: asked to stop; the same command goes on.
    """
    if epochs < 1:
        raise UserError(f"--epochs: expected 1 or more, received {epochs}")
    console = Console(quiet)
    pretext = chosen_jigsaw(config)
    own = _options(pretext)
    settings = [(0, 0), (own.gap, 0), (own.gap, own.jitter)]
    rows, random = [], {}
    for gap, jitter in dict.fromkeys(settings):
        trial = _trial(config, pretext, gap, jitter, epochs)
        run(trial, until="pretrain", quiet=quiet, replace=True)
        row, random = _read(trial, gap, jitter)
        rows.append(row)
    chance = 1 / own.grid**2
    found = Shortcuts(pretext.name, chance, tuple(rows), random, judge(rows, chance))
    console.say(always=True)
    console.say(f"shortcuts of pretext {pretext.name}, {epochs} epochs each", always=True)
    for line in aligned(found.table()):
        console.say(line, always=True)
    console.say(found.sentence, always=True)
    return found


def chosen_jigsaw(config: Config) -> Pretext:
    """The first pretext that is cut into tiles and trained.

    Raises:
        UserError: there is none, or it has neither gap nor jitter to compare with.
    """
    found = [each for each in config.pretext if each.kind in ("jigsaw", "tiles") and each.reuse is None]
    if not found:
        kinds = ", ".join(each.kind for each in config.pretext) or "none"
        raise UserError(
            f"--shortcuts: expected a pretext of kind jigsaw or tiles, received {kinds}; others have no borders"
        )
    own = _options(found[0])
    if not own.gap and not own.jitter:
        raise UserError(
            f"--shortcuts: expected a gap or a jitter to compare with none, received 0 and 0 for pretext "
            f"{found[0].name}; add for example pretext.{found[0].name}.options.gap=2"
        )
    return found[0]


def judge(rows: Sequence[ShortcutRow], chance: float) -> str:
    """Say whether borders are matched: tiles are found without a gap, and the features gain nothing by it.

    Args:
        rows: the first without gap and jitter, the last as configured.
        chance: tile accuracy by chance.
    """
    bare, own = rows[0], rows[-1]
    setting = f"gap {own.gap} and jitter {own.jitter}"
    if max(row.tile_accuracy for row in rows) < chance + LEARNED:
        return "No jigsaw has learned anything yet, so that nothing can be said: give more --epochs."
    jump = bare.tile_accuracy - own.tile_accuracy
    tiles = f"{bare.tile_accuracy:.0%} of the tiles without gap and jitter, {own.tile_accuracy:.0%} with {setting}"
    if jump < JUMP:
        return f"It does not match borders: it places {tiles}."
    gains = [bare.worth(probe) - own.worth(probe) for probe in PROBES]
    if any(map(math.isnan, gains)):
        return (
            f"Without gap and jitter it matches borders: it places {tiles}. Without labels no probe says what that is "
            "worth."
        )
    worth = ", ".join(
        f"{said} {bare.worth(probe):.3f} without and {own.worth(probe):.3f} with them"
        for probe, said in PROBES.items()
    )
    if min(gains) > NOISE:
        return (
            f"Borders help it to place {tiles}, and here they do not distract: the features are worth more without gap "
            f"and jitter ({worth}). Try smaller ones."
        )
    if max(gains) > NOISE:
        return (
            f"Borders help it to place {tiles}; the probes disagree on what that is worth ({worth}). Fine-tuning "
            "decides: jigstack ablate with --vary for the gap."
        )
    return (
        f"Without gap and jitter it matches borders instead of looking at the pictures: it places {tiles}, but the "
        f"features are then worth {'less' if max(gains) < -NOISE else 'no more'} ({worth}). Keep {setting}."
    )


def _trial(config: Config, pretext: Pretext, gap: int, jitter: int, epochs: int) -> Config:
    """The jigsaw alone under the same name, from which its draws are seeded, in a run directory of its own."""
    changed = pretext.model_copy(
        update={
            "init": None,
            "epochs": epochs,
            "collapse": "warn",
            "options": {**pretext.options, "gap": gap, "jitter": jitter},
        }
    )
    return derived(config, [changed], _labels(config), f"shortcuts-gap{gap}-jitter{jitter}-epochs{epochs}")


def _labels(config: Config) -> dict[str, Task]:
    """The trained heads, whose labels are probed, on one fold."""
    return {
        name: task.model_copy(update={"init": "scratch", "folds": [0]})
        for name, task in config.tasks.items()
        if not task.frozen
    }


def _read(config: Config, gap: int, jitter: int) -> tuple[ShortcutRow, dict[str, float]]:
    """What a finished run found, and the scores of the random network."""
    workspace = Workspace(config)
    stages = Stages(workspace)
    path = workspace.run_path
    held = [
        read_json(path / stage.folder / "history.json")[-1]["scalars"]["held_tile_accuracy"]
        for stage in stages.pretrain
    ]
    tables = average([read_json(path / stage.folder / "probes.json")["scores"] for stage in stages.probe])
    name = config.pretext[0].name
    row = ShortcutRow(gap, jitter, float(np.mean(held)), tables.get(name, {}))
    return row, tables.get("random init", {})


def _options(pretext: Pretext) -> TileOptions:
    return options_class(pretext.kind)(**pretext.options)


def _cells(scores: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [f"{scores[name]:.4f}" if name in scores else "–" for name in names]
