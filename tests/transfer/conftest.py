"""Twelve rows of one to four flat pictures, each of a grey of its own, and a fold's work on them."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from jigstack.configs.data import Decode, Folds
from jigstack.configs.heads import HeadAugment
from jigstack.configs.schema import Backbone, EarlyStopping, Task, Transfer
from jigstack.datasets.folds import make_plan
from jigstack.datasets.images import build_store
from jigstack.datasets.pictures import PictureFiles, Pictures
from jigstack.datasets.targets import code_target
from jigstack.training.device import Machine
from jigstack.transfer.finetune import FoldWork
from PIL import Image

COUNTS = {"a": 1, "b": 2, "c": 4, "d": 1, "e": 3, "f": 2, "g": 1, "h": 1, "i": 2, "j": 5, "t": 1, "u": 3}
BROKEN = {"f/0", "j/2", "d/0"}
"""Images that cannot be read: the first of f, one of j, and all of d."""


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """Image number n of the store is of the grey 8 n."""
    root = tmp_path_factory.mktemp("pictures")
    owners = [name for name, count in COUNTS.items() for _ in range(count)]
    names = [f"{name}/{number}" for name, count in COUNTS.items() for number in range(count)]
    paths = []
    for place, name in enumerate(names):
        paths.append(root / f"{place}.png")
        Image.new("RGB", (40, 40), (8 * place,) * 3).save(paths[-1])
        if name in BROKEN:
            paths[-1].write_bytes(b"broken")
    store = build_store(names, list(map(str, paths)), root / "store", 40, Decode())
    return Pictures(store, PictureFiles(store.ids, np.array(owners, dtype=object), store.paths))


MakeWork = Callable[..., FoldWork]


@pytest.fixture
def make_work(pictures: Pictures) -> MakeWork:
    """Fold 0 of two, with one regression head; t and u are test rows."""

    def make(
        pictures: Pictures = pictures, early_stopping: EarlyStopping | None = None, seeds: int = 1
    ) -> FoldWork:
        ids = np.array([name for name in COUNTS if name < "t"], dtype=object)
        frame = pd.DataFrame({"era": np.arange(len(ids)) / 3.0}, index=pd.Index(ids, name="id"))
        task = Task(
            kind="regression",
            columns=["era"],
            size=32,
            epochs=3,
            batch=2,
            lr=1e-2,
            augment=HeadAugment(mix=None),
            early_stopping=early_stopping,
        )
        return FoldWork(
            network="era",
            tasks={"era": task},
            targets={"era": code_target("era", task, frame, 0)},
            fold=0,
            frame=frame,
            plan=make_plan(ids, Folds(n=2), 0),
            inputs=pictures,
            backbone=Backbone(name="test_resnet"),
            checkpoint=None,
            transfer=Transfer(joint=False, seeds=seeds),
            machine=Machine(device="cpu", precision="fp32", channels_last=False, threads=1),
            seed=0,
        )

    return make
