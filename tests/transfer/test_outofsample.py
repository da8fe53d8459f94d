"""Prediction of rows of one, several or no readable images."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from jigstack.configs.schema import EarlyStopping
from jigstack.datasets.inputs import Inputs
from jigstack.datasets.pictures import Pictures
from jigstack.datasets.predictions import Predictions
from jigstack.transfer.features import aggregate
from jigstack.transfer.finetune import REFIT, FoldWork, finetune_fold, held_loss, labelled, load_networks
from jigstack.transfer.outofsample import merge, predict_fold
from jigstack.transfer.prediction import predict_views
from safetensors.torch import load_file, save_file

VIEWS = ["identity", "hflip"]
TEST = np.array(["t", "u"], dtype=object)


def trained(work: FoldWork, folder: Path) -> FoldWork:
    finetune_fold(work, folder, "key", lambda record: None)
    return work


def readable(pictures: Inputs, name: str) -> list[str]:
    return [
        str(image)
        for image in pictures.store.ids
        if image.startswith(f"{name}/") and image not in pictures.store.problems
    ]


def test_a_row_is_predicted_as_its_images_are_one_by_one(make_work, tmp_path: Path):
    """The twin: each image a row of its own, and numpy over what was said of those of a row."""
    work = trained(make_work(seeds=2), tmp_path)
    store = work.inputs.store
    predictions = predict_fold(work, tmp_path, TEST, VIEWS, size=40)["era"]
    predictions.verify(work.plan)

    networks = load_networks(tmp_path, work)
    images = store.ids[store.readable]
    alone = predict_views(networks, store, images, VIEWS, work.machine, size=40)["era"]  # (M, V, 1)
    assert np.std(alone) > 1e-4
    said = dict(zip(images, alone[:, :, 0], strict=True))
    features = aggregate(predictions, ["mean", "var", "max", "min"]).frame.set_index("id")
    rows = [*(name for name in work.plan.valid_ids(0) if readable(work.inputs, name)), *TEST]
    assert sorted(features.index) == sorted(rows)
    for name in rows:
        values = np.concatenate([said[image] for image in readable(work.inputs, name)]).astype(np.float64)
        expected = [values.mean(), values.var(), values.max(), values.min()]
        np.testing.assert_allclose(
            features.loc[name].to_numpy()[2:].astype(float), expected, rtol=1e-4, atol=1e-6
        )


def test_views_are_numbered_by_image_and_what_cannot_be_read_is_left_out(make_work, tmp_path: Path):
    work = trained(make_work(), tmp_path)
    predictions = predict_fold(work, tmp_path, TEST, VIEWS)["era"]
    assert predictions.images == 5
    views = predictions.frame.query("role != 'insample'").groupby("id")["view"].agg(list).to_dict()
    expected = {
        name: [2 * int(image.split("/")[1]) + v for image in readable(work.inputs, name) for v in (0, 1)]
        for name in [*work.plan.valid_ids(0), *TEST]
    }
    assert views == {name: numbers for name, numbers in expected.items() if numbers}
    shown = predictions.insample()
    assert len(shown) == shown["id"].nunique() > 0  # one view of the first image
    for name, view in zip(shown["id"], shown["view"], strict=True):
        assert view == 2 * int(readable(work.inputs, name)[0].split("/")[1])


def test_folds_with_other_numbers_of_images_are_one_table(make_work, tmp_path: Path):
    work = trained(make_work(), tmp_path)
    whole = predict_fold(work, tmp_path, TEST, VIEWS)["era"]
    test = whole.frame.query("role == 'test'")
    other = dataclasses.replace(whole, frame=test.assign(fold=1), images=3)
    merged = merge([whole, other], work.plan)
    assert isinstance(merged, Predictions) and merged.images == 5
    assert len(merged.test()) == 2 * len(test)


def test_early_stopping_looks_at_the_first_image_of_held_rows(make_work, tmp_path: Path):
    work = trained(make_work(early_stopping=EarlyStopping(share=0.5, patience=2)), tmp_path)
    ids = work.training_ids()
    (network,) = load_networks(tmp_path, work)
    firsts = work.inputs.first(ids)
    names = work.inputs.store.ids[firsts]
    single = Pictures(work.inputs.store)
    frame = work.frame.loc[ids].set_axis(names)
    targets = network.targets
    twin = dataclasses.replace(work, inputs=single, frame=frame)
    one = held_loss(network, labelled(work, ids, targets), work.machine)
    other = held_loss(network, labelled(twin, names, targets), work.machine)
    assert one == other > 0


def test_a_refit_sees_all_rows_and_predicts_test_rows_only(make_work, tmp_path: Path):
    work = trained(dataclasses.replace(make_work(), fold=REFIT), tmp_path)
    assert set(work.training_ids()) == set("abcefghij")
    predictions = predict_fold(work, tmp_path, TEST, VIEWS)["era"]
    assert predictions.frame.groupby("id").size().to_dict() == {"t": 2, "u": 6}


def test_a_finished_network_with_weights_that_are_not_finite_predicts_nothing_until_trained_again(
    make_work, tmp_path: Path
):
    work = trained(make_work(), tmp_path)
    path = tmp_path / "head.safetensors"
    weights = load_file(path)
    weights["heads.era.bias"][0] = float("nan")
    save_file(weights, path, metadata={"key": "key"})
    with pytest.raises(
        ValueError, match=r"head.safetensors: .* NaN or infinity in 'heads.era.bias'; delete the file"
    ):
        predict_fold(work, tmp_path, TEST, VIEWS)
    path.unlink()
    assert "era" in predict_fold(trained(work, tmp_path), tmp_path, TEST, VIEWS)
