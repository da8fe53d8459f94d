"""One function per sub-command: read the options, call the Python function of the same name.

The pipeline is imported inside the functions, so that `--help` costs neither torch nor pandas.
"""

from pathlib import Path
from typing import Annotated

import typer

from .._version import __version__
from ..configs.errors import UserError
from .outcome import told_plainly

app = typer.Typer(
    name="jigstack",
    help="Pretrain once without labels, fine-tune under one fold plan, stack, and believe the score.",
    epilog="Start with: jigstack init FOLDER, or jigstack sample emoji",
    no_args_is_help=True,
    add_completion=False,
    # Rich help costs a quarter of a second at every start.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
recipes_app = typer.Typer(rich_markup_mode=None)
app.add_typer(recipes_app, name="recipes")


Source = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A YAML file, or a run directory.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Change keys: seed=1 tasks.era.lr=3e-4 pretext.jig.epochs=50",
        show_default=False,
    ),
]
Smoke = Annotated[
    bool, typer.Option("--smoke", help="200 rows and one epoch: a short trial of the whole run.")
]
FoldList = Annotated[
    str | None, typer.Option("--folds", metavar="0,2", help="Train these folds only.", show_default=False)
]
Replace = Annotated[
    bool, typer.Option("--replace", help="Replace finished training whose config has changed.")
]
AllowPlugins = Annotated[
    bool,
    typer.Option("--allow-plugins", help="Run the plug-ins of a config in a run directory that you trust."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")]


def _numbers(folds: str | None) -> tuple[int, ...] | None:
    """The folds of `--folds 0,2`."""
    if folds is None:
        return None
    if not all(part.strip().isdigit() for part in folds.split(",")):
        raise UserError(f"--folds: expected numbers such as 0 or 0,2, received {folds!r}")
    return tuple(sorted({int(part) for part in folds.split(",")}))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"jigstack {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    config: Source,
    overrides: Overrides = None,
    smoke: Smoke = False,
    folds: FoldList = None,
    replace: Replace = False,
    allow_plugins: AllowPlugins = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Do the whole job: pretrain, finetune, features, stack.

    Finished stages are not done again; a stopped run goes on from its last epoch.

    \b
    Examples:
      jigstack run configs/quickstart.yaml
      jigstack run my.yaml --smoke
      jigstack run my.yaml --folds 0 tasks.era.lr=3e-4
    """
    with told_plainly(debug):
        from .. import pipeline

        pipeline.run(
            config,
            overrides or (),
            smoke=smoke,
            folds=_numbers(folds),
            replace=replace,
            allow_plugins=allow_plugins,
            quiet=quiet,
        )


@app.command()
def pretrain(
    config: Source,
    overrides: Overrides = None,
    smoke: Smoke = False,
    folds: FoldList = None,
    replace: Replace = False,
    allow_plugins: AllowPlugins = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train the pretexts only.

    Their checkpoints serve any number of tasks and runs.

    \b
    Examples:
      jigstack pretrain my.yaml
      jigstack pretrain my.yaml pretext.jig.epochs=50 --replace
    """
    with told_plainly(debug):
        from .. import pipeline

        pipeline.pretrain(
            config,
            overrides or (),
            smoke=smoke,
            folds=_numbers(folds),
            replace=replace,
            allow_plugins=allow_plugins,
            quiet=quiet,
        )


@app.command()
def finetune(
    config: Source,
    overrides: Overrides = None,
    smoke: Smoke = False,
    folds: FoldList = None,
    replace: Replace = False,
    allow_plugins: AllowPlugins = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train the heads on every fold and predict.

    Pretrains first if that is not done yet.

    \b
    Examples:
      jigstack finetune my.yaml
      jigstack finetune my.yaml --folds 0,2
    """
    with told_plainly(debug):
        from .. import pipeline

        pipeline.finetune(
            config,
            overrides or (),
            smoke=smoke,
            folds=_numbers(folds),
            replace=replace,
            allow_plugins=allow_plugins,
            quiet=quiet,
        )


@app.command()
def features(
    config: Source,
    overrides: Overrides = None,
    smoke: Smoke = False,
    folds: FoldList = None,
    replace: Replace = False,
    allow_plugins: AllowPlugins = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Export features of test-time augmentation.

    Statistics over the views of each fold model; earlier stages are done first if need be.

    \b
    Examples:
      jigstack features my.yaml features.views=d4
    """
    with told_plainly(debug):
        from .. import pipeline

        pipeline.features(
            config,
            overrides or (),
            smoke=smoke,
            folds=_numbers(folds),
            replace=replace,
            allow_plugins=allow_plugins,
            quiet=quiet,
        )


@app.command()
def stack(
    config: Source,
    overrides: Overrides = None,
    smoke: Smoke = False,
    replace: Replace = False,
    allow_plugins: AllowPlugins = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit level 2, print the ladder, write the submission.

    Earlier stages are done first if need be.

    \b
    Examples:
      jigstack stack my.yaml stack.target.models=[ridge]
    """
    with told_plainly(debug):
        from .. import pipeline

        pipeline.stack(
            config,
            overrides or (),
            smoke=smoke,
            replace=replace,
            allow_plugins=allow_plugins,
            quiet=quiet,
        )


@app.command()
def ablate(
    config: Source,
    overrides: Overrides = None,
    head: Annotated[
        str | None,
        typer.Option("--head", help="The task to judge by; else the first trained one.", show_default=False),
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(
            "--rows",
            metavar="A,B,...",
            help="Pretexts, their kinds, chained, weight files; else jigsaw,simsiam,lejepa,chained, on tables masked.",
            show_default=False,
        ),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option("--vary", metavar="KEY=A,B", help="A row for each value of a key; may be repeated."),
    ] = None,
    freeze: Annotated[
        bool, typer.Option("--freeze", help="A row for each way to thaw the backbone.")
    ] = False,
    optuna: Annotated[
        int, typer.Option("--optuna", metavar="N", min=0, help="Search the keys of --vary in N trials.")
    ] = 0,
    full: Annotated[bool, typer.Option("--full", help="All folds instead of the first three.")] = False,
    dry: Annotated[bool, typer.Option("--dry", help="Say what it would cost and do nothing.")] = False,
    smoke: Smoke = False,
    replace: Replace = False,
    allow_plugins: AllowPlugins = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Was pretraining worth it? Compare starts of one head, pair by pair.

    The same head, folds and budget from scratch, jigsaw, SimSiam, both, or your weights; probes beside.

    \b
    Examples:
      jigstack ablate my.yaml
      jigstack ablate my.yaml --rows jigsaw,dino,old.safetensors --dry
      jigstack ablate my.yaml --vary pretext.jig.options.gap=0,2,4
      jigstack ablate my.yaml --optuna 20 --vary tasks.era.lr=1e-4..1e-2
    """
    with told_plainly(debug):
        from .. import pipeline

        pipeline.ablate(
            config,
            overrides or (),
            head=head,
            rows=None if rows is None else [row.strip() for row in rows.split(",")],
            vary=vary or (),
            freeze=freeze,
            optuna=optuna,
            full=full,
            dry=dry,
            smoke=smoke,
            replace=replace,
            allow_plugins=allow_plugins,
            quiet=quiet,
        )


@app.command()
def check(
    config: Source,
    overrides: Overrides = None,
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Try rising learning rates: a hundred steps of every training.")
    ] = False,
    shortcuts: Annotated[
        bool, typer.Option("--shortcuts", help="Three short jigsaws: do they match borders of tiles?")
    ] = False,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of each jigsaw of --shortcuts; else 5.")] = None,
    allow_plugins: AllowPlugins = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Look at data and folds without training.

    Files, ids, groups, duplicates, balance; learning rates drawn; estimates of time, memory and disk.

    \b
    Examples:
      jigstack check my.yaml
      jigstack check my.yaml data.root=/mnt/paintings
      jigstack check my.yaml --find-lr
      jigstack check my.yaml --shortcuts --epochs 10
    """
    with told_plainly(debug):
        from .. import pipeline

        if epochs is not None and not shortcuts:
            raise UserError("--epochs: expected --shortcuts beside it, received none")
        report = pipeline.check(
            config,
            overrides or (),
            find_lr=find_lr,
            shortcuts=(epochs or 5) if shortcuts else None,
            allow_plugins=allow_plugins,
            quiet=quiet,
        )
    if report.data.failed:
        raise typer.Exit(2)


@app.command()
def init(
    data: Annotated[
        Path,
        typer.Argument(
            help="A folder with tables and pictures, or the train table itself.", show_default=False
        ),
    ],
    destination: Annotated[
        Path | None,
        typer.Argument(help="The config to write; by default FOLDER.yaml here.", show_default=False),
    ] = None,
    preset: Annotated[str, typer.Option("--preset", help="How much work: quick, good or best.")] = "good",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Look at new data and write a commented config that runs.

    Says what it guessed (id, pictures, groups, targets, heads) and why.

    \b
    Examples:
      jigstack init data/paintings
      jigstack init data/paintings/train.csv my.yaml --preset quick
    """
    with told_plainly(debug):
        from .. import pipeline

        pipeline.init(data, destination, preset=preset, quiet=quiet)


@app.command()
def sample(
    name: Annotated[str, typer.Argument(help="The data set: emoji or census.", show_default=False)],
    destination: Annotated[
        Path | None, typer.Argument(help="The folder to write; by default data/NAME.", show_default=False)
    ] = None,
    debug: Debug = False,
) -> None:
    """Get a demo data set.

    \b
    Examples:
      jigstack sample emoji
      jigstack sample emoji elsewhere/emoji
      jigstack sample census
    """
    with told_plainly(debug):
        from .. import pipeline

        pipeline.sample(name, destination)


@recipes_app.callback(invoke_without_command=True)
def recipes(context: typer.Context) -> None:
    """List the shipped configs, or copy one.

    \b
    Examples:
      jigstack recipes
      jigstack recipes copy quickstart
      jigstack recipes copy quickstart my.yaml
    """
    if context.invoked_subcommand is not None:
        return
    from ..configs.recipes import list_recipes

    for name, headline in list_recipes().items():
        typer.echo(f"{name:<14}{headline}")
    typer.echo("\nNext: jigstack recipes copy NAME")


@recipes_app.command("copy")
def copy_one(
    name: Annotated[str, typer.Argument(help="A recipe of `jigstack recipes`.", show_default=False)],
    destination: Annotated[
        Path | None,
        typer.Argument(
            help="A new file or an existing folder; by default NAME.yaml here.", show_default=False
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Copy a shipped config, to be changed and run.

    \b
    Example:
      jigstack recipes copy quickstart my.yaml
    """
    with told_plainly(debug):
        from ..configs.recipes import copy_recipe

        path = copy_recipe(name, destination)
        typer.echo(f"wrote {path}\nNext: jigstack run {path}")
