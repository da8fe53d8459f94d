"""What pretexts of tables teach a backbone: frozen features, tested on labels that no training saw.

    python benchmarks/rows.py gas path/to/gas/train.csv.gz --seeds 0 1 --out rows.jsonl
    python benchmarks/rows.py census path/to/census/train.csv --seeds 0 1 --out rows.jsonl

4,000 rows of each set (census: as many rich as poor), five folds drawn at random. Each pretext trains one backbone on
the rows without labels, its twentieth held out as in a run; then neighbours and a ridge predict the labels out of fold
from the features, as the probes of a run do. `random` is the backbone before training; `columns` no network at all. One
line of JSON for each trained backbone is appended to the file; those that are in it are not trained again.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jigstack.configs.schema import Backbone, Pretext
from jigstack.datasets.table_rows import TableRows
from jigstack.datasets.table_schema import TableSchema
from jigstack.pretext.pretrain import PretrainWork, begin, sources, split_held
from jigstack.pretext.probes import probe
from jigstack.pretext.probing import embed_first, raw_features
from jigstack.training.device import Machine
from jigstack.training.fit import fit

ROWS = 4000
FEW = 200
MACHINE = Machine("cpu", "fp32", False, 1)
PRETEXTS: dict[str, dict[str, Any]] = {
    "masked": {"kind": "masked"},
    "corrupted": {"kind": "simsiam_rows"},
    "neighbours": {"kind": "simsiam_rows", "options": {"neighbours": 10}},
}


def gas(frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, Backbone]:
    """Which of six gases sensors smell."""
    frame = frame.sample(ROWS, random_state=0)
    steps: Any = [{"kind": "quantile"}]
    return frame.filter(regex="^f"), frame["gas"].to_numpy(), Backbone(kind="resmlp", steps=steps)


def census(frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, Backbone]:
    """Who earns more than 50,000 dollars, in 40 columns of which 28 are text."""
    rich = frame["income"].to_numpy() == 1
    some = [frame[part].sample(ROWS // 2, random_state=0) for part in (~rich, rich)]
    both: pd.DataFrame = pd.concat(some)  # pyright: ignore[reportAssignmentType]
    return both.drop(columns=["id", "income"]), both["income"].to_numpy(), Backbone(kind="resmlp")


SETS: dict[str, Callable[[pd.DataFrame], tuple[pd.DataFrame, np.ndarray, Backbone]]] = {
    "gas": gas,
    "census": census,
}


def main() -> None:
    """Train what is missing, one line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", choices=SETS)
    parser.add_argument("table", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--kinds", nargs="+", help="backbones; else the residual network alone")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--only", nargs="+", default=["columns", "random", *PRETEXTS])
    parser.add_argument("--override", type=json.loads, default={}, help="of the pretext, as JSON")
    parser.add_argument("--out", type=Path, default=Path("rows.jsonl"))
    chosen = parser.parse_args()
    MACHINE.apply_threads()

    columns, labels, section = SETS[chosen.set](pd.read_csv(chosen.table))
    schema = TableSchema.fit(columns, list(columns.columns), steps=section.steps, seed=0)
    ids = np.array([f"r{number}" for number in range(len(columns))], dtype=object)
    inputs = TableRows(schema.encode(columns), ids, schema)
    classes = pd.get_dummies(pd.Series(labels)).to_numpy(dtype=np.float64)
    folds = np.random.default_rng(0).permutation(len(ids)) % 5

    done = {}
    if chosen.out.exists():
        done = {line["key"]: line for line in map(json.loads, chosen.out.read_text().splitlines())}
    for kind in chosen.kinds or [section.kind]:
        for seed in chosen.seeds:
            for name in chosen.only:
                key = json.dumps([chosen.set, kind, seed, name, chosen.epochs, chosen.batch, chosen.override])
                if key not in done:
                    begun = time.process_time()
                    options = PRETEXTS.get(name, {"kind": "masked"})
                    given = {"name": name, "epochs": chosen.epochs, "batch": chosen.batch, **options}
                    for part, value in chosen.override.items():
                        given[part] = given.get(part, {}) | value if part == "options" else value
                    work = PretrainWork(
                        Pretext.model_validate(given | {"optimiser": optimiser(given)}),
                        ids,
                        inputs,
                        section.model_copy(update={"kind": kind}),
                        None,
                        None,
                        MACHINE,
                        seed,
                    )
                    training = begin(work)
                    scalars: dict[str, float] = {}
                    if name in PRETEXTS:
                        trained, _ = sources(work, training.method, *split_held(work))
                        for record in fit(training, trained):
                            scalars = record.scalars
                    features = (
                        raw_features(inputs, ids)
                        if name == "columns"
                        else embed_first(training.method.backbone, inputs, ids, MACHINE)
                    )
                    health = dict(training.method.health(features))
                    seconds = time.process_time() - begun
                    done[key] = {
                        "key": key,
                        **scores(features, classes, folds),
                        **scalars,
                        **health,
                        "seconds": round(seconds, 1),
                    }
                    with chosen.out.open("a") as file:
                        file.write(json.dumps(done[key]) + "\n")
                told = {k: round(v, 4) for k, v in done[key].items() if k != "key"}
                print(f"{chosen.set} {kind} seed {seed} {name:12s}", told, flush=True)


def scores(features: torch.Tensor, classes: np.ndarray, folds: np.ndarray) -> dict[str, float]:
    """Accuracies, `few.` with 200 labels to learn from (mean of three draws), else with four fifths of the rows."""
    found = dict(probe(features, classes, "classes", folds))
    few = [
        dict(probe(features, classes, "classes", folds, labels=FEW, draws=np.random.default_rng(draw)))
        for draw in range(3)
    ]
    return found | {f"few.{name}": float(np.mean([each[name] for each in few])) for name in few[0]}


def optimiser(given: dict[str, Any]) -> str:
    """What a pretext trains with, if it is not asked for another."""
    from jigstack.configs.registry import options_class

    return given.get("optimiser", options_class(given["kind"]).optimiser)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
