"""The eight views are the symmetries of the square, and only those that training saw are used unasked."""

import pytest
import torch
from jigstack.configs.heads import Affine, GridShuffle, HeadAugment
from jigstack.training.views import INVERSE, VIEWS, apply_view, resolve_views, unseen_views

PLAIN = HeadAugment(hflip=False)
FLIPS = HeadAugment(hflip=True, vflip=True)
ALL = HeadAugment(dihedral=True)
TURNED = HeadAugment(hflip=False, affine=Affine(degrees=180), grid_shuffle=GridShuffle(p=1))
"""Turns of every angle contain quarter turns, but hardly ever show one."""


def test_views_are_torchs_flips_and_turns():
    x = torch.rand(2, 3, 5, 5)
    twins = {
        "identity": x,
        "hflip": torch.flip(x, (3,)),
        "vflip": torch.flip(x, (2,)),
        "rot180": torch.rot90(x, 2, (2, 3)),
        "rot90": torch.rot90(x, 1, (2, 3)),
        "rot270": torch.rot90(x, -1, (2, 3)),
        "transpose": x.mT,
        "antitranspose": torch.rot90(x.mT, 2, (2, 3)),
    }
    assert tuple(twins) == VIEWS
    for name, twin in twins.items():
        assert torch.equal(apply_view(x, name), twin)


@pytest.mark.parametrize("name", VIEWS)
def test_each_view_has_an_exact_inverse(name: str):
    x = torch.rand(2, 3, 5, 5)
    assert torch.equal(apply_view(apply_view(x, name), INVERSE[name]), x)


def test_the_eight_views_are_a_group():
    """Two views in a row are again one of the eight."""
    x = torch.rand(4, 4)
    eight = [apply_view(x, name) for name in VIEWS]
    for first in eight:
        for name in VIEWS:
            assert sum(torch.equal(apply_view(first, name), view) for view in eight) == 1


@pytest.mark.parametrize(
    ("setting", "augment", "views"),
    [
        ("auto", PLAIN, ["identity"]),
        ("auto", HeadAugment(), ["identity", "hflip"]),
        ("auto", HeadAugment(hflip=False, vflip=True), ["identity", "vflip"]),
        ("auto", FLIPS, ["identity", "hflip", "vflip", "rot180"]),
        ("auto", ALL, list(VIEWS)),
        ("auto", [ALL, HeadAugment()], ["identity", "hflip"]),
        ("auto", TURNED, ["identity"]),
        ("none", ALL, ["identity"]),
        ("hflip", PLAIN, ["identity", "hflip"]),
        ("d4", PLAIN, list(VIEWS)),
        (["rot90", "identity"], PLAIN, ["identity", "rot90"]),
        (["vflip"], PLAIN, ["identity", "vflip"]),
        ([], PLAIN, ["identity"]),
    ],
)
def test_settings_name_views(setting: str | list[str], augment: HeadAugment, views: list[str]):
    assert resolve_views(setting, augment) == views


@pytest.mark.parametrize("augment", [PLAIN, HeadAugment(), FLIPS, ALL])
def test_automatic_views_were_all_seen(augment: HeadAugment):
    assert unseen_views(resolve_views("auto", augment), augment) == []


def test_unseen_views_are_named():
    assert unseen_views(["identity", "hflip", "rot90"], HeadAugment()) == ["rot90"]
    assert unseen_views(VIEWS, FLIPS) == ["rot90", "rot270", "transpose", "antitranspose"]
    assert unseen_views(VIEWS, PLAIN) == list(VIEWS[1:])
    assert unseen_views(["hflip"], [ALL, PLAIN]) == ["hflip"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "hflips",
            r"expected auto, none, hflip, d4 or a list of views, received 'hflips'. Did you mean 'hflip'\?",
        ),
        (["rot_90"], r"received 'rot_90'. Did you mean 'rot90'\?"),
        (["hflip", "vflip", "hflip"], "expected each view once, received 'hflip' more than once"),
    ],
)
def test_wrong_views_are_refused(setting: str | list[str], message: str):
    with pytest.raises(ValueError, match=message):
        resolve_views(setting, PLAIN)
