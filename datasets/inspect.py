"""A look at the data before anything is trained: what is broken, repeated or lopsided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .duplicates import Progress, check_near_duplicates
from .findings import Finding, Severity, name_some
from .folds import FoldPlan
from .images import ImageStore
from .metadata import Kind, check_metadata
from .pictures import Pictures
from .tables import Table, check_tables
from .windows import NOT_BYTES, suggest_window

_UNEQUAL = 2.0  # folds whose sizes differ by more than this factor are pointed out


@dataclass(frozen=True)
class DataReport:
    """What `jigstack check` prints about the data."""

    counts: dict[str, int]
    """Rows, columns, images, groups and folds by name, in the order to print."""
    balance: pd.DataFrame | None
    """The folds, as `FoldPlan.balance` shows them; None without a plan."""
    findings: tuple[Finding, ...]
    """Errors first, then warnings, then notes."""

    @property
    def failed(self) -> bool:
        """Whether a finding is an error."""
        return any(finding.severity == "error" for finding in self.findings)


def inspect_data(
    train: Table,
    test: Table | None = None,
    pictures: Pictures | None = None,
    plan: FoldPlan | None = None,
    extra_ids: Sequence[str] = (),
    targets: Mapping[str, Kind] | None = None,
    progress: Progress | None = None,
) -> list[Finding]:
    """Look for everything that would break a run or flatter its score.

    Args:
        train: the labelled rows.
        test: the rows to predict.
        pictures: images of train, test and extra ids.
        plan: the folds of the train rows.
        extra_ids: ids of unlabelled images among them.
        targets: the columns that are learned, numbers or classes: whether files tell them before they are decoded.
        progress: told (done, all) while pictures are compared.

    Returns:
        Findings, errors first. Besides those of `check_tables`, `check_near_duplicates` and `check_metadata`:
        `images-missing`, `images-empty`, `images-broken`, `images-without-window`, `image-ids-unknown`,
        `rows-without-image`, `rows-unreadable`, `no-images`, `duplicates-across-folds`, `duplicates-in-train`,
        `duplicates-of-test`, `folds-unequal`, `stratum-absent`, `rows-never-validated`.
    """
    findings = check_tables(train, test)
    if pictures is not None:
        findings += pictures.files.findings()
        findings += check_images(train, test, pictures, extra_ids)
        findings += check_duplicates(train, test, pictures, plan)
        findings += check_near_duplicates(train, test, pictures, plan, progress)
    if pictures is not None and plan is not None and targets:
        findings += check_metadata(train, pictures, plan, targets)
    if plan is not None:
        findings += check_folds(plan)
    order = ("error", "warning", "note")
    return sorted(findings, key=lambda finding: order.index(finding.severity))


def report_data(
    train: Table,
    test: Table | None = None,
    pictures: Pictures | None = None,
    plan: FoldPlan | None = None,
    extra_ids: Sequence[str] = (),
    targets: Mapping[str, Kind] | None = None,
    progress: Progress | None = None,
) -> DataReport:
    """Count what is there and inspect it; the arguments are those of `inspect_data`."""
    counts = {"train rows": len(train), "train columns": train.frame.shape[1]}
    if test is not None:
        counts["test rows"] = len(test)
    for name, rows in train.lists.items():
        counts[f"{name} entries"] = len(rows)
        counts[f"{name} names"] = len(set(rows["name"]))
    if pictures is not None:
        counts |= count_images(pictures, extra_ids)
    if extra_ids:
        counts["unlabelled images"] = len(extra_ids)
    if plan is not None:
        counts |= {"groups": len(set(plan.groups["group"]))} if plan.has_groups else {}
        counts["folds"] = plan.n
    findings = tuple(inspect_data(train, test, pictures, plan, extra_ids, targets, progress))
    return DataReport(counts, None if plan is None else plan.balance(), findings)


def count_images(pictures: Pictures, extra_ids: Sequence[str] = ()) -> dict[str, int]:
    """How many images there are and how many cannot be read; of a list file also how many rows have several or none."""
    store = pictures.store
    if pictures.one_each:
        return {"images": len(store), "unreadable images": len(store.problems)}
    named = store.paths != ""
    rows = pd.Index(pictures.owners).unique().difference(pd.Index(extra_ids), sort=False).to_numpy()
    return {
        "images": int(named.sum()),
        "unreadable images": int((named & ~store.readable).sum()),
        "rows with several images": int((pictures.numbers == 1).sum()),
        "rows without a readable image": int((~pictures.readable(rows)).sum()),
    }


def check_images(
    train: Table, test: Table | None, pictures: Pictures, extra_ids: Sequence[str] = ()
) -> list[Finding]:
    """List images that cannot be read, by name, and rows that have none.

    Missing and unreadable images of rows are warnings, since training skips and counts them; no readable image at
    all is an error.
    """
    store, several = pictures.store, not pictures.one_each
    findings: list[Finding] = []
    extra = set(extra_ids)
    imageless: list[str] = []
    for kind, what in (
        ("missing", "are not there"),
        ("empty", "have zero bytes"),
        ("broken", "cannot be decoded"),
    ):
        bad = {name: problem for name, problem in store.problems.items() if problem.startswith(kind)}
        unnamed = tuple(name for name, problem in bad.items() if problem.endswith("names no file"))
        named = tuple(name for name in bad if name not in unnamed)
        if named:
            first = store.paths[store.rows([named[0]])[0]]
            findings.append(
                Finding(
                    f"images-{kind}",
                    "warning",
                    f"{len(named)} images {what} ({name_some(named)}; the first: {first}, "
                    f"{bad[named[0]]}). Training skips these {'images' if several else 'rows'}; repair the files or "
                    f"the {'list' if several else 'pattern'}.",
                    named,
                )
            )
        imageless += unnamed
    findings += _without_window(store)
    known = set(pictures.owners)
    for table in (train, test):
        imageless += [name for name in (() if table is None else table.ids) if name not in known]
    if imageless:
        findings.append(
            Finding(
                "rows-without-image",
                "warning",
                f"{len(imageless)} rows name no image ({name_some(imageless)}): they are neither trained on nor "
                f"predicted from a picture. {'Add them to the list' if several else 'Fill the column'}, or remove the "
                "rows.",
                tuple(imageless),
            )
        )
    rows = np.array([name not in extra for name in pictures.owners], dtype=bool)
    owning = pd.Index(pictures.owners[rows & (store.paths != "")]).unique().to_numpy()
    lost = owning[~pictures.readable(owning)] if several else owning[:0]
    if len(lost):
        findings.append(
            Finding(
                "rows-unreadable",
                "warning",
                f"{len(lost)} rows have images of which none can be read ({name_some(lost)}): they are neither trained "
                "on nor predicted from a picture. Repair the files or the list.",
                tuple(lost),
            )
        )
    if not (store.readable & rows).any():
        way_out = "Check data.images and data.root."
        if any(finding.code == "images-without-window" for finding in findings):
            way_out = "Set data.decode.window."
        findings.append(
            Finding(
                "no-images",
                "error",
                f"none of the {int(rows.sum())} images of the rows can be read. {way_out}",
            )
        )
    return findings


def _without_window(store: ImageStore) -> list[Finding]:
    """Pictures of other than 8-bit values that no window brings to 8 bits, and the line to write."""
    bad = [name for name, problem in store.problems.items() if problem.startswith(NOT_BYTES)]
    if not bad:
        return []
    paths = store.paths[store.rows(bad)]
    try:
        low, high = (repr(end).removesuffix(".0") for end in suggest_window(paths.tolist()))
        proposal = (
            f"Write data.decode.window: [{low}, {high}], the 0.1 and 99.9 percentiles of a sample of these files; on "
            f"the command line data.decode.window=[{low},{high}]."
        )
    except ValueError:  # changed since they were decoded
        proposal = "Write data.decode.window: [low, high]."
    return [
        Finding(
            "images-without-window",
            "warning",
            f"{len(bad)} images hold other than 8-bit values, and nothing says which become black and white "
            f"({name_some(bad)}; the first: {paths[0]}). Training skips these rows. {proposal}",
            tuple(bad),
        )
    ]


def check_duplicates(
    train: Table, test: Table | None, pictures: Pictures, plan: FoldPlan | None = None
) -> list[Finding]:
    """Find rows with files of equal content inside train, across folds, and between train and test.

    Copies of one image on both sides of a split let a network recognise instead of learn.
    """
    in_train, in_test = set(train.ids), set(() if test is None else test.ids)
    readable = pictures.store.readable
    copies: dict[str, dict[str, None]] = {}  # content -> rows, each once
    for name, content in zip(pictures.owners[readable], pictures.store.digests[readable], strict=True):
        copies.setdefault(content, {})[name] = None
    inside: list[list[str]] = []
    across: list[list[str]] = []
    against: list[list[str]] = []
    for names in copies.values():
        trained = [name for name in names if name in in_train]
        # An id of both tables counts as train; `check_tables` has said so.
        tested = [name for name in names if name in in_test and name not in in_train]
        if len(trained) > 1:
            apart = plan is not None and len(set(plan.fold_of(trained).tolist())) > 1
            (across if apart else inside).append(trained)
        if trained and tested:
            against.append([*trained, *tested])
    findings: list[Finding] = []
    kinds: tuple[tuple[str, Severity, list[list[str]], str], ...] = (
        (
            "duplicates-across-folds",
            "warning",
            across,
            "lie in several folds: the score is too good. Put copies into one group (folds.group) or remove them",
        ),
        ("duplicates-in-train", "note", inside, "stand several times in train, in one fold each"),
        (
            "duplicates-of-test",
            "warning",
            against,
            "stand in train and in test: test rows are easier than new ones would be",
        ),
    )
    for code, severity, sets, message in kinds:
        if sets:
            names = tuple(name for one in sets for name in one)
            findings.append(
                Finding(
                    code,
                    severity,
                    f"{len(sets)} images with equal content {message} (ids {name_some(names)}).",
                    names,
                )
            )
    return findings


def check_folds(plan: FoldPlan) -> list[Finding]:
    """Point out folds of unequal size, strata that a fold lacks, and rows that no fold validates."""
    findings: list[Finding] = []
    balance = plan.balance()
    sizes = balance["valid"].tolist()
    if plan.n > 1 and max(sizes) > _UNEQUAL * min(sizes):
        findings.append(
            Finding(
                "folds-unequal",
                "warning",
                f"the folds validate {min(sizes)} to {max(sizes)} rows, because some of the "
                f"{plan.groups['group'].nunique()} groups are large. Ask for fewer folds (folds.n) for an even score.",
            )
        )
    for name in [str(column) for column in balance.columns if str(column).startswith("share ")]:
        folds = [fold for fold, share in enumerate(balance[name].tolist()) if share == 0]
        if folds:
            stratum = name.removeprefix("share ")
            findings.append(
                Finding(
                    "stratum-absent",
                    "warning",
                    f"no row of stratum {stratum!r} is validated in fold {', '.join(map(str, folds))}: it has too "
                    "few rows or groups. Merge it with another, or ask for fewer folds.",
                )
            )
    never = plan.ids[plan.fold_of(plan.ids) < 0]
    if len(never):
        findings.append(
            Finding(
                "rows-never-validated",
                "note",
                f"{len(never)} of {len(plan.ids)} rows are in no validation part: they train, get no out-of-fold "
                f"prediction, and no score counts them ({name_some(never)}).",
                tuple(never),
            )
        )
    return findings


def class_balance(train: Table, columns: Sequence[str], most: int = 12) -> dict[str, pd.Series]:
    """Share of each value of label columns, largest first; numbers with many values by their quartiles.

    Args:
        train: the labelled rows.
        columns: names of columns, or of lists: then the share of the rows that each name stands in.
        most: values shown; the rest of a column's are summed as "(others)".

    Returns:
        Column -> series of shares between 0 and 1, or of quantiles (min, 25 %, median, 75 %, max) in the column's
        unit; "(missing)" where values are.
    """
    shown: dict[str, pd.Series] = {}
    marks: dict[Any, float]
    for column in columns:
        is_list = column in train.lists
        values = train.names(column) if is_list else train.column(column)
        missing = float(values.isna().mean())
        if is_list:
            counts = values.dropna().map(lambda names: sorted(set(names))).explode().value_counts()
            marks = {name: float(count) / len(train) for name, count in counts.iloc[:most].items()}
        elif pd.api.types.is_numeric_dtype(values) and values.nunique() > most:
            marks = dict(
                zip(
                    ("min", "25 %", "median", "75 %", "max"),
                    values.quantile([0, 0.25, 0.5, 0.75, 1]),
                    strict=True,
                )
            )
        else:
            shares = values.value_counts(normalize=True, dropna=True) * (1 - missing)
            marks = {key: float(share) for key, share in shares.iloc[:most].items()}
            if len(shares) > most:
                marks["(others)"] = float(shares.iloc[most:].sum())
        if missing:
            marks["(missing)"] = missing
        shown[column] = pd.Series(marks, name=column, dtype=float)
    return shown
