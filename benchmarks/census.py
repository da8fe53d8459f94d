"""What a pretraining on all rows is worth on the census sample, the fewer labels the more: TabNet with and without.

The people of 1994 train, those of 1995 are judged by AUC. A `MaskedTablePretrainer` sees the rows of both years, none
of their labels; a `TabNetClassifier` then learns from so many labelled rows of 1994, once from scratch and once from
the pretrained backbone, with the same settings. LightGBM learns from the same labelled rows, its rounds found on a
tenth of them.

    jigstack sample census
    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/census.py data/census --out census.json

Each seed has its own pretraining, whose checkpoint stays below `--work`, its own labelled rows and its own start. A
result that stands in the JSON is not measured again: stop it when you like, the same line goes on.
"""

import argparse
import platform
import time
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import torch
from jigstack.datasets.files import read_json, write_json
from jigstack.datasets.table_cells import Kind
from jigstack.pretext import MaskedTablePretrainer
from jigstack.transfer import TabNetClassifier
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

CODES: dict[str, Kind] = dict.fromkeys(
    [
        "detailed_industry_recode",
        "detailed_occupation_recode",
        "own_business_or_self_employed",
        "veterans_benefits",
    ],
    "category",
)
NETWORK: dict[str, Any] = {
    "kinds": CODES,
    "options": {"n_d": 16, "n_a": 16, "steps": 3},
    "steps": [{"kind": "quantile"}],  # gains and dividends are zero for most and huge for some
}
PRETRAINING = {"epochs": 10, "batch": 2048, "ratio": 0.6}
TRAININGS = {1_000: (10, 64), 10_000: (10, 256), 100_000: (10, 1024)}  # labels: epochs, batch
WAYS = ("scratch", "pretrained", "lightgbm")
YEAR = "year"  # one value in each table


def pretrained(rows: pd.DataFrame, folder: Path, seed: int) -> tuple[MaskedTablePretrainer, dict[str, Any]]:
    """The pretrainer of a seed, read from its folder or fitted now, and what is to be told of it."""
    begun = time.perf_counter()
    if (folder / "backbone.json").is_file():
        found = MaskedTablePretrainer.load(folder)
    else:
        found = MaskedTablePretrainer(**PRETRAINING, **NETWORK, random_state=seed, verbose=2).fit(rows)
        found.save(folder)
    skill = np.array(list(found.column_skill_.values()))
    return found, {
        "median_skill": float(np.median(skill)),
        "columns": len(skill),
        "seconds": time.perf_counter() - begun,
    }


def odds(
    way: str,
    start: MaskedTablePretrainer,
    x: pd.DataFrame,
    y: NDArray[np.int64],
    test: pd.DataFrame,
    seed: int,
) -> NDArray[np.float64]:
    """What one of `WAYS` learns from labelled rows: the odds of a large income of the test rows, (N,)."""
    if way == "lightgbm":
        return boosted(x, y, test, seed)
    epochs, batch = TRAININGS[len(x)]
    own: dict[str, Any] = {"pretrained": start} if way == "pretrained" else NETWORK
    model = TabNetClassifier(epochs=epochs, batch=batch, random_state=seed, **own).fit(x, y)
    return model.predict_proba(test)[:, 1].astype(np.float64)


def boosted(x: pd.DataFrame, y: NDArray[np.int64], test: pd.DataFrame, seed: int) -> NDArray[np.float64]:
    """The odds that LightGBM gives to the test rows, (N,)."""
    text = [name for name in x if name in CODES or not pd.api.types.is_numeric_dtype(x[name])]
    levels = {
        name: pd.CategoricalDtype(sorted({*x[name].dropna(), *test[name].dropna()}, key=str)) for name in text
    }
    learn, stop = train_test_split(np.arange(len(x)), test_size=0.1, stratify=y, random_state=seed)
    x = x.astype(levels)
    model = lightgbm.LGBMClassifier(
        n_estimators=2000, learning_rate=0.05, num_leaves=31, random_state=seed, n_jobs=1, verbose=-1
    )
    model.fit(
        x.iloc[learn],
        y[learn],
        eval_set=[(x.iloc[stop], y[stop])],
        eval_metric="auc",
        callbacks=[lightgbm.early_stopping(50, verbose=False)],
    )
    return np.asarray(model.predict_proba(test.astype(levels)))[:, 1]


def report(results: dict[str, float], sizes: list[int], seeds: list[int]) -> None:
    """Print mean and standard deviation over the seeds, and what pretraining gained of each."""
    print("labels    scratch          pretrained       gain, points               LightGBM")
    for size in sizes:
        auc = {
            way: np.array(
                [results[key] for seed in seeds if (key := f"seed {seed}/{size} labels/{way}") in results]
            )
            for way in WAYS
        }
        if not all(map(len, auc.values())):
            continue
        cells = [f"{each.mean():.4f} ± {each.std(ddof=len(each) > 1):.4f}" for each in auc.values()]
        gain = 100 * (auc["pretrained"] - auc["scratch"])
        each = " ".join(f"{value:+.2f}" for value in gain)
        print(f"{size:7,d}   {cells[0]}  {cells[1]}  {gain.mean():+.2f} ({each})  {cells[2]}")


def main() -> None:
    """Measure what the JSON does not hold yet, and print all of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of `jigstack sample census`")
    parser.add_argument("--sizes", type=int, nargs="+", choices=list(TRAININGS), default=list(TRAININGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("runs/census-pretrained"))
    parser.add_argument("--out", type=Path, default=Path("census.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train, test = (pd.read_csv(options.data / f"{name}.csv", index_col="id") for name in ("train", "test"))
    truth = pd.read_csv(options.data / "solution.csv", index_col="id").loc[test.index, "income"].to_numpy()
    labels = train.pop("income").to_numpy()
    train, test = train.drop(columns=YEAR), test.drop(columns=YEAR)
    machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
    record = (
        read_json(options.out)
        if options.out.exists()
        else {"machine": machine, "pretraining": {}, "auc": {}, "seconds": {}}
    )
    for seed in options.seeds:
        start, told = pretrained(pd.concat([train, test]), options.work / f"seed{seed}", seed)
        record["pretraining"].setdefault(str(seed), told)
        for size in options.sizes:
            drawn, _ = train_test_split(
                np.arange(len(train)), train_size=size, stratify=labels, random_state=seed
            )
            for way in WAYS:
                key = f"seed {seed}/{size} labels/{way}"
                if key not in record["auc"]:
                    begun = time.perf_counter()
                    record["auc"][key] = float(
                        roc_auc_score(truth, odds(way, start, train.iloc[drawn], labels[drawn], test, seed))
                    )
                    record["seconds"][key] = time.perf_counter() - begun
                    write_json(options.out, record)
                print(f"{key}: AUC {record['auc'][key]:.4f}, {record['seconds'][key]:.0f} s", flush=True)
    print()
    report(record["auc"], options.sizes, options.seeds)


if __name__ == "__main__":
    main()
