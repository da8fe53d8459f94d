"""Features of a frozen backbone: what they are the mean of, and what is written of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from jigstack.backbones import TimmBackbone, build_backbone
from jigstack.configs.schema import Backbone
from jigstack.datasets.pictures import Pictures
from jigstack.training.augment import resize
from jigstack.training.device import Machine
from jigstack.training.views import apply_view
from jigstack.transfer.embedding import Embeddings, JoinedEmbeddings, embed_rows

CPU = Machine(device="cpu", precision="fp32", channels_last=False, threads=1)
VIEWS = ["identity", "hflip", "rot90"]


@pytest.fixture
def backbone() -> TimmBackbone:
    torch.manual_seed(0)
    return build_backbone(Backbone(name="test_resnet"), 3, 32)


def test_a_rows_features_are_the_mean_over_its_readable_images_and_their_views(
    pictures: Pictures, backbone: TimmBackbone
):
    ids = np.array(["j", "a", "f"], dtype=object)  # 4 readable of 5, 1 of 1, 1 of 2
    found = embed_rows(backbone, pictures, ids, VIEWS, 32, CPU, batch=7)
    assert found.dtype == np.float32 and found.shape == (3, backbone.dim)
    for row, name in enumerate(ids):
        positions = pictures.of([name])[0]
        images = backbone.normalise(resize(pictures.store.gather(positions), 32))
        with torch.no_grad():
            each = torch.cat([backbone.eval()(apply_view(images, view)) for view in VIEWS])
        np.testing.assert_allclose(found[row], each.mean(dim=0).numpy(), rtol=1e-4, atol=1e-6)


def test_the_backbone_stays_as_it_is(pictures: Pictures, backbone: TimmBackbone):
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    embed_rows(backbone.train(), pictures, np.array(["a"], dtype=object), ["identity"], 32, CPU)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_batch_norms_that_are_not_folded_are_named_once(pictures: Pictures, backbone: TimmBackbone):
    said: list[str] = []
    ids = np.array(["a", "b"], dtype=object)
    embed_rows(backbone, pictures, ids, ["identity"], 32, CPU, batch=2, say=said.append)
    assert not said
    other = build_backbone(Backbone(name="resnetv2_18"), 3, 32)
    embed_rows(other, pictures, ids, ["identity"], 32, CPU, batch=2, say=said.append)
    assert len(said) == 1 and "cannot be folded" in said[0]


def test_progress_counts_images_to_the_last(pictures: Pictures, backbone: TimmBackbone):
    told: list[tuple[int, int]] = []
    ids = np.array(["c", "b"], dtype=object)
    embed_rows(backbone, pictures, ids, VIEWS, 32, CPU, batch=6, progress=lambda *counts: told.append(counts))
    assert told == [(2, 6), (4, 6), (6, 6)]


def test_a_row_without_a_readable_image_has_no_features(pictures: Pictures, backbone: TimmBackbone):
    with pytest.raises(ValueError, match=r"expected rows with a readable image, received 1 without \('d'\)"):
        embed_rows(backbone, pictures, np.array(["a", "d"], dtype=object), VIEWS, 32, CPU)


def test_features_that_are_not_finite_are_refused(pictures: Pictures, backbone: TimmBackbone):
    with torch.no_grad():
        next(backbone.parameters()).fill_(torch.nan)
    with pytest.raises(
        ValueError,
        match=r"test_resnet: expected finite features, .* 1 of 1 rows \('a'\); use precision: fp32",
    ):
        embed_rows(backbone, pictures, np.array(["a"], dtype=object), VIEWS, 32, CPU)


def test_what_is_written_is_mapped_and_joined_by_id(tmp_path: Path):
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    Embeddings(np.array(["007", "b", "c"], dtype=object), values).write(tmp_path)
    found = Embeddings.read(tmp_path)
    assert isinstance(found.values, np.memmap)
    np.testing.assert_array_equal(found.of(np.array(["c", "007"], dtype=object)), values[[2, 0]])
    assert found.known(np.array(["c", "7", "b"], dtype=object)).tolist() == [True, False, True]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["embeddings.npy", "ids.parquet"]
    with pytest.raises(ValueError, match=r"expected rows with an embedding, received 1 without \('7'\)"):
        found.of(np.array(["7", "b"], dtype=object))


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path):
    Embeddings(np.array(["a", "b"], dtype=object), np.zeros((2, 3), np.float32)).write(tmp_path)
    np.save(tmp_path / "embeddings.npy", np.zeros((5, 3), np.float32))
    with pytest.raises(ValueError, match=r"a row of embeddings.npy for each of the 2 ids, received \(5, 3\)"):
        Embeddings.read(tmp_path)


def test_embeddings_of_several_backbones_are_joined_by_id():
    one = Embeddings(np.array(["a", "b", "c"], dtype=object), np.array([[1.0], [2.0], [3.0]]))
    two = Embeddings(np.array(["c", "b"], dtype=object), np.array([[30.0, 31.0], [20.0, 21.0]]))
    joined = JoinedEmbeddings({"one": one, "two": two})
    assert joined.widths == (1, 2)
    assert joined.known(np.array(["a", "b", "d", "c"])).tolist() == [False, True, False, True]
    assert joined.of(np.array(["b", "c"])).tolist() == [[2.0, 20.0, 21.0], [3.0, 30.0, 31.0]]
    with pytest.raises(ValueError, match="a"):
        joined.of(np.array(["a"]))
