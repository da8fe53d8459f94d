"""Which options and which code stand behind the name of a method. Imports no method before it is used."""

import importlib
from dataclasses import dataclass
from typing import Any, Literal

from .errors import UserError, closest

_PACKAGE = __name__.rsplit(".", 2)[0]


@dataclass(frozen=True)
class Entry:
    """One method: import paths "module:Name" relative to the package, or a plug-in's classes themselves.

    A method of modality `table` takes rows of columns, and so only backbones of tables.
    """

    options: str | type
    implementation: str | type
    modality: Literal["image", "table"] = "image"
    """What it reads."""


PRETEXTS: dict[str, Entry] = {
    "jigsaw": Entry(options="configs.pretext:JigsawOptions", implementation="pretext.jigsaw:Jigsaw"),
    "tiles": Entry(options="configs.pretext:TilesOptions", implementation="pretext.tiles:Tiles"),
    "simsiam": Entry(options="configs.joint:SimSiamOptions", implementation="pretext.simsiam:SimSiam"),
    "dino": Entry(options="configs.joint:DinoOptions", implementation="pretext.dino:Dino"),
    "lejepa": Entry(options="configs.joint:LejepaOptions", implementation="pretext.lejepa:Lejepa"),
    "masked": Entry(
        options="configs.masked:MaskedOptions", implementation="pretext.masked:MaskedTable", modality="table"
    ),
    "simsiam_rows": Entry(
        options="configs.simsiam_rows:SimSiamRowsOptions",
        implementation="pretext.simsiam_rows:SimSiamRows",
        modality="table",
    ),
}

TABLE_BACKBONES: dict[str, Entry] = {
    "tabnet": Entry("configs.table_backbones:TabnetOptions", "backbones.tabnet:TabNet", "table"),
    "mlp": Entry("configs.table_backbones:MlpOptions", "backbones.mlp:Mlp", "table"),
    "resmlp": Entry("configs.table_backbones:ResidualMlpOptions", "backbones.resmlp:ResidualMlp", "table"),
    "cnn1d": Entry("configs.table_backbones:Cnn1dOptions", "backbones.cnn1d:Cnn1d", "table"),
}

BUILT_IN = frozenset(PRETEXTS)


def options_class(kind: str) -> Any:
    """The pydantic class of a pretext's options.

    Raises:
        UserError: if no pretext of that name is registered.
    """
    return load(_entry(kind).options)


def implementation(kind: str) -> Any:
    """The class that implements a pretext.

    Raises:
        UserError: if no pretext of that name is registered.
    """
    return load(_entry(kind).implementation)


def modality(kind: str) -> Literal["image", "table"]:
    """What a pretext takes.

    Raises:
        UserError: if no pretext of that name is registered.
    """
    return _entry(kind).modality


def register_pretext(
    name: str, *, options: type, implementation: type, modality: Literal["image", "table"] = "image"
) -> None:
    """Make a pretext known under a name; meant for the files under `plugins` in a config.

    Args:
        name: The `kind` by which configs ask for it; not one of jigstack's own.
        options: A subclass of `jigstack.configs.heads.Options`.
        implementation: The class to build, with the methods of `jigstack.pretext.jigsaw.Jigsaw`.
        modality: What it takes: batches of images, or of a table's rows.

    Raises:
        UserError: if the name is jigstack's own or another plug-in's, or `options` is not an options class.
    """
    from .heads import Options

    if not (isinstance(options, type) and issubclass(options, Options)):
        raise UserError(
            f"options: expected a subclass of jigstack.configs.heads.Options, received {options!r}"
        )
    if name in BUILT_IN:
        raise UserError(
            f"name: expected one that jigstack does not use itself, received {name!r}; choose another"
        )
    known = PRETEXTS.get(name)
    if known is not None and _module(known.implementation) != implementation.__module__:
        raise UserError(
            f"name: expected one that no other plug-in uses, received {name!r}"
            f" of {_module(known.implementation)}"
        )
    PRETEXTS[name] = Entry(options=options, implementation=implementation, modality=modality)


def _entry(kind: str) -> Entry:
    if kind not in PRETEXTS:
        near = closest(kind, PRETEXTS)
        raise UserError(
            f"kind: expected one of {', '.join(PRETEXTS)}, received {kind!r}"
            + (f"; did you mean {near!r}?" if near else "")
        )
    return PRETEXTS[kind]


def load(target: str | type) -> Any:
    """What an import path of an `Entry` names."""
    if not isinstance(target, str):
        return target
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(f"{_PACKAGE}.{module}"), name)


def _module(target: str | type) -> str:
    return target if isinstance(target, str) else target.__module__
