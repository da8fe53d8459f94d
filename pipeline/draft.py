"""A first config for data that nobody has described yet: guesses, and beside each its reason."""

import json
import math
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from ..datasets.roles import Label, Roles
from ..datasets.survey import PictureSurvey, Survey
from .table_draft import batch_for, codes, head_epochs, joining, masked_epochs, steps_for, unreadable

PresetName = Literal["quick", "good", "best"]
SIZES = (32, 48, 64, 96, 128)
FEW_IMAGES, FEW_ROWS = 4000, 2000  # fewer are shown more often
MOST_BOOSTED = 5000  # LightGBM is left out of stacks of more columns times outputs
_PLAIN = re.compile(r"^[A-Za-z_/][A-Za-z0-9_./-]*$")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_WIDTH = 108


@dataclass(frozen=True)
class Preset:
    """How much work a config asks for."""

    folds: int
    size: int
    backbone: str
    pretext_epochs: int
    epochs: int
    seeds: int
    what: str


PRESETS: dict[PresetName, Preset] = {
    "quick": Preset(3, 64, "resnet10t", 10, 10, 1, "a small network, a first look"),
    "good": Preset(5, 96, "resnet18", 40, 30, 1, "hours without a GPU"),
    "best": Preset(5, 128, "resnet34", 100, 50, 2, "for a GPU, or for days"),
}


class Draft:
    """The text of a config and the guesses in it.

    Args:
        name: of the run.
        root: `data.root` as the config shall say it.
        found: the files.
        roles: the columns.
        preset: how much work.

    Attributes:
        guesses: (what, why), in the order of the text.
    """

    def __init__(self, name: str, root: str, found: Survey, roles: Roles, preset: PresetName) -> None:
        self.name, self.root, self.found, self.roles = name, root, found, roles
        self.preset, self.amount = preset, PRESETS[preset]
        self.guesses: list[tuple[str, str]] = []
        self.pictures = found.pictures
        self.mains = [label for label in roles.labels if label.main]
        if not self.mains:
            known = [*(f"{label.name} ({label.reason})" for label in roles.labels)]
            known += [f"{name} ({why})" for name, why in roles.unused.items()]
            others = ", ".join(known[:8]) or "none"
            raise ValueError(
                f"DATA: expected a column to predict, of numbers or of up to 50 classes, that the test table lacks, "
                f"received {others}; without test rows name it target"
            )
        if self.pictures is None and not roles.features:
            raise ValueError(
                f"DATA: expected pictures in {found.root} that are named by a column, or columns that train and test "
                "share, received neither: there is nothing to learn from. Write a column with the path of each picture"
            )

        self.codes, self.no_network = [], "pictures are learned from"
        if self.pictures is None:
            self.codes = codes(found.frame, roles.features)
            self.no_network = unreadable(found.frame, roles.features, self.codes)
        why = "rows without labels serve the pretraining of a network of the table columns, and none is proposed"
        self.extra, self.unused = dict[str, int](), {**found.unused, **dict.fromkeys(found.extra, why)}
        if self.no_network is None:
            self.extra, lacking = joining(found.extra, roles.features)
            self.unused = {**found.unused, **lacking}

    def text(self) -> str:
        """The whole config."""
        self.guesses = []
        parts = [self._head(), self._data(), self._folds()]
        if self.pictures is not None:
            size = input_size(self.pictures, self.amount)
            parts += [self._backbone(), self._pretext(self.pictures, size), self._tasks(self.pictures, size)]
            parts += [[f"transfer: {{seeds: {self.amount.seeds}}}"]] if self.amount.seeds > 1 else []
            views = "none" if self.pictures.arrays else "auto"
            parts.append([f"features: {{views: {views}, stats: [mean, var, max, min]}}"])
        elif self.no_network is None:
            parts += [self._rows(), self._masked(), self._table_tasks()]
            parts += [[f"transfer: {{seeds: {self.amount.seeds}}}"]] if self.amount.seeds > 1 else []
        parts.append(self._stacks())
        return "\n\n".join("\n".join(part) for part in parts) + "\n"

    def _say(self, what: str, why: str) -> Iterator[str]:
        """A comment of one or more lines, and the same for the terminal."""
        self.guesses.append((what, why))
        yield from _comment(why)

    def _unused(self, unused: Mapping[str, str]) -> Iterator[str]:
        for name, why in unused.items():
            self.guesses.append((f"{name} is not used", why))
            yield from _comment(f"{name} is not used: {why}")

    def _head(self) -> list[str]:
        train, test = len(self.found.frame), len(self.found.test_frame)
        effort = f", preset {self.preset}"
        effort += f": {self.amount.what}" if self.pictures is not None else ""
        return [
            f"# {self.name}: a first config, written by `jigstack init`{effort}.",
            f"# {train:,} train rows, {test:,} test rows. Each guess has its reason above it; change what is wrong.",
            "#",
            "# Next       jigstack check THIS_FILE    what is odd about the data, and how long a run takes",
            "#            jigstack run THIS_FILE --smoke, then without --smoke",
            "# Paths are relative to data.root, and that to the folder the command is run in.",
            "",
            f"name: {_value(self.name)}",
            "seed: 0",
        ]

    def _data(self) -> list[str]:
        found = self.found
        lines = ["data:", f"  root: {_value(self.root)}"]
        lines += _indent(self._say(f"id: {found.id}", f"the rows' name: {found.reasons['id']}"))
        lines.append(f"  id: {_value(found.id)}")
        lines.append(f"  train: {_values(found.train)}")
        if found.test:
            lines.append(f"  test: {_values(found.test)}")
        lines += _indent(self._unused(self.unused))
        if self.extra:
            why = f"{sum(self.extra.values()):,} rows without labels join the pretraining"
            lines += [*_indent(self._say("unlabelled rows", why)), f"  unlabelled: {_values([*self.extra])}"]
        if self.pictures is not None and self.pictures.spare is not None:
            lines.append(
                f"  unlabelled: {_values([self.pictures.spare])}    # pictures of no row, for pretraining"
            )
        if found.lists and self.pictures is not None:
            lines.append("  lists:")
            for name, file in found.lists.items():
                lines += _indent(self._say(f"list {name}: {file}", found.reasons[f"lists.{name}"]), 4)
                lines.append(f"    {_value(name)}: {_value(file)}")
        lines += _indent(self._images())
        if self.roles.features and (self.pictures is None or found.test):
            count = len(self.roles.features)
            why = f"{count:,} columns that train and test share: {_some(self.roles.features)}"
            lines += _indent(
                self._say("table columns: auto", why if found.test else f"all {count:,} other columns")
            )
            lines.append("  columns: auto")
        if self.codes:
            why = f"{_some(self.codes)}: numbers that are codes, by their names; networks read them as categories"
            lines += _indent(self._say("codes", why))
            lines.append(f"  kinds: {_flow(dict.fromkeys(map(_value, self.codes), 'category'))}")
        if found.sample is not None:
            lines.append(f"  sample_submission: {_value(found.sample)}")
        return lines

    def _images(self) -> Iterator[str]:
        if self.pictures is None:
            yield from self._say("no pictures", "no pictures that a column names: table columns only")
            yield "images: null"
            return
        yield from self._say(f"images: {self.pictures.pattern}", "; ".join(self.pictures.reasons))
        yield f"images: {json.dumps(self.pictures.pattern, ensure_ascii=False)}"
        settings: dict[str, Any] = {}
        if self.pictures.channels == 1:
            settings["channels"] = 1
        if self.pictures.window is not None:
            settings["window"] = list(self.pictures.window)
        if settings:
            yield f"decode: {_flow(settings)}"

    def _folds(self) -> list[str]:
        roles, wanted = self.roles, self.amount.folds
        main = self.mains[0]
        lines = ["folds:"]
        if roles.fold is not None:
            lines += _indent(self._say(f"folds: column {roles.fold}", roles.reasons["fold"]))
            if roles.group is not None:
                lines += _indent(_comment(f"equal values of {roles.group} stay together in them"))
            return [*lines, "  scheme: column", f"  column: {_value(roles.fold)}"]
        stratify = main.columns[0] if len(main.columns) == 1 and self._can_stratify(main, wanted) else None
        if roles.group is not None:
            count = len(set(self.found.frame[roles.group].dropna()))
            wanted = min(wanted, count)
            few = count < 4 * wanted
            lines += _indent(
                self._say(
                    f"group: {roles.group}",
                    f"rows of one {roles.group} stay together: {roles.reasons['group']}",
                )
            )
            lines.append(f"  scheme: {'group' if stratify is None or few else 'stratified_group'}")
            lines += [f"  n: {wanted}", f"  group: {_value(roles.group)}"]
            stratify = None if few else stratify
        else:
            why = "no column looks like a group; if rows belong together (one person, one place), name it as group"
            lines += _indent(self._say("no group", why))
            lines += [f"  scheme: {'kfold' if stratify is None else 'stratified'}", f"  n: {wanted}"]
        if stratify is not None:
            lines.append(f"  stratify: {_value(stratify)}")
        return lines

    def _can_stratify(self, label: Label, folds: int) -> bool:
        values = self.found.frame[label.columns[0]].tolist()
        if pd.isna(values).any():
            return False
        return label.kind == "number" or min(Counter(values).values()) >= folds

    def _backbone(self) -> list[str]:
        lines = ["backbones:", f"  img: {{kind: timm, name: {self.amount.backbone}}}"]
        if self.roles.features and self.found.test:
            why = (
                f"a network of the {len(self.roles.features):,} table columns too: add `rows: {{kind: resmlp}}` here, "
                "a pretext `{name: mask, kind: masked, backbone: rows}` and heads of it; the stack joins both"
            )
            lines += _indent(_comment(why))
        return lines

    def _rows(self) -> list[str]:
        steps, why = steps_for(self.found.frame, self.roles.features, self.codes)
        written = f", steps: {_flow(steps)}" if steps else ""
        return [
            "backbones:",
            *_indent(self._say(f"network of the table columns: resmlp{written}", why)),
            f"  rows: {{kind: resmlp{written}}}",
        ]

    def _masked(self) -> list[str]:
        count = len(self.found.frame) + len(self.found.test_frame) + sum(self.extra.values())
        epochs = masked_epochs(count, self.amount.pretext_epochs / PRESETS["good"].pretext_epochs)
        why = f"cells are hidden and guessed from the others; {count:,} rows, the fewer the more epochs"
        return [
            "pretext:",
            *_indent(self._say(f"masked, {epochs} epochs", why)),
            f"  - {{name: mask, kind: masked, epochs: {epochs}, batch: {batch_for(count)}}}",
        ]

    def _table_tasks(self) -> list[str]:
        rows, shown = len(self.found.frame), self.found.test
        epochs = head_epochs(rows, self.amount.epochs / PRESETS["good"].epochs)
        trained = [f"epochs: {epochs}", f"batch: {batch_for(rows)}"]
        # Without test rows nothing tells other labels from columns to learn from.
        labels = [label for label in self.roles.labels if shown or label.main]
        taken = {label.name for label in self.roles.labels}
        lines, scratch = ["tasks:"], list[str]()
        for label in labels:
            for wanted, kind, options, why in _heads(label):
                name = wanted if wanted == label.name else _apart(wanted, taken)
                lines += _indent(self._say(f"head {name}: {kind} on {_some(label.columns)}", why))
                head = [f"    kind: {kind}", *_columns(label.columns), *(f"    {part}" for part in trained)]
                head += [f"    options: {_flow(options)}"] if options else []
                lines += [f"  {name}:", *head, "    init: mask"]
                if label is self.mains[0] and wanted == label.name:
                    scratch = [f"  {_apart('scratch', taken)}:", *head, "    folds: [0]"]
        why = "the same without pretraining, on one fold, to compare; the stack leaves it out"
        lines += [*_indent(self._say("head from scratch", why)), *scratch]
        return [*lines, *_indent(self._unused(self.roles.unused))]

    def _pretext(self, pictures: PictureSurvey, size: int) -> list[str]:
        times = min(5, max(1, round(FEW_IMAGES / max(1, pictures.count))))
        epochs = self.amount.pretext_epochs * times
        why = f"pictures of about {pictures.width} x {pictures.height} at {size} pixels"
        why += f"; {times} times the epochs of the preset, as {pictures.count:,} are few" if times > 1 else ""
        # Spectra have an up and a down; of photographs only their owner knows.
        upright = ", options: {dihedral: false}" if pictures.arrays else ""
        return [
            "pretext:",
            *_indent(self._say(f"jigsaw at {size} px, {epochs} epochs", why)),
            f"  - {{name: jig, kind: jigsaw, size: {size}, epochs: {epochs}{upright}}}",
        ]

    def _tasks(self, pictures: PictureSurvey, size: int) -> list[str]:
        rows = len(self.found.frame)
        times = min(3, max(1, round(FEW_ROWS / max(1, rows))))
        shared = ["init: jig", f"size: {size}", f"epochs: {self.amount.epochs * times}"]
        shared += ["batch: 32"] if rows < 1000 else []
        shared += ["augment: {hflip: false}"] if pictures.arrays else []
        lines = ["tasks:"]
        if times > 1:
            lines += _indent(_comment(f"{times} times the epochs of the preset, as {rows:,} rows are few"))
        taken = {label.name for label in self.roles.labels}
        for label in self.roles.labels:
            for wanted, kind, options, why in _heads(label):
                name = wanted if wanted == label.name else _apart(wanted, taken)
                lines += _indent(self._say(f"head {name}: {kind} on {_some(label.columns)}", why))
                lines += [f"  {name}:", f"    kind: {kind}", *_columns(label.columns)]
                lines += [f"    {part}" for part in shared]
                if options:
                    lines.append(f"    options: {_flow(options)}")
        if self.found.lists:
            why = f"the names of {_some(list(self.found.lists))} as one vector a row"
            name = _apart("names", taken)
            lines += _indent(self._say(f"head {name}: word2vec", why))
            lines += [f"  {name}:", "    kind: word2vec", *_columns(list(self.found.lists))]
            lines += [f"    {part}" for part in shared]
        lines += _indent(self._unused(self.roles.unused))
        return lines

    def _stacks(self) -> list[str]:
        lines = ["stack:", *_indent(_comment(f"to be predicted: {self.roles.reasons['target']}"))]
        table = bool(self.roles.features) and (self.pictures is None or bool(self.found.test))
        for label in self.mains:
            metric, why = self._metric(label)
            lines += _indent(self._say(f"predict {label.name}: {metric}", f"{label.reason}; {why}"))
            target = label.columns[0] if len(label.columns) == 1 else None
            lines.append(f"  {label.name}:")
            lines += [f"    target: {_value(target)}"] if target else _columns(label.columns, "target")
            lines.append(f"    metric: {metric}")
            models = ["lightgbm", "ridge"]
            outputs = (
                len(label.columns) if label.kind != "class" else (label.values if label.values > 2 else 1)
            )
            if table and self.pictures is None and outputs * len(self.roles.features) > MOST_BOOSTED:
                models = ["ridge"]
                lines += _indent(
                    self._say(
                        f"models of {label.name}: ridge",
                        f"{len(self.roles.features):,} columns for {outputs} outputs keep LightGBM busy for hours",
                    ),
                    4,
                )
            lines.append(f"    models: {_flow(models)}")
            lines += ["    table: true"] if table else []
            if label.range is not None and metric == "rmse":
                lines.append(f"    range: {_flow([_short(end) for end in label.range])}")
        return lines

    def _metric(self, label: Label) -> tuple[str, str]:
        if label.kind != "class":
            in_order = (
                "; if they are names of classes, write accuracy and drop range"
                if label.kind == "level"
                else ""
            )
            return "rmse", f"numbers are scored by rmse{in_order}"
        if self.found.sample is not None:
            return (
                "logloss",
                "classes of a sample submission are scored by logloss; change it if the task says otherwise",
            )
        if label.values == 2:
            return "auc", "two classes are scored by auc"
        return "accuracy", "classes are scored by accuracy"


def input_size(pictures: PictureSurvey, preset: Preset) -> int:
    """The largest of `SIZES` that exceeds neither the pictures nor the preset; pixels."""
    side = math.sqrt(pictures.height * pictures.width)
    return max([size for size in SIZES if size <= min(side, preset.size)], default=SIZES[0])


def _heads(label: Label) -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """Name, kind, options and reason of each head that a label gets."""
    if label.kind == "date":
        yield label.name, "date", {}, label.reason
    elif label.kind == "names":
        options = {} if label.separator is None else {"separator": label.separator}
        yield label.name, "word2vec", options, label.reason
    elif label.kind == "class":
        yield label.name, "onehot", {}, label.reason
    else:
        bounds = {} if label.range is None else {"range": [_short(end) for end in label.range]}
        yield label.name, "regression", bounds, label.reason
        if label.kind == "level":
            yield (
                f"{label.name}_class",
                "onehot",
                {},
                "the same values as classes, which tell more than their mean",
            )


def _apart(name: str, taken: set[str]) -> str:
    """A name that differs from those taken, and is then taken too."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _comment(text: str) -> Iterator[str]:
    yield from (f"# {line}" for line in textwrap.wrap(text, 96, break_long_words=False))


def _indent(lines: Iterator[str] | Sequence[str], by: int = 2) -> list[str]:
    return [" " * by + line for line in lines]


def _value(value: Any) -> str:
    """A scalar in YAML; text that could be read as something else is quoted."""
    if not isinstance(value, str):
        return json.dumps(value)
    plain = _PLAIN.match(value) and value.casefold() not in _WORDS
    return value if plain else json.dumps(value, ensure_ascii=False)


def _values(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_value, values))}]"


def _flow(value: Any) -> str:
    """A collection on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _value(value)


def _columns(columns: Sequence[str], key: str = "columns") -> list[str]:
    """`    columns: [a, b]`, over several lines if there are many."""
    one = f"    {key}: {_values(columns)}"
    if len(one) <= _WIDTH:
        return [one]
    lines, line = [f"    {key}:"], "      ["
    for place, column in enumerate(columns):
        part = _value(column) + ("]" if place == len(columns) - 1 else ", ")
        if len(line) + len(part) > _WIDTH:
            lines.append(line.rstrip())
            line = "       "
        line += part
    return [*lines, line]


def _some(names: Sequence[str], most: int = 4) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def _short(number: float) -> float | int:
    return int(number) if float(number).is_integer() else number
