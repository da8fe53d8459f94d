"""What the choices of `configs/atmacup11.yaml` are worth on the paintings.

    python benchmarks/paintings.py run path/to/paintings       # hours; stop it when you like, the same line goes on
    python benchmarks/paintings.py report path/to/paintings > report.txt

`run` does the recipe whole, then the trials of `TRIALS`, each a run directory below `--runs`; they share every stage
that they have in common. `report` prints the ladders, and beside them: the date in years against the constant and a
floor of colour features, what each head and each statistic over the views adds to level 2 (paired, nested, with its
interval).
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jigstack
import numpy as np
import pandas as pd
import torch
import yaml
from jigstack.configs import load_config
from jigstack.configs.schema import Stack
from jigstack.datasets.dates import fractional_years
from jigstack.datasets.predictions import Predictions
from jigstack.datasets.tags import Word2vecTarget
from jigstack.pipeline.workspace import Workspace
from jigstack.scoring.intervals import paired_interval
from jigstack.scoring.metrics import METRICS
from jigstack.stacking import Ladder
from jigstack.stacking.stack import stack_target
from jigstack.training.augment import resize
from jigstack.transfer.recovery import recover_names
from jigstack.transfer.scores import score_task
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor
from torch.nn import functional

RECIPE = Path(__file__).parent.parent / "configs" / "atmacup11.yaml"
HEADS = ("era", "era_class", "year", "tags")
STATS = ("mean", "var", "max", "min")
RUNGS = ("ridge", "lightgbm")


def recipe() -> dict[str, Any]:
    """The shipped config as a mapping."""
    return yaml.safe_load(RECIPE.read_text(encoding="utf-8"))


def era(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The recipe's `era` head with a third of the epochs and some keys changed."""
    return config["tasks"]["era"] | {"epochs": 10} | changes


def larger() -> dict[str, Any]:
    """Pretrained at 64 px, fine-tuned and predicted at 96."""
    config = recipe()
    config["tasks"] = {name: config["tasks"][name] | {"size": 96} for name in HEADS}
    return config | {"name": "larger"}


def pretexts() -> dict[str, Any]:
    """Boards against tiles against nothing, at the same number of epochs; the last two on fold 0."""
    config = recipe()
    board = config["pretext"][0] | {"name": "board", "epochs": 12}
    config["pretext"] = [board, board | {"name": "tiles", "kind": "tiles"}]
    config["tasks"] = {
        "from_board": era(config, init="board"),
        "from_tiles": era(config, init="tiles", folds=[0]),
        "from_scratch": era(config, init="scratch", folds=[0]),
    }
    config["stack"]["target"]["members"] = ["from_board"]
    return config | {"name": "pretexts"}


def freezing() -> dict[str, Any]:
    """How much of the backbone learns, and when; all but the first policy on fold 0."""
    config = recipe()
    config["tasks"] = {
        "all_learn": era(config),
        "head_only": era(config, freeze="all", folds=[0]),
        "head_first": era(config, unfreeze={"after": 2}, folds=[0]),
        "gradual": era(config, unfreeze={"after": 1, "every": 1}, folds=[0]),
        "top_stages": era(config, freeze=["stem", "layer1", "layer2"], folds=[0]),
        "layer_decay": era(config, layer_decay=0.6, folds=[0]),
    }
    config["stack"]["target"]["members"] = ["all_learn"]
    return config | {"name": "freezing"}


TRIALS: dict[str, Callable[[], dict[str, Any]]] = {
    "atmacup11": recipe,
    "pretexts": pretexts,
    "freezing": freezing,
    "larger": larger,
}


def load(name: str, data: str, runs: str, overrides: list[str]) -> Any:
    """The config of a trial on these paintings."""
    return load_config(TRIALS[name](), [f"data.root={data}", f"runs={runs}", *overrides])


def report(data: str, runs: str, overrides: list[str]) -> Iterator[str]:
    """The tables as lines of text; trials that are not finished are named."""
    for name in TRIALS:
        folder = Path(runs) / name
        if not (folder / "stack" / "target" / "ladder.json").is_file():
            yield f"== {name}: not finished"
            continue
        ladder = Ladder.read(folder / "stack" / "target")
        yield f"== {name}: nested RMSE of the rungs, then the compared heads"
        yield from (
            f"{rung.name:16s} {rung.nested:.4f}  ({rung.low:.4f} to {rung.high:.4f})" for rung in ladder.rungs
        )
        for pair in ladder.comparisons:
            yield (
                f"{pair.task:16s} {pair.score:.4f}  against {pair.against} {pair.against_score:.4f}, gain "
                f"{pair.gain:+.4f} ({pair.low:+.4f} to {pair.high:+.4f})"
            )
    workspace = Workspace(load("atmacup11", data, runs, overrides))
    folder = Path(runs) / "atmacup11"
    predictions = {head: Predictions.read(folder / "predictions" / f"{head}.parquet") for head in HEADS}
    yield "== the heads in their own units, out of fold"
    yield from own_units(workspace, predictions)
    yield "== what each part adds to level 2: nested RMSE, and the gain of having it (paired, 95 % interval)"
    yield from parts_of_level_2(workspace, predictions)


def own_units(workspace: Workspace, predictions: dict[str, Predictions]) -> Iterator[str]:
    """Every head on what it was taught, and the date from colours alone."""
    plan = workspace.plan
    for head, part in predictions.items():
        target = workspace.targets[head]
        for score in score_task(part, target, workspace.frame, plan, np.random.default_rng(0)):
            yield (
                f"{head:10s} {score.measure} {score.unit} {score.score:.4f} ({score.low:.4f} to {score.high:.4f}), "
                f"constant {score.constant:.4f}"
            )
        if isinstance(target, Word2vecTarget):
            found = recover_names(part, target, workspace.frame, plan, np.random.default_rng(0))
            if found is not None:
                yield f"{head:10s} of the 20 nearest rows:  {found.predicted}"
                yield f"{head:10s} nearest word vectors:    {found.nearest}"
                yield f"{head:10s} the 5 most frequent:     {found.frequent}"
                yield f"{head:10s} with the row's own vector: {found.ceiling}"
                yield from (
                    f"{'':10s} {', '.join(each.names)} -> {', '.join(each.found)}" for each in found.examples
                )
    column = workspace.frame.loc[:, "sorting_date"]
    years = pd.Series(fractional_years(column), index=workspace.frame.index).dropna()
    colours = colour_floor(workspace, years).reindex(years.index)
    error = float(np.sqrt(np.mean((colours - years) ** 2)))
    yield f"year       from colour features: rmse {error:.2f} years, r2 {1 - error**2 / float(np.var(years)):.3f}"


def colour_floor(workspace: Workspace, values: pd.Series) -> pd.Series:
    """Gradient boosting on 32 principal components of 16 x 16 pictures and a colour histogram, under the same folds."""
    store, plan = workspace.store(), workspace.plan
    ids = values.index.to_numpy()
    ids = ids[store.readable[store.rows(ids)]]
    small = torch.cat(
        [resize(store.gather(store.rows(part)), 16) for part in np.array_split(ids, 64)]
    )  # (N, 3, 16, 16)
    cells = (small * 3.999).long()  # four steps a channel: 64 colours
    colours = (
        functional.one_hot((cells * torch.tensor([16, 4, 1]).view(1, 3, 1, 1)).sum(1), 64)
        .float()
        .mean((1, 2))
    )
    pixels = pd.DataFrame(small.flatten(1).numpy(), index=ids)
    histogram = pd.DataFrame(colours.numpy(), index=ids)
    guesses: list[pd.Series] = []
    for fold in range(plan.n):
        train, valid = (np.intersect1d(part, ids) for part in (plan.train_ids(fold), plan.valid_ids(fold)))
        components = PCA(32, random_state=0).fit(pixels.loc[train])
        features = np.hstack([components.transform(pixels), histogram])
        frame = pd.DataFrame(features, index=ids)
        model = HistGradientBoostingRegressor(random_state=0, max_iter=200, learning_rate=0.05)
        model.fit(frame.loc[train].to_numpy(), values.loc[train])
        guesses.append(pd.Series(model.predict(frame.loc[valid].to_numpy()), index=valid))
    return pd.Series(pd.concat(guesses))


def parts_of_level_2(workspace: Workspace, predictions: dict[str, Predictions]) -> Iterator[str]:
    """The ladder again without each head and without each statistic, on the same rows."""
    plan = workspace.plan
    whole = level_2(workspace, predictions, HEADS, STATS)
    truth = workspace.frame.loc[whole["ridge"].index, ["target"]].to_numpy(dtype=float)
    groups = plan.group_of(whole["ridge"].index)

    def line(name: str, reduced: dict[str, pd.DataFrame]) -> str:
        cells = []
        for rung in RUNGS:
            first, second = reduced[rung].to_numpy(), whole[rung].to_numpy()
            gain = paired_interval(METRICS["rmse"], truth, first, second, groups, np.random.default_rng(0))
            error, best = (float(np.sqrt(np.mean((values - truth) ** 2))) for values in (first, second))
            cells.append(
                f"{rung} {error:.4f}, gain {error - best:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"
            )
        return f"{name:14s} " + "   ".join(cells)

    yield line("everything", whole)
    for head in HEADS:
        others = tuple(name for name in HEADS if name != head)
        yield line(f"without {head}", level_2(workspace, predictions, others, STATS))
    for stat in STATS:
        others = tuple(name for name in STATS if name != stat)
        yield line(f"without {stat}", level_2(workspace, predictions, HEADS, others))
    for head in HEADS:
        yield line(f"{head} alone", level_2(workspace, predictions, (head,), STATS))
    yield line("means alone", level_2(workspace, predictions, HEADS, ("mean",)))


def level_2(
    workspace: Workspace, predictions: dict[str, Predictions], heads: tuple[str, ...], stats: tuple[str, ...]
) -> dict[str, pd.DataFrame]:
    """Nested predictions of ridge and LightGBM on some heads' features."""
    config = workspace.config
    options = Stack(**config.stack["target"].model_dump() | {"members": list(heads), "models": list(RUNGS)})
    with tempfile.TemporaryDirectory() as folder:
        ladder = stack_target(
            "target",
            options,
            {head: predictions[head] for head in heads},
            workspace.frame.filter(["target"]),
            workspace.plan,
            workspace.test.ids,
            stats=list(stats),
            seed=config.seed,
            threads=workspace.machine.threads,
            folder=Path(folder),
        )
    return {rung: ladder.nested(rung).sort_index() for rung in RUNGS}


def main() -> None:
    """Run the trials, or print what the finished ones show."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=["run", "report"])
    parser.add_argument("data", help="the paintings' folder")
    parser.add_argument("--runs", default="runs/paintings")
    parser.add_argument("--only", nargs="+", choices=list(TRIALS), default=list(TRIALS))
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="overrides of every trial")
    options = parser.parse_args()
    if options.what == "report":
        for line in report(options.data, options.runs, options.set):
            print(line, flush=True)
        return
    for name in options.only:
        jigstack.run(load(name, options.data, options.runs, options.set))


if __name__ == "__main__":
    main()
