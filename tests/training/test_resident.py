"""Where images lie: the same rows wherever they do, and the same refusals."""

import numpy as np
import pytest
import torch
from jigstack.configs.data import Decode
from jigstack.datasets.images import ImageStore, build_store
from jigstack.training import resident as module
from jigstack.training.device import Machine
from jigstack.training.resident import PassingInputs, ResidentInputs, resident
from PIL import Image

CPU = Machine("cpu", "fp32", False, 1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    """Nine pictures of noise; number 4 is broken."""
    folder = tmp_path_factory.mktemp("resident")
    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(9)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    paths[4].write_bytes(b"broken")
    return build_store([str(n) for n in range(9)], list(map(str, paths)), folder / "store", 16, Decode())


@pytest.mark.parametrize("kind", [ResidentInputs, PassingInputs])
@pytest.mark.parametrize("rows", [[0], [8, 3, 3, 0], [], [1, 2, 5, 6, 7]])
def test_a_copy_on_a_device_gives_what_the_map_gives(
    store: ImageStore, kind: type[ResidentInputs] | type[PassingInputs], rows: list[int]
):
    found = kind(store, "cpu").gather(np.array(rows, dtype=np.int64))
    assert found.dtype is torch.uint8 and torch.equal(found, store.gather(np.array(rows, dtype=np.int64)))


@pytest.mark.parametrize("kind", [ResidentInputs, PassingInputs])
def test_a_copy_refuses_what_the_store_refuses(
    store: ImageStore, kind: type[ResidentInputs] | type[PassingInputs]
):
    held = kind(store, "cpu")
    with pytest.raises(ValueError, match=r"rows: expected readable images, received 1 unreadable ones \('4'"):
        held.gather(np.array([1, 4]))
    with pytest.raises(ValueError, match="rows: expected 0 to 8, received -1 to 2"):
        held.gather(np.array([-1, 2]))


def test_a_store_is_copied_in_chunks(store: ImageStore, monkeypatch: pytest.MonkeyPatch):
    """Two images at a time, the last chunk shorter, after the first image, which tells the shape."""
    monkeypatch.setattr(module, "CHUNK", 2 * 3 * 16 * 16)
    asked: list[tuple[int, int]] = []
    whole = store.slice
    monkeypatch.setattr(store, "slice", lambda *part: (asked.append(part), whole(*part))[1])
    held = ResidentInputs(store, "cpu")
    assert asked == [(0, 1), (0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]
    rows = np.flatnonzero(store.readable)
    assert torch.equal(held.gather(rows), store.gather(rows))


def test_what_is_gathered_may_be_changed_in_place(store: ImageStore):
    held = ResidentInputs(store, "cpu")
    held.gather(np.array([0])).zero_()
    assert torch.equal(held.gather(np.array([0])), store.gather(np.array([0])))


def test_a_cpu_reads_the_map_itself(store: ImageStore):
    assert resident(store, CPU) is store


def test_a_device_holds_one_copy_for_all_stages_where_it_fits(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
):
    """`meta` stands for a device: it has no memory, so that only the choice is seen."""
    machine = Machine("meta", "fp32", False, 1)
    monkeypatch.setattr(module, "fits", lambda *_: False)
    assert isinstance(resident(store, machine), PassingInputs)
    monkeypatch.setattr(module, "fits", lambda *_: True)
    held = resident(store, machine)
    assert isinstance(held, ResidentInputs) and resident(store, machine) is held


@pytest.mark.parametrize("share, expected", [(0.39, False), (0.4, True), (1.0, True)])
def test_a_store_may_take_two_fifths_of_the_free_memory(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch, share: float, expected: bool
):
    """With free memory of `share` / 0.4 of 2.5 stores, exactly the second case just fits."""
    free = round(store.nbytes * 2.5 * share / 0.4)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 10 * free))
    assert module.fits(store, "cuda") is expected
