"""Lists of names become vectors that are the same in every fold and every process."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from gensim.models import Word2Vec
from jigstack.configs.schema import Task
from jigstack.datasets.tags import Word2vecTarget
from jigstack.datasets.targets import code_target, restore_target
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import NearestNeighbors

ROWS = [("paper", "ink"), ("paper", "chalk"), ("oil", "canvas"), None, ("oil", "canvas", "paper"), ("ink",)]
FRAME = pd.DataFrame(
    {"materials": ROWS, "styles": [("ink",), None, ("flat",), None, None, None]},
    index=pd.Index(list("abcdef"), name="id"),
)


def tags(
    columns: tuple[str, ...] = ("materials",), frame: pd.DataFrame = FRAME, **options: object
) -> Word2vecTarget:
    options = {"vector_size": 6, "epochs": 20, **options}
    return code_target("tags", Task(kind="word2vec", columns=list(columns), options=options), frame, seed=3)  # pyright: ignore[reportReturnType]


def test_the_vectors_are_gensims():
    sentences = [list(row) for row in ROWS if row is not None]
    twin = Word2Vec(sentences, vector_size=6, window=1, min_count=1, sample=0, epochs=20, workers=1, seed=3)
    target = tags()
    assert set(target.words) == {"paper", "ink", "chalk", "oil", "canvas"}
    for word, vector in zip(target.words, target.vectors, strict=True):
        np.testing.assert_allclose(vector, twin.wv[word], rtol=1e-6)


def test_a_row_is_the_mean_of_its_names_and_a_row_without_names_is_nan():
    target = tags(loss="squared")
    by_word = dict(zip(target.words, map(np.array, target.vectors), strict=True))
    embedded = target.truth(FRAME)
    np.testing.assert_allclose(embedded[4], (by_word["oil"] + by_word["canvas"] + by_word["paper"]) / 3)
    assert np.isnan(embedded[3]).all()
    assert np.isfinite(embedded[[0, 1, 2, 4, 5]]).all()


def test_idf_weights_are_scikit_learns():
    target = tags(weighting="idf")
    twin = TfidfVectorizer(analyzer=lambda row: row)  # pyright: ignore[reportArgumentType]
    twin.fit([row for row in ROWS if row is not None])
    expected = dict(zip(twin.get_feature_names_out(), twin.idf_, strict=True))
    assert dict(zip(target.words, target.weights, strict=True)) == pytest.approx(expected)


def test_a_name_of_two_lists_is_kept_apart():
    target = tags(("materials", "styles"))
    assert "ink" not in target.words
    assert {"ink (materials)", "ink (styles)", "flat"} <= set(target.words)


def test_a_text_column_is_split():
    frame = pd.DataFrame({"attributes": ["1 2 3", "2 3", None, "1, 2"]}, index=list("abcd"))
    assert tags(("attributes",), frame).lists(frame) == [["1", "2", "3"], ["2", "3"], [], ["1,", "2"]]
    frame = pd.DataFrame({"attributes": ["new york, oil", "oil"]}, index=list("ab"))
    assert tags(("attributes",), frame, separator=",").lists(frame) == [["new york", "oil"], ["oil"]]


def test_whole_numbers_are_names_whatever_gap_made_floats_of_them():
    """`7` alone in a cell of ids separated by blanks is read as a number; with an empty cell below it, as 7.0."""
    whole = pd.DataFrame({"attributes": [1, 2, 2, 13]}, index=list("abcd"))
    assert tags(("attributes",), whole).lists(whole) == [["1"], ["2"], ["2"], ["13"]]
    gap = pd.DataFrame({"attributes": [1, 2, None, 13]}, index=list("abcd"))
    assert gap["attributes"].dtype == float
    assert tags(("attributes",), gap).lists(gap) == [["1"], ["2"], [], ["13"]]


@pytest.mark.parametrize("kind", ["float64", "float32", "Float64", "object"])
def test_numbers_with_decimals_are_no_names(kind: str):
    frame = pd.DataFrame({"height": pd.Series([1.5, 2.0, None, 0.25], index=list("abcd"), dtype=kind)})
    message = (
        r"task tags: expected names in 'height', received numbers with decimals in 2 rows \('1.5', '0.25'\); name a "
        r"column of text or a list, .* kind: regression"
    )
    with pytest.raises(ValueError, match=message):
        tags(("height",), frame)


@pytest.mark.parametrize("loss", ["cosine", "squared"])
def test_a_head_that_starts_predicts_the_mean_and_decoding_undoes_encoding(loss: str):
    target = tags(loss=loss).fit(FRAME)
    vectors = target.truth(FRAME)
    present = np.isfinite(vectors).all(axis=1)
    np.testing.assert_allclose(target.decode(target.encode(FRAME)[present]), vectors[present], atol=1e-5)
    start = target.decode(target.start[None])[0]
    mean = vectors[present].mean(axis=0)
    expected = mean / np.linalg.norm(mean) if loss == "cosine" else mean
    np.testing.assert_allclose(start, expected, atol=1e-5)


def test_the_nearest_names_of_a_names_vector_begin_with_it():
    target = tags()
    vectors = np.array(target.vectors)
    assert [names[0] for names in target.nearest(vectors, k=2)] == list(target.words)
    order = NearestNeighbors(n_neighbors=5, metric="cosine").fit(vectors).kneighbors(-vectors)[1]
    expected = [[target.words[place] for place in row] for row in order]
    assert target.nearest(-vectors, k=5) == target.nearest(-vectors, k=99) == expected


def test_the_order_of_rows_and_the_process_do_not_matter():
    target = tags()
    assert tags(frame=FRAME.iloc[::-1]) == target
    program = (
        "import sys, json; sys.path.insert(0, sys.argv[1])\n"
        "import pandas as pd\n"
        "from jigstack.configs.schema import Task\nfrom jigstack.datasets.targets import code_target\n"
        "rows = [tuple(row) if row else None for row in json.loads(sys.argv[2])]\n"
        "frame = pd.DataFrame({'materials': rows}, index=list('abcdef'))\n"
        "task = Task(kind='word2vec', columns=['materials'], options={'vector_size': 6, 'epochs': 20})\n"
        "print(json.dumps(code_target('tags', task, frame, seed=3).state()))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, "", json.dumps(ROWS)], capture_output=True, text=True, check=True
    )
    assert restore_target(json.loads(said.stdout)) == target


def test_names_that_are_too_rare_or_absent_are_refused_with_the_way_out():
    with pytest.raises(
        ValueError, match=r"task tags: expected names in materials, received 1 .* 3 times.*min_count"
    ):
        tags(min_count=3)
    with pytest.raises(ValueError, match="received 0 different ones"):
        tags(frame=FRAME.assign(materials=None))
    with pytest.raises(ValueError, match="received none in this fold"):
        tags().fit(FRAME.iloc[[3]])
