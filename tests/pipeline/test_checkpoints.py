"""Which file a start means."""

from pathlib import Path

import pytest
from jigstack.configs.load import load_config
from jigstack.pipeline.checkpoints import (
    checkpoint_file,
    checkpoint_folder,
    checkpoint_of,
    file_digest,
    is_trained,
)
from jigstack.pipeline.workspace import Workspace


def finished(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "backbone.safetensors").write_text(folder.name)
    return folder


def test_a_fold_starts_from_its_own_checkpoint_where_the_pretext_is_inductive(
    make_table_config, tmp_path: Path
):
    for scope, own in (("inductive", True), ("transductive", False)):
        pretext = [make_table_config()["pretext"][0] | {"scope": scope}]
        workspace = Workspace(load_config(make_table_config(pretext=pretext)))
        folder = tmp_path / "pretext/mask"
        assert checkpoint_of(workspace, tmp_path, "mask", 1) == (folder / "fold1" if own else folder)
        assert checkpoint_of(workspace, tmp_path, "mask", None) == folder
        assert checkpoint_of(workspace, tmp_path, "scratch", 1) is None
        assert checkpoint_of(workspace, tmp_path, None, 1) is None


def test_a_checkpoint_may_be_named_by_its_file_its_folder_or_its_run(tmp_path: Path):
    folder = finished(tmp_path / "pretext/mask")
    file = folder / "backbone.safetensors"
    assert (
        checkpoint_file(str(file)) == checkpoint_file(str(folder)) == checkpoint_file(str(tmp_path)) == file
    )
    finished(tmp_path / "pretext/jig")
    assert checkpoint_folder(str(tmp_path), "jig").name == "jig"
    with pytest.raises(
        ValueError, match=r"or a run with one finished pretext, received .* with \['jig', 'mask'\]"
    ):
        checkpoint_file(str(tmp_path))


def test_what_is_not_there_is_not_trained(tmp_path: Path):
    folder = tmp_path / "pretext/mask"
    assert not is_trained(None) and not is_trained(folder)
    finished(folder)
    assert is_trained(folder) and is_trained(folder / "backbone.safetensors")
    assert file_digest(folder / "backbone.safetensors") == file_digest(folder / "backbone.safetensors")
    with pytest.raises(ValueError, match=r"expected a file, received .*which does not exist"):
        file_digest(folder / "other.safetensors")
