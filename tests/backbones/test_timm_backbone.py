"""Every timm backbone keeps one contract: features (B, D), ordered stages, a card."""

import json

import pytest
import timm
import torch
from jigstack.backbones import TimmBackbone

TINY = {
    "test_resnet": ["stem", "layer1", "layer2", "layer3", "layer4"],
    "resnet10t": ["stem", "layer1", "layer2", "layer3", "layer4"],
    "test_convnext": ["stem", "stages.0", "stages.1", "stages.2", "stages.3", "tail"],
    "test_vit": ["stem", *[f"blocks.{i}" for i in range(6)], "tail"],
    "test_efficientnet": ["stem", *[f"blocks.{i}" for i in range(5)], "tail"],
}


@pytest.fixture(scope="module", params=sorted(TINY))
def backbone(request: pytest.FixtureRequest) -> TimmBackbone:
    torch.manual_seed(0)
    return TimmBackbone(request.param, channels=3, size=32)


def test_features_have_the_probed_width(backbone: TimmBackbone):
    assert backbone.eval()(torch.rand(2, 3, 32, 32)).shape == (2, backbone.dim)


def test_stages_go_from_stem_to_tail(backbone: TimmBackbone):
    assert list(backbone.stages()) == TINY[backbone.name]
    assert list(backbone.stage_modules()) == TINY[backbone.name]


def test_every_parameter_is_in_exactly_one_stage(backbone: TimmBackbone):
    staged = [id(p) for stage in backbone.stages().values() for p in stage]
    assert len(staged) == len(set(staged))
    assert set(staged) == {id(p) for p in backbone.parameters()}


def test_stage_modules_hold_every_batch_norm(backbone: TimmBackbone):
    norms = {id(m) for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)}
    held = {id(m) for modules in backbone.stage_modules().values() for top in modules for m in top.modules()}
    assert norms <= held


def test_stages_follow_the_order_of_computation(backbone: TimmBackbone):
    """A later stage cannot influence an earlier one: hooks fire in the order of the names."""
    fired: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: fired.append(name))
        for name, modules in backbone.stage_modules().items()
        for module in modules
    ]
    backbone.eval()(torch.rand(1, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    assert list(dict.fromkeys(fired)) == list(backbone.stage_modules())


def test_the_card_is_plain_and_rebuilds_the_network(backbone: TimmBackbone):
    card = json.loads(json.dumps(backbone.card()))
    again = TimmBackbone(card["name"], card["channels"], card["size"], card["options"])
    assert again.card() == card == backbone.card()
    assert again.state_dict().keys() == backbone.state_dict().keys()


def test_probing_leaves_mode_and_statistics_alone():
    torch.manual_seed(0)
    backbone = TimmBackbone("test_resnet", 3, 32)
    torch.manual_seed(0)
    plain = timm.create_model("test_resnet", num_classes=0)
    assert backbone.training
    assert all(
        torch.equal(a, b)
        for a, b in zip(backbone.net.state_dict().values(), plain.state_dict().values(), strict=True)
    )


def test_normalisation_is_that_of_the_pretrained_model():
    backbone = TimmBackbone("test_resnet", 3, 32)
    assert backbone.mean == pytest.approx(timm.get_pretrained_cfg_value("test_resnet", "mean"))
    images = torch.rand(2, 3, 4, 4)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (backbone.mean, backbone.std))
    assert torch.allclose(backbone.normalise(images), (images - mean) / std)


@pytest.mark.parametrize("channels", [1, 5])
def test_other_channel_counts_have_plain_statistics(channels: int):
    backbone = TimmBackbone("test_convnext", channels, 32)
    assert (backbone.mean, backbone.std) == ((0.5,) * channels, (0.25,) * channels)
    assert backbone.eval()(torch.rand(2, channels, 32, 32)).shape == (2, backbone.dim)


def test_a_vit_is_built_for_its_size_and_takes_others():
    backbone = TimmBackbone("test_vit", 3, 64).eval()
    assert backbone.net.get_parameter("pos_embed").shape[1] == 16 + 1
    assert backbone(torch.rand(1, 3, 96, 96)).shape == (1, backbone.dim)


def test_options_reach_timm():
    backbone = TimmBackbone("test_resnet", 3, 32, {"drop_path_rate": 0.5})
    assert any("DropPath" in type(m).__name__ for m in backbone.modules())


@pytest.mark.parametrize(
    ("name", "size", "options", "message"),
    [
        ("resnet81", 32, {}, r"received 'resnet81'. Did you mean 'resnet\d+.*'\?"),
        ("resnet18.made_up", 32, {}, r"Invalid pretrained tag \(made_up\).*Its tags: 'resnet18\."),
        ("test_vit", 50, {}, r"size: backbone 'test_vit' cannot take 3 x 50 x 50 images"),
        ("test_resnet", 32, {"num_classes": 3}, r"num_classes is set by jigstack"),
        ("test_resnet", 32, {"patch": 3}, r"'test_resnet' does not know 'patch'"),
        ("test_resnet", 32, {"act_layer": torch.nn.ReLU}, r"expected plain values for the card"),
        (
            "test_resnet",
            32,
            {"global_pool": ""},
            r"expected pooled features \(B, D\), received \(1, 96, 1, 1\)",
        ),
    ],
)
def test_what_cannot_work_is_named(name: str, size: int, options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        TimmBackbone(name, 3, size, options)


def test_a_small_stem_keeps_the_resolution_and_travels_with_the_card():
    backbone = TimmBackbone("resnet18", 3, 32, {"small_stem": True})
    images = torch.zeros(1, 3, 32, 32)
    for module in backbone.stage_modules()["stem"]:
        images = module(images)
    assert images.shape == (1, 64, 32, 32)
    card = backbone.card()
    again = TimmBackbone(card["name"], card["channels"], card["size"], card["options"])
    again.load_state_dict(backbone.state_dict())
    assert "stem" in again.stages() and again.dim == 512


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_a_small_stem_is_refused_where_there_is_none_to_replace(name: str):
    with pytest.raises(ValueError, match="small_stem expects a ResNet"):
        TimmBackbone(name, 3, 64, {"small_stem": True})
