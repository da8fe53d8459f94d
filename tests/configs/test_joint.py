"""Options of the joint-embedding pretexts."""

import pytest
from jigstack.configs.heads import Blur
from jigstack.configs.joint import DinoOptions, LejepaOptions, SimSiamOptions, ViewAugment


def test_blur_is_for_views_above_64_pixels_unless_given():
    assert ViewAugment().blur_at(64).p == 0.0
    assert ViewAugment().blur_at(65) == Blur(p=0.5, sigma=(0.1, 2.0))
    assert ViewAugment(blur=Blur(p=0.2)).blur_at(32).p == 0.2


@pytest.mark.parametrize(
    "options", [{"crop": (0.5, 0.2)}, {"blur": {"sigma": (2.0, 1.0)}}, {"hflip": 1.5}, {"rot45": True}]
)
def test_views_out_of_range_are_refused(options: dict):
    with pytest.raises(ValueError):
        ViewAugment.model_validate(options)


def test_small_crops_have_whole_eighths_of_pixels():
    assert [DinoOptions(local_size=0.45).local_pixels(size) for size in (32, 64, 96)] == [16, 32, 40]


def test_simsiam_asks_for_sgd_and_the_others_for_adamw():
    assert (SimSiamOptions.optimiser, DinoOptions.optimiser, LejepaOptions.optimiser) == (
        "sgd",
        "adamw",
        "adamw",
    )


def test_the_projection_has_two_layers_up_to_64_pixels_and_three_above():
    assert [SimSiamOptions().layers_at(size) for size in (64, 65)] == [2, 3]
    assert (SimSiamOptions(layers=2).layers_at(96), SimSiamOptions(layers=3).layers_at(32)) == (2, 3)
