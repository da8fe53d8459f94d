"""What columns are taken for."""

import numpy as np
import pandas as pd
import pytest
from jigstack.datasets.roles import Roles, read_roles

N = 120
RNG = np.random.default_rng(0)


def roles(own: dict, shared: dict | None = None, **options) -> Roles:
    shared = shared or {}
    train = pd.DataFrame({"id": [f"r{k}" for k in range(N)], **shared, **own})
    test = pd.DataFrame({"id": [f"t{k}" for k in range(8)]}).assign(
        **{name: train[name][:8] for name in shared}
    )
    return read_roles(train, test, "id", **options)


@pytest.mark.parametrize(
    ("values", "kind", "reason"),
    [
        (RNG.normal(size=N), "number", "numbers from"),
        (RNG.integers(0, 4, N), "level", "4 whole numbers from 0 to 3"),
        (RNG.integers(0, 2, N), "class", "two values, 0 and 1"),
        (RNG.choice(["cat", "grey dog", "old owl"], N), "class", "3 classes"),
        (RNG.random(N) < 0.5, "class", "2 classes"),
        ([f"{1900 + k % 30}-0{1 + k % 9}-01" for k in range(N)], "date", "dates from 1900 to 1929"),
        (
            [" ".join(map(str, RNG.choice(20, 3, replace=False))) for _ in range(N)],
            "names",
            "20 names divided by white space, 3.0 a row",
        ),
    ],
)
def test_a_column_is_taken_for_what_its_values_are(values, kind: str, reason: str):
    (label,) = roles({"thing": values}).labels
    assert label.kind == kind and label.reason.startswith(reason)


def test_numbers_are_dates_by_name_only():
    years = RNG.integers(1850, 1950, N)
    labels = {
        label.name: label for label in roles({"year": years, "price": years, "target": years % 3}).labels
    }
    assert labels["year"].kind == "date" and labels["price"].kind == "number"


def test_names_are_divided_by_what_divides_them():
    several = [
        "; ".join(RNG.choice(["red fox", "owl", "oak", "elm", "ash", "fir", "yew", "bat"], 3))
        for _ in range(N)
    ]
    label = next(
        label for label in roles({"tags": several, "target": range(N)}).labels if label.name == "tags"
    )
    assert label.kind == "names" and label.separator == ";" and label.reason.startswith("8 names")


def test_columns_that_share_a_part_of_their_names_are_one_label_and_their_sum_none():
    votes = {f"{name}_vote": RNG.integers(0, 9, N) for name in ("cat", "dog", "owl")}
    made = roles({**votes, "n_votes": sum(votes.values()), "prot_a": RNG.normal(size=N)})
    assert [(label.name, label.columns) for label in made.labels] == [
        ("vote", tuple(votes)),
        ("prot_a", ("prot_a",)),
    ]
    assert made.unused == {"n_votes": "is the sum of the 3 columns of vote"}


def test_the_group_is_named_like_one_and_has_new_values_in_test():
    own = {"series_id": [f"s{k // 3}" for k in range(N)], "author_id": [f"a{k // 9}" for k in range(N)]}
    made = roles({**own, "target": RNG.normal(size=N)})
    assert (
        made.group == "series_id"
        and "40 values in 120 rows; author_id could be it too" in made.reasons["group"]
    )
    assert made.unused == {"author_id": "looks like a group as well"}
    shared = roles({"target": RNG.normal(size=N)}, {"batch": np.arange(N) // 20, "size": RNG.normal(size=N)})
    assert shared.group is None and shared.features == ("batch", "size")  # test has the same batches
    train = pd.DataFrame({"id": range(N), "batch": np.arange(N) // 20, "target": RNG.normal(size=N)})
    later = read_roles(train, pd.DataFrame({"id": [500], "batch": [77]}), "id")
    assert (
        later.group == "batch" and later.features == () and "test rows have others" in later.reasons["group"]
    )


def test_own_folds_are_taken_unless_they_divide_groups():
    own = {"fold": np.arange(N) % 4, "target": RNG.normal(size=N)}
    assert roles(own).fold == "fold"
    apart = roles({**own, "patient": [f"p{k // 2}" for k in range(N)]})
    assert (
        apart.fold is None
        and apart.group == "patient"
        and "divide equal values of patient" in apart.unused["fold"]
    )
    together = roles({**own, "patient": [f"p{k % 40}" for k in range(N)]})
    assert (together.fold, together.group) == ("fold", "patient")


def test_what_is_to_be_predicted_is_asked_for_or_named_or_absent_from_test():
    own = {"kind": RNG.choice(["a", "b", "c"], N), "target": RNG.normal(size=N), "price": RNG.normal(size=N)}

    def mains(made: Roles) -> list[str]:
        return [label.name for label in made.labels if label.main]

    assert mains(roles(own)) == ["target"]
    assert mains(roles(own, asked=["id", "price"])) == ["price"]
    assert mains(roles(own, asked=["id", "a", "b", "c"])) == ["kind"]
    del own["target"]
    assert mains(roles(own)) == ["kind", "price"]
    alone = read_roles(pd.DataFrame({"id": range(N), **own}), pd.DataFrame(), "id")
    assert mains(alone) == ["price"] and alone.features == ("kind",)


def test_words_of_level_2_are_no_names_of_labels():
    made = roles(
        {
            "mean": RNG.normal(size=N),
            "a b": RNG.normal(size=N),
            "a-b": RNG.normal(size=N),
            "a_b": RNG.normal(size=N),
        }
    )
    assert [label.name for label in made.labels] == ["mean_", "a_b", "a-b", "a_b_"]


def test_texts_that_are_neither_classes_nor_names_and_constants_are_named():
    made = roles({"title": [f"unique words {k}" for k in range(N)], "one": 1, "target": RNG.normal(size=N)})
    assert made.unused == {"title": "120 different texts, too many for classes", "one": "has one value only"}


def test_a_group_that_some_rows_lack_is_named_and_not_used():
    own = {"patient": [None if k == 7 else f"p{k // 2}" for k in range(N)], "target": RNG.normal(size=N)}
    made = roles(own)
    assert made.group is None and "1 rows have none; fill them in" in made.unused["patient"]
