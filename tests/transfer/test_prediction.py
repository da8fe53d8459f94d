"""Prediction: folded, in the machine's precision, and still what the plain network says."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from jigstack.configs.schema import Backbone
from jigstack.training.device import Machine
from jigstack.training.fit import fit
from jigstack.training.views import VIEWS
from jigstack.transfer.finetune import FoldWork, begin, labelled
from jigstack.transfer.network import HeadNetwork
from jigstack.transfer.prediction import predict_views

FP32 = Machine("cpu", "fp32", False, 1)
BF16 = Machine("cpu", "bf16", True, 1)


def trained(work: FoldWork) -> HeadNetwork:
    """Some epochs on greys of different brightness; the statistics of batch norm move."""
    ids = np.array(["a", "b", "c", "e", "f", "g", "h", "i", "j"], dtype=object)
    targets = {name: target.fit(work.frame.loc[ids]) for name, target in work.targets.items()}
    training = begin(work, targets)
    for _ in fit(training, labelled(work, ids, targets)):
        pass
    return training.method


def plainly(network: HeadNetwork, images: torch.Tensor, views: Sequence[str]) -> np.ndarray:
    """The network as it was trained, one view after the other, in fp32."""
    with torch.inference_mode():
        outputs = [network.eval().view_outputs(images, [view])["era"][:, 0] for view in views]
    return np.stack([network.targets["era"].decode(output.numpy()) for output in outputs], axis=1)


@pytest.mark.parametrize("machine", [FP32, BF16], ids=["fp32", "bf16"])
def test_predictions_of_a_trained_network_are_those_of_the_plain_one(
    make_work: Callable[..., FoldWork], machine: Machine
):
    work = make_work()
    network, store = trained(work), work.inputs.store
    ids = store.ids[store.readable]
    expected = plainly(network, store.gather(store.rows(ids)), VIEWS)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = predict_views([network], store, ids, VIEWS, machine)["era"]
    spread = float(expected.std())
    assert spread > 0.01
    np.testing.assert_allclose(found, expected, atol=spread * (1e-3 if machine is FP32 else 0.1))
    flat = torch.from_numpy(np.stack([found.ravel(), expected.ravel()])).double()
    assert torch.cosine_similarity(flat[:1], flat[1:]).item() >= 0.999
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_norms_that_stay_are_said_once(make_work: Callable[..., FoldWork]):
    work = make_work()
    said: list[str] = []
    store = work.inputs.store
    ids = store.ids[store.readable][:4]
    targets = {name: target.fit(work.frame) for name, target in work.targets.items()}
    predict_views([begin(work, targets).method], store, ids, ["identity"], FP32, batch=2, say=said.append)
    assert said == []
    other = begin(replace(work, backbone=Backbone(name="resnetv2_18")), targets).method
    predict_views([other, other], store, ids, ["identity"], FP32, batch=2, say=said.append)
    assert len(said) == 1 and "backbone.net.stages.0" in said[0]
