"""What scikit-learn's users hand in becomes a table with named columns."""

import numpy as np
import pandas as pd
import pytest
from jigstack.datasets.frames import column_names, encoded, frame_of, row_ids
from jigstack.datasets.table_schema import TableSchema
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator


class Plain(BaseEstimator):
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def test_columns_of_an_array_are_numbered():
    estimator = Plain()
    frame = frame_of(estimator, np.arange(6.0).reshape(3, 2), reset=True)
    assert list(frame.columns) == ["x0", "x1"] == column_names(estimator)
    assert frame.to_numpy().tolist() == [[0, 1], [2, 3], [4, 5]]


def test_a_frame_keeps_names_index_types_and_gaps():
    given = pd.DataFrame({"b": [1.5, None], "a": ["x", None]}, index=["r", "s"])
    frame = frame_of(Plain(), given, reset=True)
    pd.testing.assert_frame_equal(frame, given)


def test_columns_with_numbers_for_names_are_numbered():
    assert list(frame_of(Plain(), pd.DataFrame({0: [1.0], 7: [2.0]}), reset=True).columns) == ["x0", "x1"]


def test_an_array_takes_the_names_of_the_fit_and_is_warned_of():
    estimator = Plain()
    frame_of(estimator, pd.DataFrame({"b": [1.0], "a": [2.0]}), reset=True)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        frame = frame_of(estimator, [[3, 4]], reset=False)
    assert frame.to_dict("list") == {"b": [3], "a": [4]}


def test_lists_of_numbers_and_texts_become_columns_of_their_kinds():
    frame = frame_of(Plain(), np.array([[1, "x"], [2, None]], dtype=object), reset=True)
    assert pd.api.types.is_integer_dtype(frame["x0"])
    assert frame["x1"].isna().tolist() == [False, True]


def test_another_number_of_columns_is_refused_in_the_words_of_scikit_learn():
    estimator = Plain()
    frame_of(estimator, np.zeros((3, 2)), reset=True)
    with pytest.raises(ValueError, match="X has 3 features, but Plain is expecting 2 features as input"):
        frame_of(estimator, np.zeros((3, 3)), reset=False)


def test_other_names_are_refused_in_the_words_of_scikit_learn():
    estimator = Plain()
    frame_of(estimator, pd.DataFrame({"a": [1.0], "b": [2.0]}), reset=True)
    with pytest.raises(ValueError, match="The feature names should match those that were passed during fit"):
        frame_of(estimator, pd.DataFrame({"a": [1.0], "c": [2.0]}), reset=False)


@pytest.mark.parametrize("kind", [np.array, pd.DataFrame])
def test_too_few_rows_are_refused(kind):
    with pytest.raises(ValueError, match=r"1 sample.* a minimum of 4 is required by Plain"):
        frame_of(Plain(), kind([[1.0, 2.0]]), reset=True, fewest=4)


@pytest.mark.parametrize("kind", [np.array, pd.DataFrame])
def test_complex_numbers_are_refused(kind):
    with pytest.raises(ValueError, match="Complex data not supported"):
        frame_of(Plain(), kind([[1j], [2j]]), reset=True)


def test_a_frame_without_columns_is_refused():
    with pytest.raises(ValueError, match="0 feature"):
        frame_of(Plain(), pd.DataFrame(index=[0, 1]), reset=True)


def test_infinity_is_refused_and_a_gap_is_not():
    assert frame_of(Plain(), [[np.nan], [1.0]], reset=True)["x0"].isna().tolist() == [True, False]
    with pytest.raises(ValueError, match="infinity"):
        frame_of(Plain(), [[np.inf], [1.0]], reset=True)


def test_a_sparse_matrix_is_refused():
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        frame_of(Plain(), csr_matrix(np.eye(3)), reset=True)


def test_missing_labels_are_refused_where_they_are_needed():
    with pytest.raises(ValueError, match="requires y to be passed"):
        frame_of(Plain(), np.eye(3), None, reset=True)


def test_rows_that_a_schema_cannot_encode_are_told_of_x():
    frame = pd.DataFrame({"a": [0.5, 1.0, 4.0], "b": ["x", "y", "x"]})
    schema = TableSchema.fit(frame, ["a", "b"])
    np.testing.assert_array_equal(encoded(schema, frame), schema.encode(frame))
    with pytest.raises(ValueError, match=r"^X: expected numbers in 'a', received 1 other values"):
        encoded(schema, frame.assign(a="often"))
    with pytest.raises(ValueError, match=r"^X: expected the columns .* received one without 'b'"):
        encoded(schema, frame.filter(["a"]))


def test_ids_of_rows_sort_as_the_rows_stand():
    ids = row_ids(12)
    assert len(set(ids)) == 12
    assert sorted(ids) == ids.tolist()
