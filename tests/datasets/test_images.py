import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from jigstack.configs.data import Decode
from jigstack.datasets import images as module
from jigstack.datasets.images import (
    ImageStore,
    build_store,
    decode_image,
    glob_images,
    locate_images,
    unlabelled_images,
)
from jigstack.datasets.tables import Table
from PIL import Image

DECODE = Decode()


def _table(**columns: list[object]) -> Table:
    frame = pd.DataFrame(columns)
    frame.index = pd.Index([f"{i:02d}" for i in range(len(frame))], name="object_id")
    return Table(frame, "object_id")


def _photos(folder: Path, n: int = 6, seed: int = 0) -> tuple[list[str], list[str]]:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    paths = [folder / f"{i}.png" for i in range(n)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (20, 24, 3), np.uint8)).save(path)
    return [f"id{i}" for i in range(n)], [str(path) for path in paths]


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"digests.json"}


def test_a_pattern_is_filled_from_the_id_and_any_column(tmp_path: Path):
    table = _table(series=["a", "b"], number=[1.0, 2.0])
    located = locate_images(table, "photos/{series}/{object_id}-{number:03d}.jpg", tmp_path)
    assert located.to_dict() == {
        "00": str(tmp_path / "photos/a/00-001.jpg"),
        "01": str(tmp_path / "photos/b/01-002.jpg"),
    }


def test_a_column_holds_paths_and_a_missing_value_names_no_file(tmp_path: Path):
    table = _table(file=["x/1.jpg", None], n=[1.0, float("nan")])
    assert locate_images(table, "file", tmp_path).tolist() == [str(tmp_path / "x/1.jpg"), ""]
    assert locate_images(table, "{n}.jpg", tmp_path).tolist() == [str(tmp_path / "1.jpg"), ""]


def test_an_unknown_field_or_column_is_named_with_the_nearest(tmp_path: Path):
    table = _table(file=["x"])
    with pytest.raises(ValueError, match=r"received 'objectid'\. Did you mean 'object_id'\?"):
        locate_images(table, "photos/{objectid}.jpg", tmp_path)
    with pytest.raises(
        ValueError, match=r"received 'flie'\. Did you mean 'file'\? Write for example photos/"
    ):
        locate_images(table, "flie", tmp_path)


def test_globs_find_images_once_and_pass_over_other_files(tmp_path: Path):
    _photos(tmp_path / "a", 2)
    (tmp_path / "a" / "deep").mkdir()
    (tmp_path / "a" / "deep" / "UPPER.JPG").touch()
    (tmp_path / "a" / "notes.txt").touch()
    found = [path.relative_to(tmp_path).as_posix() for path in glob_images(["a/*", "a/**/*.*"], tmp_path)]
    assert found == ["a/0.png", "a/1.png", "a/deep/UPPER.JPG"]
    assert glob_images(["a"], tmp_path) == glob_images(["a/**/*"], tmp_path)
    with pytest.raises(ValueError, match=r"received 'b/\*\.png', which names none"):
        glob_images(["b/*.png"], tmp_path)


def test_globs_find_arrays_and_a_store_holds_them_beside_other_files(tmp_path: Path):
    _, png = _photos(tmp_path / "a", 1)
    array = np.linspace(-80, 0, 40, dtype=np.float16).reshape(5, 8)
    np.save(tmp_path / "a" / "spec.npy", array)
    paths = [str(path) for path in glob_images(["a"], tmp_path)]
    assert paths == [*png, str(tmp_path / "a" / "spec.npy")]
    decode = Decode(window=(-80, 0))
    store = build_store(["photo", "spec"], paths, tmp_path / "store", 16, decode)
    assert store.readable.all()
    np.testing.assert_array_equal(store.gather(np.array([1]))[0].numpy(), decode_image(paths[1], 16, decode))
    np.save(tmp_path / "a" / "spec.npy", array[::-1])
    turned = build_store(["photo", "spec"], paths, tmp_path / "store", 16, decode)
    assert turned.key != store.key and turned.digests[0] == store.digests[0]


def test_an_image_reached_by_a_row_and_by_a_glob_is_not_added_twice(tmp_path: Path):
    _photos(tmp_path / "a", 3)
    (tmp_path / "link.png").symlink_to(tmp_path / "a" / "1.png")
    taken = pd.Series({"x": str(tmp_path / "a" / "0.png"), "y": str(tmp_path / "link.png"), "z": ""})
    assert unlabelled_images(["a/*.png"], tmp_path, taken) == (["a/2.png"], [str(tmp_path / "a" / "2.png")])
    assert unlabelled_images([], tmp_path, taken) == ([], [])


def test_the_id_of_an_extra_image_never_equals_one_of_a_row(tmp_path: Path):
    _photos(tmp_path / "a", 1)
    ids, _ = unlabelled_images(["a/*.png"], tmp_path, {"a/0.png": "elsewhere", "./a/0.png": "elsewhere"})
    assert ids == ["././a/0.png"]


def test_gather_gives_what_decoding_gives_in_the_order_asked_for(tmp_path: Path):
    ids, paths = _photos(tmp_path / "photos")
    seen: list[tuple[int, int]] = []
    store = build_store(ids, paths, tmp_path / "s", 16, DECODE, progress=lambda *done: seen.append(done))
    rows = store.rows(["id4", "id0", "id4"])
    batch = store.gather(rows)
    assert batch.dtype == torch.uint8 and tuple(batch.shape) == (3, 3, 16, 16)
    expected = np.stack([decode_image(paths[i], 16, DECODE) for i in (4, 0, 4)])
    np.testing.assert_array_equal(batch.numpy(), expected)
    assert seen == [(i + 1, 6) for i in range(6)]
    assert store.size == 16 and store.channels == 3 and len(store) == 6 and store.readable.all()
    batch.zero_()  # a copy: the map is untouched
    np.testing.assert_array_equal(store.gather(rows).numpy(), expected)


def test_a_second_build_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ids, paths = _photos(tmp_path / "photos")
    first = build_store(ids, paths, tmp_path / "s", 16, DECODE)
    monkeypatch.setattr(module, "decode_image", None)
    assert build_store(ids, paths, tmp_path / "s", 16, DECODE).key == first.key


def test_the_key_depends_on_ids_size_and_decoding_and_not_on_the_folder(tmp_path: Path):
    ids, paths = _photos(tmp_path / "photos")
    keys = [
        build_store(ids, paths, tmp_path / "s", 16, DECODE).key,
        build_store(ids[::-1], paths[::-1], tmp_path / "s", 16, DECODE).key,
        build_store(ids, paths, tmp_path / "s", 12, DECODE).key,
        build_store(ids, paths, tmp_path / "s", 16, Decode(channels=1)).key,
    ]
    assert len(set(keys)) == 4 and _names(tmp_path / "s") == set(keys)
    (tmp_path / "photos").rename(tmp_path / "moved")
    moved = [path.replace("/photos/", "/moved/") for path in paths]
    assert build_store(ids, moved, tmp_path / "s", 16, DECODE).key == keys[0]


def test_a_changed_file_is_noticed_even_when_its_size_and_time_are_kept(tmp_path: Path):
    ids, paths = _photos(tmp_path / "photos")
    first = build_store(ids, paths, tmp_path / "s", 16, DECODE)
    status, content = Path(paths[0]).stat(), Path(paths[0]).read_bytes()
    Path(paths[0]).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(paths[0], ns=(status.st_atime_ns, status.st_mtime_ns))
    second = build_store(ids, paths, tmp_path / "s", 16, DECODE)
    assert second.key != first.key and second.digests[0] != first.digests[0]


def test_two_builds_at_once_share_one_store(tmp_path: Path):
    ids, paths = _photos(tmp_path / "photos", 12)
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(build_store, ids, paths, tmp_path / "s", 16, DECODE) for _ in range(4)]
        keys = {job.result().key for job in jobs}
    assert len(keys) == 1 and _names(tmp_path / "s") == keys


def test_an_interrupted_build_leaves_nothing(tmp_path: Path):
    ids, paths = _photos(tmp_path / "photos")

    def interrupt(done: int, _: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_store(ids, paths, tmp_path / "s", 16, DECODE, progress=interrupt)
    assert _names(tmp_path / "s") == set()


def test_a_killed_build_leaves_only_what_the_next_build_removes(tmp_path: Path):
    ids, paths = _photos(tmp_path / "photos")
    program = (
        "import os, sys\nfrom jigstack.configs.data import Decode\n"
        "from jigstack.datasets.images import build_store\n"
        "ids, paths = eval(sys.argv[1])\n"
        "kill = lambda done, n: done == 3 and os._exit(9)\n"
        "build_store(ids, paths, sys.argv[2], 16, Decode(), progress=kill)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, repr((ids, paths)), str(tmp_path / "s")], check=False
    )
    assert done.returncode == 9
    (leftover,) = _names(tmp_path / "s")
    assert leftover.startswith(".")
    store = build_store(ids, paths, tmp_path / "s", 16, DECODE)
    assert _names(tmp_path / "s") == {store.key}
    np.testing.assert_array_equal(store.gather(np.array([5]))[0].numpy(), decode_image(paths[5], 16, DECODE))


def test_unreadable_images_are_listed_by_id_and_never_replaced(tmp_path: Path):
    ids, paths = _photos(tmp_path / "photos", 5)
    Path(paths[1]).write_bytes(Path(paths[1]).read_bytes()[:100])
    Path(paths[2]).unlink()
    Path(paths[3]).write_bytes(b"")
    paths[4] = ""
    store = build_store(ids, paths, tmp_path / "s", 16, DECODE)
    assert store.readable.tolist() == [True, False, False, False, False]
    assert {name: problem.split(":")[0] for name, problem in store.problems.items()} == {
        "id1": "broken",
        "id2": "missing",
        "id3": "empty",
        "id4": "missing",
    }
    with pytest.raises(
        ValueError, match=r"received 1 unreadable ones \('id2': missing: there is no such file\)"
    ):
        store.gather(np.array([0, 2]))
    _photos(tmp_path / "photos", 4)  # the missing file appears
    assert build_store(ids, paths, tmp_path / "s", 16, DECODE).key != store.key


def test_unknown_ids_rows_and_folders_are_refused(tmp_path: Path):
    ids, paths = _photos(tmp_path / "photos", 2)
    store = build_store(ids, paths, tmp_path / "s", 16, DECODE)
    with pytest.raises(
        ValueError, match=r"expected ids of the 2 images of the store, received 1 others \('no'\)"
    ):
        store.rows(["id0", "no"])
    for rows in ([2], [-1]):
        with pytest.raises(ValueError, match="rows: expected 0 to 1, received"):
            store.gather(np.array(rows))
    with pytest.raises(ValueError, match="expected a finished image store"):
        ImageStore(tmp_path)
    with pytest.raises(ValueError, match=r"expected unique ids, received 'a' more than once"):
        build_store(["a", "a"], paths, tmp_path / "s", 16, DECODE)
    with pytest.raises(ValueError, match="paths: expected 1, one an id, received 2"):
        build_store(["a"], paths, tmp_path / "s", 16, DECODE)


def test_a_store_travels_to_another_process_as_its_folder(tmp_path: Path):
    ids, paths = _photos(tmp_path / "photos")
    store = build_store(ids, paths, tmp_path / "s", 16, DECODE)
    sent = pickle.dumps(store)
    assert len(sent) < 500
    rows = np.arange(6)
    assert torch.equal(pickle.loads(sent).gather(rows), store.gather(rows))


def test_an_empty_batch_has_its_shape(tmp_path: Path):
    ids, paths = _photos(tmp_path / "photos", 2)
    store = build_store(ids, paths, tmp_path / "s", 16, Decode(channels=1))
    assert tuple(store.gather(np.array([], dtype=np.int64)).shape) == (0, 1, 16, 16)
