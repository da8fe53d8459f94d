"""The network of heads: its contract, its masks, its frozen stages, its views."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
import torch
from jigstack.backbones import build_backbone
from jigstack.configs.heads import HeadAugment, Mix
from jigstack.configs.schema import Backbone, Unfreeze
from jigstack.datasets.targets import OnehotTarget, RegressionTarget, Target
from jigstack.scoring.losses import cross_entropy
from jigstack.training.augment import resize
from jigstack.training.device import Machine
from jigstack.training.fit import FitOptions, Training
from jigstack.training.optimiser import parameter_groups
from jigstack.training.schedule import Schedule
from jigstack.training.views import VIEWS, apply_view
from jigstack.transfer.network import HeadNetwork, thawed_stages
from jigstack.transfer.prediction import predict_views

CPU = Machine(device="cpu", precision="fp32", channels_last=False, threads=1)
FRAME = pd.DataFrame({"year": [1900.0, 1910.0, 1950.0], "style": ["a", "b", "a"]})
PLAIN = HeadAugment(mix=None)
IMAGES = torch.randint(0, 256, (3, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def targets() -> Mapping[str, Target]:
    year = RegressionTarget("year", ("year",)).fit(FRAME)
    style = OnehotTarget("style", ("style",), ("a", "b"), None, False)
    return {"year": year, "style": style}


def network(frozen: str | list[str] = "none") -> HeadNetwork:
    torch.manual_seed(0)
    backbone = build_backbone(Backbone(name="test_resnet"), 3, 32)
    return HeadNetwork(
        backbone,
        targets(),
        size=32,
        augment=PLAIN,
        weights={"year": 1.0, "style": 0.5},
        frozen=frozen,
    )


def excite(net: HeadNetwork, head: str) -> None:
    """Give a head random weights: a new one is all zero."""
    torch.nn.init.normal_(net.heads[head].get_parameter("weight"))


def batch(year: list[float], style: list[list[float]]) -> dict:
    return {"inputs": IMAGES, "targets": {"year": torch.tensor(year)[:, None], "style": torch.tensor(style)}}


def full_batch() -> dict:
    encoded = {name: torch.from_numpy(target.encode(FRAME)) for name, target in targets().items()}
    return {"inputs": IMAGES, "targets": encoded}


def step(net: HeadNetwork, given: dict) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    views = net.views(given, torch.Generator().manual_seed(1))
    outputs = net(views)
    return outputs, net.loss(outputs, views)


def test_a_new_network_predicts_the_training_mean_and_equal_odds():
    net = network().eval()
    outputs = net.view_outputs(IMAGES, ["identity"])
    year = net.targets["year"].decode(outputs["year"][:, 0].detach().numpy())
    np.testing.assert_allclose(year, FRAME["year"].mean(), rtol=1e-6)
    style = net.targets["style"].decode(outputs["style"][:, 0].detach().numpy())
    np.testing.assert_allclose(style, 0.5)


def test_the_loss_is_the_weighted_sum_of_the_heads():
    outputs, losses = step(network(), full_batch())
    assert torch.allclose(losses["loss"], losses["year"] + 0.5 * losses["style"])
    wanted = full_batch()["targets"]["style"]
    torch.testing.assert_close(losses["style"], cross_entropy(outputs["style"], wanted).mean())


def test_a_missing_label_costs_nothing_and_moves_nothing():
    nan = float("nan")
    net = network()
    for name in net.heads:
        excite(net, name)
    _, some = step(net, batch([0.5, nan, nan], [[1.0, 0.0], [nan, nan], [0.0, 1.0]]))
    _, none = step(net, batch([nan] * 3, [[nan, nan]] * 3))
    assert some["loss"].isfinite() and none["loss"] == 0
    net.zero_grad()
    none["loss"].backward()
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in net.parameters())


def test_one_of_several_columns_may_be_missing():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, np.nan]})
    target = RegressionTarget("both", ("a", "b")).fit(frame)
    net = HeadNetwork(
        build_backbone(Backbone(name="test_resnet"), 3, 32),
        {"both": target},
        size=32,
        augment=PLAIN,
        weights={"both": 1.0},
    )
    given = {"inputs": IMAGES[:2], "targets": {"both": torch.from_numpy(target.encode(frame))}}
    _, losses = step(net, given)
    assert losses["loss"].isfinite()


def test_a_target_of_seven_tenths_arrives_as_seven_tenths():
    net = network()
    views = net.views(batch([0.7, 0.7, 0.7], [[0.7, 0.3]] * 3), torch.Generator().manual_seed(0))
    assert views["targets"]["year"].dtype == torch.float32
    torch.testing.assert_close(views["targets"]["year"], torch.full((3, 1), 0.7))


def test_views_are_a_function_of_the_generator_only():
    net = network()
    one, two = (net.views(full_batch(), torch.Generator().manual_seed(5))["inputs"] for _ in range(2))
    other = net.views(full_batch(), torch.Generator().manual_seed(6))["inputs"]
    assert one.shape == (3, 3, 32, 32) and one.dtype == torch.float32
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_view_outputs_stand_at_the_place_of_their_view():
    """Slot [b, v] is image b under view v, as if each had been predicted alone."""
    net = network().eval()
    excite(net, "year")
    with torch.inference_mode():
        together = net.view_outputs(IMAGES, list(VIEWS))["year"]
        assert together.shape == (3, 8, 1)
        for v, name in enumerate(VIEWS):
            alone = net({"inputs": apply_view(net.backbone.normalise(resize(IMAGES, 32)), name)})["year"]
            torch.testing.assert_close(together[:, v], alone, rtol=1e-4, atol=1e-5)


def test_frozen_stages_get_no_gradient_and_keep_their_statistics():
    net = network(frozen="all").train()
    net.apply_modes()
    before = {name: value.clone() for name, value in net.backbone.state_dict().items()}
    _, losses = step(net, full_batch())
    losses["loss"].backward()
    assert all(parameter.grad is None for parameter in net.backbone.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.backbone.state_dict().items())


def test_an_unknown_stage_is_named():
    with pytest.raises(
        ValueError,
        match=r"freeze: expected stages of the backbone \['stem', .*\], received \['layer9', 'stm'\]\..* 'stem'\?$",
    ):
        network(frozen=["layer9", "stm"])


class TinyStore:
    """Stands where an image store would: three pictures in memory."""

    def rows(self, ids: np.ndarray) -> np.ndarray:
        return np.array([int(name) for name in ids])

    def gather(self, rows: np.ndarray) -> torch.Tensor:
        return IMAGES[rows]


def test_prediction_does_not_depend_on_the_batch():
    net = network()
    excite(net, "year")
    machine = Machine("cpu", "fp32", False, 1)
    ids = np.array(["2", "0", "1"], dtype=object)
    outputs = [
        predict_views([net], TinyStore(), ids, ["identity", "hflip"], machine, batch=size)  # pyright: ignore[reportArgumentType]
        for size in (2, 64)
    ]
    assert outputs[0]["year"].shape == (3, 2, 1) and outputs[0]["style"].shape == (3, 2, 2)
    np.testing.assert_allclose(outputs[0]["year"], outputs[1]["year"], rtol=1e-5)


def test_networks_of_several_seeds_are_averaged_in_target_units():
    first, second = network(), network()
    excite(second, "style")
    machine = Machine("cpu", "fp32", False, 1)
    ids = np.array(["0", "1"], dtype=object)

    def predict(*networks: HeadNetwork) -> np.ndarray:
        return predict_views(networks, TinyStore(), ids, ["identity"], machine)["style"]  # pyright: ignore[reportArgumentType]

    np.testing.assert_allclose(predict(first, second), (predict(first) + predict(second)) / 2, rtol=1e-6)


def test_mixing_blends_the_targets_with_the_pictures_after_augmentation():
    net = network()
    net.augment = HeadAugment(mix=Mix(p=1, mixup=1.0, cutmix=0))
    plain = network().views(full_batch(), torch.Generator().manual_seed(1))
    mixed = net.views(full_batch(), torch.Generator().manual_seed(1))
    assert not torch.equal(mixed["inputs"], plain["inputs"])
    style = mixed["targets"]["style"]
    torch.testing.assert_close(style.sum(1), torch.ones(3))
    assert ((style > 0) & (style < 1)).any()
    assert torch.equal(plain["targets"]["style"], full_batch()["targets"]["style"])


def test_a_network_that_is_evaluated_mixes_nothing():
    net = network().eval()
    net.augment = HeadAugment(mix=Mix(p=1))
    targets = net.views(full_batch(), torch.Generator().manual_seed(1))["targets"]
    assert all(torch.equal(values, full_batch()["targets"][name]) for name, values in targets.items())


def test_mixing_that_is_not_decided_yet_is_refused():
    backbone = build_backbone(Backbone(name="test_resnet"), 3, 32)
    with pytest.raises(ValueError, match=r"augment.mix: expected options or None, received 'auto'"):
        HeadNetwork(backbone, targets(), size=32, augment=HeadAugment(), weights={"year": 1.0, "style": 1.0})


def test_stages_thaw_from_the_top_and_frozen_ones_never():
    torch.manual_seed(0)
    backbone = build_backbone(Backbone(name="test_resnet"), 3, 32)
    stages = list(backbone.stages())
    net = HeadNetwork(
        backbone,
        targets(),
        size=32,
        augment=PLAIN,
        weights={"year": 1.0, "style": 1.0},
        frozen=stages[:1],
        unfreeze=Unfreeze(after=2, every=1),
    )
    thawed = [[stage for stage in stages if stage not in net.thaw(epoch)] for epoch in range(len(stages) + 3)]
    assert thawed[:4] == [[], [], stages[-1:], stages[-2:]]
    assert thawed[-1] == stages[1:]
    assert [thawed_stages(epoch, 5, Unfreeze(after=1)) for epoch in range(3)] == [0, 5, 5]
    assert thawed_stages(0, 5, None) == 5


def test_no_gradient_is_computed_in_a_trunk_that_is_frozen_for_the_first_epochs():
    net = network()
    net.unfreeze = Unfreeze(after=1)
    groups = parameter_groups(net.backbone.stages(), net.heads.parameters(), weight_decay=0.05)
    training = Training(net, groups, FitOptions(2, 3, Schedule(1e-3)), CPU, 0, ("test",))
    net.train()
    net.apply_modes()
    losses = step(net, full_batch())[1]
    losses["loss"].backward()
    assert all(parameter.grad is None for parameter in net.backbone.parameters())
    assert all(parameter.grad is not None for parameter in net.heads.parameters())
    training.begin_epoch(1)
    excite(net, "year")
    losses = step(net, full_batch())[1]
    losses["loss"].backward()
    assert all(parameter.grad is not None for parameter in net.backbone.parameters())


def test_heads_may_be_called_as_attributes_of_modules_are():
    torch.manual_seed(0)
    named = {"type": targets()["year"], "half": targets()["style"]}
    net = HeadNetwork(
        build_backbone(Backbone(name="test_resnet"), 3, 32),
        named,
        size=32,
        augment=PLAIN,
        weights={"type": 1.0, "half": 0.5},
    )
    plain = network()
    renamed = {
        name.replace("year", "type").replace("style", "half"): value
        for name, value in plain.state_dict().items()
    }
    net.load_state_dict(renamed)
    given = net.eval().view_outputs(IMAGES, ["identity"])
    wanted = plain.eval().view_outputs(IMAGES, ["identity"])
    assert torch.equal(given["type"], wanted["year"])
    assert torch.equal(given["half"], wanted["style"])


def test_a_head_called_loss_does_not_become_the_loss_of_all():
    plain, named = network(), network()
    named.targets = {"year": named.targets["year"], "loss": named.targets["style"]}
    named.weights = {"year": 1.0, "loss": 0.5}
    outputs, views = plain(plain.views(full_batch(), torch.Generator().manual_seed(1))), full_batch()
    wanted = plain.loss(outputs, views)
    for given in (outputs, views["targets"]):
        given["loss"] = given.pop("style")
    found = named.loss(outputs, views)
    assert list(found) == ["loss", "year"]
    assert torch.equal(found["loss"], wanted["loss"])
