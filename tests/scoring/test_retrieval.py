"""How many names of a row were found, counted in three ways."""

import numpy as np
import pytest
from jigstack.scoring.retrieval import Recall
from sklearn.metrics import recall_score
from sklearn.preprocessing import MultiLabelBinarizer


def test_shares_of_rows_names_and_different_names():
    found = [["oil", "canvas"], ["oil", "paper"], ["oil", "ink"]]
    true = [["oil"], ["ink", "paper"], ["chalk"]]
    recall = Recall.of(found, true)
    assert recall.rows == pytest.approx(2 / 3)
    assert recall.names == pytest.approx((1 + 0.5 + 0) / 3)
    assert recall.even == pytest.approx((1 + 0 + 1 + 0) / 4)  # oil, ink, paper, chalk


def test_the_shares_are_scikit_learns_recall_over_rows_and_over_classes():
    rng = np.random.default_rng(0)
    names = np.array(list("abcdefgh"))
    found, true = ([rng.choice(names, 3).tolist() for _ in range(50)] for _ in range(2))
    binary = MultiLabelBinarizer().fit([names])
    y, p = (np.asarray(binary.transform(rows)) for rows in (true, found))
    recall = Recall.of(found, true)
    assert recall.names == pytest.approx(recall_score(y, p, average="samples"))
    assert recall.even == pytest.approx(recall_score(y, p, average="macro"))
    assert recall.rows == pytest.approx(np.mean((y * p).any(axis=1)))


def test_repetitions_and_the_order_do_not_count():
    assert Recall.of([["b", "a", "a"]], [["a", "b", "b"]]) == Recall(1.0, 1.0, 1.0)


@pytest.mark.parametrize(("found", "true"), [([], []), ([["a"]], []), ([["a"]], [[]])])
def test_rows_without_names_are_refused(found: list, true: list):
    with pytest.raises(ValueError, match="`true`: expected one or more names"):
        Recall.of(found, true)
