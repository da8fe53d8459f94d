"""Targets that are lists of names, embedded by word2vec."""

import dataclasses
import math
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ..configs.heads import Word2vecOptions
from .findings import name_some

CELLS = 4_000_000  # most cosines to hold at a time: 32 MB
LOSSES = {"cosine": "cosine_distance", "squared": "squared_error"}


@dataclass(frozen=True)
class Word2vecTarget:
    """The mean vector of a row's names (Mikolov et al. 2013: continuous bag of words).

    Names and vectors are a coding, the same in every fold. With the cosine loss a row's vector and its predictions have
    length 1, since the length is not learned; with the squared loss they are centred and scaled by the fold's training
    rows, and predictions are vectors of the word space again.

    Attributes:
        inputs: names of the columns of names.
        words: the W names of the vocabulary; a name of several columns has its column behind it, "oil (techniques)".
        vectors: (W, D).
        weights: (W,) what each name counts in a row's mean.
        shared: the names that stand in several columns.
        rows: labelled rows with a name of the vocabulary.
        separator: what divides the names of a text; None: white space.
        mean, scale: of the fold's training rows.
    """

    name: str
    inputs: tuple[str, ...]
    words: tuple[str, ...]
    vectors: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    shared: tuple[str, ...]
    rows: int
    loss: str
    separator: str | None = None
    mean: tuple[float, ...] = ()
    scale: float = 1.0
    kind: str = field(default="word2vec", init=False)
    space: str = field(default="embedding", init=False)

    @classmethod
    def code(
        cls, name: str, columns: Sequence[str], options: Word2vecOptions, frame: pd.DataFrame, seed: int = 0
    ) -> "Word2vecTarget":
        """Learn the word space from the lists of all labelled rows.

        Raises:
            ValueError: no names, or none as often as `min_count`; or numbers with decimals, which name nothing.
        """
        from gensim.models import Word2Vec  # here: only such a head waits for the import

        for column in columns:
            _refuse_decimals(name, column, frame.loc[:, column])
        seen = Counter(
            word
            for column in columns
            for word in {w for row in _words(frame.loc[:, column], options.separator) for w in row}
        )
        shared = tuple(sorted(word for word, count in seen.items() if count > 1))
        lists = _lists(frame.sort_index(), columns, shared, options.separator)
        sentences = [words for words in lists if words]
        frequent = [
            word
            for word, count in Counter(w for row in sentences for w in row).items()
            if count >= options.min_count
        ]
        if len(frequent) < 2:
            raise ValueError(
                f"task {name}: expected names in {', '.join(columns)}, received {len(frequent)} different ones that "
                f"stand there {options.min_count} times or more; lower options.min_count, set options.separator, or "
                "name other columns"
            )
        model = Word2Vec(
            sentences,
            vector_size=options.vector_size,
            window=options.window,
            min_count=options.min_count,
            sample=options.sample,
            epochs=options.epochs,
            workers=1,  # several threads would each draw in their own time
            seed=seed % 2**31,
            hashfxn=lambda text: zlib.crc32(text.encode()),  # Python's own differs from process to process
        )
        words = tuple(sorted(map(str, model.wv.key_to_index)))
        vectors = tuple(tuple(map(float, model.wv[word])) for word in words)
        documents = Counter(word for row in sentences for word in set(row))
        rarity = [np.log((1 + len(sentences)) / (1 + documents[word])) + 1 for word in words]
        weights = tuple(map(float, rarity)) if options.weighting == "idf" else (1.0,) * len(words)
        known = set(words)
        rows = sum(not known.isdisjoint(row) for row in sentences)
        return cls(
            name,
            tuple(columns),
            words,
            vectors,
            weights,
            shared,
            rows,
            LOSSES[options.loss],
            options.separator,
        )

    @property
    def width(self) -> int:
        return len(self.vectors[0])

    @property
    def columns(self) -> list[str]:
        return [f"{self.name}.w{index}" for index in range(self.width)]

    @property
    def decodes(self) -> dict[str, dict[str, float]]:
        return {}

    @property
    def classes(self) -> dict[str, dict[str, str]]:
        return {}

    def fit(self, frame: pd.DataFrame) -> "Word2vecTarget":
        vectors = self.truth(frame)
        vectors = vectors[np.isfinite(vectors).all(axis=1)]
        if not len(vectors):
            raise ValueError(
                f"task {self.name}: expected training rows with names in {', '.join(self.inputs)}, received none in "
                "this fold"
            )
        mean = vectors.mean(axis=0)
        scale = float(np.sqrt(np.mean((vectors - mean) ** 2))) or 1.0
        return dataclasses.replace(self, mean=tuple(map(float, mean)), scale=scale)

    def truth(self, frame: pd.DataFrame) -> np.ndarray:
        """(N, D) float64 vectors of the rows, of length 1 for the cosine loss; NaN for a row without a known name."""
        embedded = np.full((len(frame), self.width), np.nan)
        for row, words in enumerate(self.lists(frame)):
            places = [self._places[word] for word in words if word in self._places]
            if places:
                weights = self._weights[places]
                embedded[row] = weights @ self._vectors[places] / weights.sum()
        return _unit(embedded) if self.loss == "cosine_distance" else embedded

    def lists(self, frame: pd.DataFrame) -> list[list[str]]:
        """The names of each row, as the vocabulary has them; those it lacks too."""
        return _lists(frame, self.inputs, self.shared, self.separator)

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        vectors = self.truth(frame)
        if self.loss == "cosine_distance":
            return vectors.astype(np.float32)
        return ((vectors - self.mean) / self.scale).astype(np.float32)

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        values = outputs.astype(np.float64)
        if self.loss == "cosine_distance":
            return _unit(values).astype(np.float32)
        return (values * self.scale + self.mean).astype(np.float32)

    def nearest(self, vectors: np.ndarray, k: int = 5) -> list[list[str]]:
        """The k names whose vectors have the largest cosine with each of (N, D) predictions, the nearest first."""
        words, k = _unit(self._vectors), min(k, len(self.words))
        found = []
        for part in np.array_split(vectors, max(1, len(vectors) * len(words) // CELLS)):
            likeness = _unit(part.astype(np.float64)) @ words.T  # (n, W)
            first = np.argpartition(-likeness, k - 1, axis=1)[
                :, :k
            ]  # (n, k), in no order: sorting all W is slow
            order = np.argsort(-np.take_along_axis(likeness, first, axis=1), axis=1, kind="stable")
            found += [
                [self.words[place] for place in row] for row in np.take_along_axis(first, order, axis=1)
            ]
        return found

    def absent(self, frame: pd.DataFrame) -> list[str]:
        return []

    @property
    def measures(self) -> dict[str, str]:
        return {"cosine": "", "r2": ""}  # the cosine is large already where all vectors point one way

    @property
    def start(self) -> np.ndarray:
        # The cosine has no gradient at length 0, so a head begins at the usual direction.
        if self.loss == "cosine_distance":
            return _unit(np.asarray(self.mean)[None])[0].astype(np.float32)
        return np.zeros(self.width, dtype=np.float32)

    @property
    def notes(self) -> list[str]:
        return [f"task {self.name}: {len(self.words):,} names in {self.rows:,} rows, {self.width} dimensions"]

    def state(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words)}

    @cached_property
    def _weights(self) -> np.ndarray:
        return np.asarray(self.weights)

    @cached_property
    def _vectors(self) -> np.ndarray:
        return np.asarray(self.vectors)


def _lists(
    frame: pd.DataFrame, columns: Iterable[str], shared: Sequence[str], separator: str | None
) -> list[list[str]]:
    """The names of each row over all columns, those that several columns share told apart."""
    lists: list[list[str]] = [[] for _ in range(len(frame))]
    for column in columns:
        for words, row in zip(lists, _words(frame.loc[:, column], separator), strict=True):
            words += [f"{word} ({column})" if word in shared else word for word in row]
    return lists


def _refuse_decimals(name: str, key: str, column: pd.Series) -> None:
    """A measured number is no name: hardly any two rows would share one."""
    decimals = [
        value
        for value in column
        if isinstance(value, float) and not math.isnan(value) and not value.is_integer()
    ]
    if decimals:
        raise ValueError(
            f"task {name}: expected names in {key!r}, received numbers with decimals in {len(decimals)} rows "
            f"({name_some(map(str, decimals), 3)}); name a column of text "
            "or a list, or learn the numbers with kind: regression"
        )


def _words(column: pd.Series, separator: str | None) -> list[list[str]]:
    """The names in each value: those of a tuple, or the parts of a text."""
    return [
        list(value)
        if isinstance(value, tuple)
        else []
        if pd.isna(value)
        else [part.strip() for part in _text(value).split(separator) if part.strip()]
        for value in column
    ]


def _text(value: Any) -> str:
    """A value as it was written: pandas reads whole numbers as 7.0 where a row of the column has none."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)
