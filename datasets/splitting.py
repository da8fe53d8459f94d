"""Which fold validates which row: scikit-learn's splitters behind one function, and the texts they work on."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
)

from ..configs.data import Folds
from .findings import name_some

_MISSING = "(missing)"


def split_rows(
    options: Folds, seed: int, groups: np.ndarray, strata: np.ndarray, grouped: bool
) -> tuple[np.ndarray, int]:
    """Split N rows, which must stand in an order of their own (by id), by any scheme but `column`.

    Args:
        options: scheme, n, share.
        seed: for the shuffle.
        groups: N texts; each row its own where nothing must stay together.
        strata: N texts, all equal where nothing is to be balanced.
        grouped: whether `groups` came from a column (for the messages and the choice of hold-out).

    Returns:
        The fold that validates each row (N,), -1 for none, and the number of folds.

    Raises:
        ValueError: fewer groups, rows or rows of a stratum than folds, or an unfit scikit-learn.
    """
    n, scheme = options.n, options.scheme
    rows = np.arange(len(groups))
    unit = f"the {len(np.unique(groups))} groups" if grouped else f"the {len(rows)} rows"
    if scheme == "holdout":
        if len(np.unique(groups)) < 2:
            raise ValueError(f"folds: expected at least two groups or rows for a hold-out, received {unit}")
        return _hold_out(options.share, seed, groups, strata, grouped), 1
    if len(np.unique(groups)) < n:
        raise ValueError(f"folds.n: expected at most {unit}, received {n}. Ask for fewer folds.")
    if scheme in ("stratified", "stratified_group") and pd.Series(strata).value_counts().iloc[0] < n:
        raise ValueError(
            f"folds.stratify: expected a stratum with at least {n} rows, received {len(np.unique(strata))} "
            "strata that are all smaller. Stratify by a column with fewer values, or not at all."
        )
    if scheme == "kfold":
        splits = KFold(n, shuffle=True, random_state=seed).split(rows)
    elif scheme == "stratified":
        splits = StratifiedKFold(n, shuffle=True, random_state=seed).split(rows, strata)
    elif scheme == "group":
        # Without its own shuffle GroupKFold gives the next largest group to the smallest fold, which balances
        # rows; a seeded renaming of the groups shuffles those of equal size, in every scikit-learn.
        codes = np.unique(groups, return_inverse=True)[1]
        names = np.random.default_rng(seed).permutation(codes.max() + 1)
        splits = GroupKFold(n).split(rows, groups=names[codes])
    else:
        _refuse_old_stratified_group(sklearn.__version__)
        splits = StratifiedGroupKFold(n, shuffle=True, random_state=seed).split(rows, strata, groups)
    fold_of = np.full(len(rows), -1)
    with warnings.catch_warnings():
        # A stratum smaller than n is no mistake; `balance` shows it.
        warnings.filterwarnings("ignore", message="The least populated class")
        for fold, (_, valid) in enumerate(splits):
            fold_of[valid] = fold
    return fold_of, n


def _hold_out(share: float, seed: int, groups: np.ndarray, strata: np.ndarray, grouped: bool) -> np.ndarray:
    rows = np.arange(len(groups))
    stratified = len(np.unique(strata)) > 1
    if grouped and stratified:
        # One fold of k is the smaller side: scikit-learn has no StratifiedGroupShuffleSplit.
        k = min(max(2, round(1 / min(share, 1 - share))), len(np.unique(groups)))
        _refuse_old_stratified_group(sklearn.__version__)
        small = next(StratifiedGroupKFold(k, shuffle=True, random_state=seed).split(rows, strata, groups))[1]
        valid = small if share <= 0.5 else np.setdiff1d(rows, small)
    elif grouped:
        valid = next(GroupShuffleSplit(1, test_size=share, random_state=seed).split(rows, groups=groups))[1]
    elif stratified:
        # Strata of one row cannot be on both sides: they are drawn together.
        counts = pd.Series(strata).map(pd.Series(strata).value_counts()).to_numpy()
        pooled = np.where(counts < 2, "(rare)", strata)
        if (pooled == "(rare)").sum() == 1:
            pooled = np.where(pooled == "(rare)", pooled[counts.argmax()], pooled)
        valid = next(StratifiedShuffleSplit(1, test_size=share, random_state=seed).split(rows, pooled))[1]
    else:
        valid = next(ShuffleSplit(1, test_size=share, random_state=seed).split(rows))[1]
    fold_of = np.full(len(rows), -1)
    fold_of[valid] = 0
    return fold_of


def _refuse_old_stratified_group(version: str) -> None:
    if tuple(int(part) for part in version.split(".")[:2]) < (1, 8):
        raise ValueError(
            f"folds.scheme: expected scikit-learn 1.8 or newer for stratified_group, received {version}, whose "
            "shuffled StratifiedGroupKFold does not stratify. Upgrade scikit-learn, or use scheme: group."
        )


def own_folds(column: pd.Series) -> tuple[np.ndarray, int]:
    """Number the folds of a column; missing, empty and -1 give -1, as in scikit-learn's PredefinedSplit.

    Returns:
        The fold that validates each row (N,), and the number of folds.

    Raises:
        ValueError: no fold at all, or more than 50 different ones.
    """
    texts = np.array([_text(value) for value in column.tolist()], dtype=object)
    never = (texts == _MISSING) | (texts == "") | (texts == "-1")
    names = sorted(set(texts[~never]), key=natural_order)
    if not names:
        raise ValueError(
            f"folds.column: expected a fold for some rows of {column.name!r}, received none. Fill the column, "
            "or use another scheme."
        )
    if len(names) > 50:
        raise ValueError(
            f"folds.column: expected at most 50 different folds in {column.name!r}, received {len(names)}. Name "
            "the column of folds; a column of groups belongs to folds.group."
        )
    number = {name: i for i, name in enumerate(names)}
    return np.array([number.get(text, -1) for text in texts], dtype=np.int64), len(names)


def group_names(series: pd.Series) -> np.ndarray:
    """The groups as N texts.

    Raises:
        ValueError: a missing group; it would silently tie rows together or set them apart.
    """
    texts = np.array([_text(value) for value in series.tolist()], dtype=object)
    missing = series.index[(texts == _MISSING) | (texts == "")]
    if len(missing):
        raise ValueError(
            f"folds.group: expected a group in every row, received none in {len(missing)} rows of "
            f"{series.name!r} ({name_some(missing)}). Fill them: a row of its own needs a name of its own."
        )
    return texts


def strata_names(series: pd.Series, bins: int) -> np.ndarray:
    """The strata as N texts: numbers and dates with more than `bins` values by quantile, missing ones apart."""
    if isinstance(series.dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_any_dtype(series):
        series = series.map(lambda stamp: stamp.timestamp(), na_action="ignore")
    numeric = pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series)
    if numeric and series.nunique() > bins:
        values = series.to_numpy(dtype=float, na_value=np.nan)
        edges = np.unique(np.nanquantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
        codes = np.searchsorted(edges, values, side="left")
        texts = [f"quantile {code + 1}" for code in codes]
        return np.where(np.isnan(values), _MISSING, np.array(texts, dtype=object))
    return np.array([_text(value) for value in series.tolist()], dtype=object)


def _text(value: Any) -> str:
    if pd.isna(value):
        return _MISSING
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # integers with a gap arrive as floats
    return str(value).strip()


def natural_order(name: str) -> tuple[int, float, str]:
    """A key that sorts numbers and quantiles as numbers, before words."""
    number = name.removeprefix("quantile ")
    try:
        return 0, float(number), name
    except ValueError:
        return 1, 0.0, name
