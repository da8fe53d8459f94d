import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jigstack.configs.data import Decode
from jigstack.datasets.files import atomic, content_digests, digest, read_json, remove_stale, write_json


def _age(path: Path, seconds: float = 60.0) -> None:
    """Set the modification time back."""
    stamp = path.stat().st_mtime_ns - int(seconds * 1e9)
    os.utime(path, ns=(stamp, stamp))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half way"), atomic(path) as temporary:
        temporary.write_text("new, but")
        raise RuntimeError("half way")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_finished_write_takes_the_name_and_keeps_the_suffix(tmp_path: Path):
    path = tmp_path / "deep" / "a.npy"
    with atomic(path) as temporary:
        assert temporary.suffix == ".npy" and temporary.parent == path.parent
        np.save(temporary, np.arange(3))
    assert np.load(path).tolist() == [0, 1, 2]
    assert [p.name for p in path.parent.iterdir()] == ["a.npy"]


def test_the_slower_of_two_folder_writers_keeps_the_first(tmp_path: Path):
    path = tmp_path / "store"
    with atomic(path) as slow:
        slow.mkdir()
        (slow / "who").write_text("slow")
        with atomic(path) as fast:
            fast.mkdir()
            (fast / "who").write_text("fast")
    assert (path / "who").read_text() == "fast"
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


def test_leftovers_of_a_killed_process_are_removed_and_those_of_a_living_one_stay(tmp_path: Path):
    program = (
        "import os, sys\nfrom jigstack.datasets.files import atomic\n"
        "with atomic(sys.argv[1]) as t:\n    t.write_text('half')\n    os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "x.txt")], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with atomic(tmp_path / "y.txt") as alive:
        alive.write_text("whole")
        assert len(remove_stale(tmp_path)) == 1
        assert alive.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["y.txt"]
    assert remove_stale(tmp_path / "absent") == []


def test_json_holds_numpy_paths_and_models_and_writes_nan_as_null(tmp_path: Path):
    path = tmp_path / "x.json"
    write_json(
        path, {"a": np.float32(0.5), "b": np.arange(2), "c": Path("p"), "d": math.nan, "e": Decode(), 1: (1,)}
    )
    read = read_json(path)
    assert read["a"] == 0.5 and read["b"] == [0, 1] and read["c"] == "p" and read["d"] is None
    assert read["e"]["fit"] == "squash" and read["1"] == [1]


def test_bad_json_names_the_file(tmp_path: Path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ValueError, match=r"x\.json: expected JSON"):
        read_json(tmp_path / "x.json")
    with pytest.raises(TypeError, match="received set"):
        write_json(tmp_path / "y.json", {1, 2})


@given(st.dictionaries(st.text(), st.integers() | st.text(), max_size=5))
def test_a_digest_does_not_depend_on_the_order_of_keys(mapping: dict[str, int | str]):
    assert digest(mapping) == digest(dict(reversed(list(mapping.items()))))
    assert len(digest(mapping)) == 16
    assert digest(mapping) != digest(mapping, 1)


def test_a_digest_tells_text_from_number():
    assert digest("1") != digest(1)
    assert digest(["a", "b"]) != digest(["b", "a"])
    assert digest("a", "b") != digest("ab")


def test_unchanged_files_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("jigstack.datasets.files._SETTLED_NS", -1)
    paths = [tmp_path / f"{i}.bin" for i in range(3)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i]) * 10)
        _age(path)
    cache = tmp_path / "cache.json"
    seen: list[tuple[int, int]] = []
    first = content_digests(paths, cache, progress=lambda done, total: seen.append((done, total)))
    assert len(set(first)) == 3 and seen[-1] == (3, 3)
    monkeypatch.setattr("hashlib.file_digest", None)
    assert content_digests(paths, cache) == first


def test_a_changed_file_is_noticed_even_with_the_same_size_and_modification_time(tmp_path: Path):
    path, cache = tmp_path / "a.bin", tmp_path / "cache.json"
    path.write_bytes(b"aaaa")
    status = path.stat()
    before = content_digests([path], cache)
    path.write_bytes(b"bbbb")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert content_digests([path], cache) != before


def test_a_missing_file_is_an_error_unless_a_digest_is_named_for_it(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        content_digests([tmp_path / "no"])
    assert content_digests([tmp_path / "no"], missing="none") == ["none"]


def test_a_damaged_cache_is_made_again(tmp_path: Path):
    path, cache = tmp_path / "a", tmp_path / "cache.json"
    path.write_bytes(b"a")
    cache.write_text("{broken")
    assert content_digests([path], cache) == content_digests([path])
