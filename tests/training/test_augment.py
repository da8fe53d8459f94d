"""Batched augmentation does to each sample what torchvision does to one image."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from jigstack.configs.heads import Affine, Blur, ColourJitter, Erase, GridShuffle, HeadAugment
from jigstack.training import augment as ours
from jigstack.training.views import VIEWS, apply_view
from PIL import Image
from scipy.stats import chisquare, kstest
from torchvision.transforms import InterpolationMode
from torchvision.transforms import v2 as transforms
from torchvision.transforms.v2 import functional as tv

NOTHING = HeadAugment(crop=(1.0, 1.0), hflip=False)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 6, channels: int = 3, side: int = 12) -> torch.Tensor:
    return torch.rand(count, channels, side, side, generator=generator())


def pixels(count: int = 4, channels: int = 3, side: int = 20, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (count, channels, side, side), generator=generator(seed), dtype=torch.uint8)


def test_dihedral_follows_the_order_of_the_views():
    batch, k = images(8), torch.arange(8)
    turned = ours.dihedral(batch, k)
    for i, name in enumerate(VIEWS):
        assert torch.equal(turned[i], apply_view(batch[i], name))


def test_flips_are_torchvisions():
    batch = images(4)[:2]
    assert torch.equal(ours.dihedral(batch, torch.tensor([1, 1])), tv.horizontal_flip(batch))
    assert torch.equal(ours.dihedral(batch, torch.tensor([2, 2])), tv.vertical_flip(batch))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 25), st.integers(0, 1000))
def test_a_resized_crop_is_the_interpolated_crop(height: int, width: int, size: int, seed: int):
    draws = generator(seed)
    batch = torch.rand(3, 2, height, width, generator=draws)
    boxes = ours.random_boxes(3, height, width, (0.1, 1.0), (0.5, 2.0), draws)
    crops = ours.resized_crop(batch, boxes, size)
    for image, (top, left, h, w), crop in zip(batch, boxes.int().tolist(), crops, strict=True):
        plain = image[None, :, top : top + h, left : left + w]
        twin = F.interpolate(plain, (size, size), mode="bilinear", align_corners=False)[0]
        assert torch.allclose(crop, twin, atol=1e-4)


def test_a_resized_crop_is_torchvisions():
    batch, boxes = images(4, side=24)[:2], torch.tensor([[3.0, 5.0, 12.0, 9.0], [0.0, 1.0, 20.0, 23.0]])
    crops = ours.resized_crop(batch, boxes, 16)
    for image, (top, left, h, w), crop in zip(batch, boxes.int().tolist(), crops, strict=True):
        twin = tv.resized_crop(image, top, left, h, w, [16, 16], InterpolationMode.BILINEAR, antialias=False)
        assert torch.allclose(crop, twin, atol=1e-5)


def test_patches_are_read_from_the_crop():
    """Crop, then slice: the slow way round."""
    batch = torch.rand(2, 3, 20, 24, generator=generator())
    boxes = torch.tensor([[1.0, 2.0, 15.0, 12.0], [0.0, 0.0, 20.0, 24.0]])
    rows = torch.tensor([[[0.0, 1, 2], [4, 5, 6]], [[7, 8, 9], [3, 4, 5]]])  # (B, n, s)
    columns = torch.tensor([[[2.0, 3, 4], [5, 6, 7]], [[0, 1, 2], [7, 8, 9]]])  # (B, n, s)
    read = ours.sample_patches(batch, boxes, 10, rows, columns)
    crops = ours.resized_crop(batch, boxes, 10)
    assert read.shape == (2, 3, 2, 3, 3)
    for b in range(2):
        for n in range(2):
            plain = crops[b][:, rows[b, n].long()][:, :, columns[b, n].long()]
            assert torch.allclose(read[b, :, n], plain, atol=1e-5)


def test_boxes_are_distributed_as_torchvisions():
    """Kolmogorov-Smirnov: share of the area, aspect ratio and position against RandomResizedCrop."""
    boxes = ours.random_boxes(2000, 400, 300, (0.2, 0.9), (0.7, 1.4), generator()).numpy()
    image = torch.empty(1, 400, 300)
    torch.manual_seed(0)
    crop = transforms.RandomResizedCrop(10, scale=(0.2, 0.9), ratio=(0.7, 1.4))
    drawn = [crop.make_params([image]) for _ in range(2000)]
    twin = np.array([[d["top"], d["left"], d["height"], d["width"]] for d in drawn], float)
    for look in (
        lambda b: b[:, 2] * b[:, 3],
        lambda b: b[:, 3] / b[:, 2],
        lambda b: b[:, 0] / (400 - b[:, 2] + 1),
        lambda b: b[:, 1] / (300 - b[:, 3] + 1),
    ):
        assert kstest(look(boxes), look(twin)).pvalue > 0.01


def test_square_boxes_have_a_uniform_area_and_a_log_uniform_ratio():
    boxes = ours.random_boxes(4000, 1000, 1000, (0.1, 0.3), (0.8, 1.25), generator())
    share = boxes[:, 2] * boxes[:, 3] / 1e6
    ratio = (boxes[:, 3] / boxes[:, 2]).log() / math.log(1.25)
    assert kstest(share.numpy(), "uniform", args=(0.1, 0.2)).pvalue > 0.01
    assert kstest(ratio.numpy(), "uniform", args=(-1, 2)).pvalue > 0.01


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.01, 1.0), st.integers(0, 1000))
def test_boxes_lie_inside_the_image(height: int, width: int, low: float, seed: int):
    boxes = ours.random_boxes(50, height, width, (low, 1.0), (0.3, 3.0), generator(seed))
    top, left, h, w = boxes.unbind(1)
    assert bool((h >= 1).all() and (w >= 1).all() and (top >= 0).all() and (left >= 0).all())
    assert bool((top + h <= height).all() and (left + w <= width).all())


@pytest.mark.parametrize(("height", "width"), [(10, 100), (100, 10)])
def test_where_no_box_fits_the_centre_is_taken_as_torchvision_does(height: int, width: int):
    boxes = ours.random_boxes(3, height, width, (0.99, 1.0), (0.8, 1.25), generator())
    crop = transforms.RandomResizedCrop(10, scale=(0.99, 1.0), ratio=(0.8, 1.25))
    twin = crop.make_params([torch.empty(1, height, width)])
    assert boxes.tolist() == [[twin["top"], twin["left"], twin["height"], twin["width"]]] * 3


@pytest.mark.parametrize(("side", "size"), [(20, 8), (8, 20), (33, 32)])
def test_resizing_for_evaluation_is_pillows(side: int, size: int):
    batch = pixels(3, side=side)
    for image, resized in zip(batch, ours.resize(batch, size), strict=True):
        pillow = Image.fromarray(image.permute(1, 2, 0).numpy()).resize(
            (size, size), Image.Resampling.BILINEAR
        )
        twin = torch.from_numpy(np.array(pillow)).permute(2, 0, 1)
        assert (resized * 255 - twin).abs().max() <= 1.0  # Pillow rounds after each direction


def test_pixels_of_the_right_size_are_only_scaled():
    batch = pixels(side=16)
    assert torch.equal(ours.resize(batch, 16), batch / 255)
    assert torch.equal(ours.augment_images(batch, NOTHING, 16, generator()), batch / 255)


def test_much_larger_images_are_averaged_before_they_are_read():
    """A one-pixel chequerboard turns grey; read pixel by pixel it would stay a pattern."""
    line = torch.arange(96) % 2
    chequered = ((line[:, None] ^ line[None, :]) * 255).to(torch.uint8).expand(2, 3, 96, 96)
    small = ours.augment_images(chequered, HeadAugment(crop=(0.9, 1.0)), 32, generator())
    assert small.std() < 0.12
    assert torch.equal(ours.shrink(chequered, 64, 1.0), chequered / 255)
    assert torch.allclose(ours.shrink(chequered, 48, 1.0), torch.tensor(0.5), atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        HeadAugment(),
        HeadAugment(dihedral=True, crop=(1.0, 1.0)),
        HeadAugment(vflip=True, colour=ColourJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_augmented_images_repeat_with_the_generator_and_differ_between_samples(options, channels):
    batch = pixels(1, channels).expand(24, -1, -1, -1)
    first, again, other = (ours.augment_images(batch, options, 16, generator(s)) for s in (1, 1, 2))
    assert first.shape == (24, channels, 16, 16)
    assert first.dtype == torch.float32
    assert float(first.min()) >= 0.0
    assert float(first.max()) <= 1.0
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    distinct = len(torch.unique(first.flatten(1), dim=0))
    assert distinct == (8 if options.crop == (1.0, 1.0) else 24)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (HeadAugment(crop=(1, 1)), VIEWS[:2]),
        (HeadAugment(crop=(1, 1), hflip=False, vflip=True), ("identity", "vflip")),
        (HeadAugment(crop=(1, 1), vflip=True), VIEWS[:4]),
        (HeadAugment(crop=(1, 1), dihedral=True, hflip=False), VIEWS),
    ],
)
def test_each_allowed_view_is_drawn_equally_often(options: HeadAugment, names: tuple[str, ...]):
    image = pixels(1, side=4)
    drawn = ours.augment_images(image.expand(1600, -1, -1, -1), options, 4, generator())
    counts = [int((drawn == apply_view(image / 255, name)).all((1, 2, 3)).sum()) for name in names]
    assert sum(counts) == 1600
    assert min(counts) > 0.75 * 1600 / len(names)


def test_wrong_batches_are_refused():
    with pytest.raises(
        ValueError, match=r"expected a batch \(B, C, H, W\) of uint8, received \(4, 3, 20, 20\) of"
    ):
        ours.augment_images(pixels().float(), HeadAugment(), 16, generator())
    with pytest.raises(ValueError, match=r"of uint8, received \(3, 20, 20\)"):
        ours.resize(pixels()[0], 16)


EVERYTHING = HeadAugment(
    dihedral=True,
    pad=3,
    affine=Affine(degrees=20, translate=0.1, scale=(0.9, 1.1), shear=10),
    grey=0.5,
    blur=Blur(p=0.5),
    noise=0.1,
    grid_shuffle=GridShuffle(p=0.5, grid=3),
    erase=Erase(p=0.5),
)


@pytest.mark.parametrize("channels", [1, 3])
def test_all_operations_together_repeat_and_stay_in_range(channels: int):
    batch = pixels(1, channels).expand(16, -1, -1, -1)
    first, again = (ours.augment_images(batch, EVERYTHING, 16, generator(1)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == (16, channels, 16, 16)
    assert float(first.min()) >= 0 and float(first.max()) <= 1
    assert len(torch.unique(first.flatten(1), dim=0)) == 16


@pytest.mark.parametrize("options", [HeadAugment(), HeadAugment(dihedral=True), NOTHING], ids=str)
def test_the_defaults_are_a_crop_and_a_flip_and_nothing_else_is_drawn(options: HeadAugment):
    draws, twin = generator(3), generator(3)
    given = pixels(side=24)
    augmented = ours.augment_images(given, options, 16, draws)
    plain = ours.resize(given, 16)
    if options is not NOTHING:
        boxes = ours.random_boxes(len(given), 24, 24, (0.6, 1.0), (0.8, 1.25), twin)
        crops = ours.resized_crop(given / 255, boxes, 16)
        plain = ours.dihedral(crops, torch.randint(0, 8 if options.dihedral else 2, (4,), generator=twin))
    assert torch.equal(augmented, plain)
    assert torch.equal(draws.get_state(), twin.get_state())


def test_what_is_off_is_not_drawn():
    plain, spelled = generator(3), generator(3)
    ours.augment_images(pixels(), HeadAugment(), 16, plain)
    ours.augment_images(
        pixels(), HeadAugment(mix=None, pad=0, grey=0.0, noise=0.0, affine=Affine()), 16, spelled
    )
    assert torch.equal(plain.get_state(), spelled.get_state())
    twice = generator(3)
    ours.augment_images(pixels(), HeadAugment(grey=0.5), 16, twice)
    assert not torch.equal(plain.get_state(), twice.get_state())


@pytest.mark.parametrize(
    "options",
    [
        HeadAugment(grey=0.4),
        HeadAugment(blur=Blur(p=0.4, sigma=(1, 2))),
        HeadAugment(grid_shuffle=GridShuffle(p=0.4)),
        HeadAugment(erase=Erase(p=0.4)),
    ],
    ids=["grey", "blur", "grid_shuffle", "erase"],
)
def test_a_share_of_the_samples_is_spoilt_and_the_others_keep_every_bit(options: HeadAugment):
    unit = torch.rand(500, 3, 12, 12, generator=generator())
    spoilt = ours.spoil(unit.clone(), options, generator(1))
    touched = (spoilt != unit).flatten(1).any(1)
    assert float(touched.float().mean()) == pytest.approx(0.4, abs=0.07)


def test_a_blur_has_a_width_for_each_sample_within_its_range():
    """An edge blurred with σ is steepest by 1 / (σ √(2π)) in its middle: for wide blurs the slope tells σ."""
    edge = (torch.arange(40) >= 20).float().expand(600, 1, 40, 40)
    blurred = ours.spoil(edge.clone(), HeadAugment(blur=Blur(p=1, sigma=(1.5, 3.0))), generator())
    slope = (blurred[:, 0, 20, 20] - blurred[:, 0, 20, 19]).double()
    widths = 1 / (slope * math.sqrt(2 * math.pi))
    assert kstest(widths.numpy(), "uniform", args=(1.5, 1.5)).pvalue > 0.01


def test_all_of_p_1_are_grey_as_in_torchvision():
    unit = images()
    torch.testing.assert_close(
        ours.spoil(unit.clone(), HeadAugment(grey=1.0), generator()), tv.rgb_to_grayscale(unit, 3)
    )


def test_every_cell_comes_to_every_place_and_each_sample_has_an_order_of_its_own():
    cells = torch.arange(4.0).view(1, 1, 2, 2).repeat_interleave(3, 2).repeat_interleave(3, 3)
    options = HeadAugment(grid_shuffle=GridShuffle(p=1, grid=2))
    orders = ours.spoil(cells.repeat(2400, 1, 1, 1), options, generator())[:, 0, ::3, ::3].flatten(1)
    assert torch.equal(orders.sort(1).values, torch.arange(4.0).expand(2400, 4))
    counts = torch.unique(orders, dim=0, return_counts=True)[1]
    assert len(counts) == 24 and chisquare(counts.numpy()).pvalue > 0.01


def test_noise_has_a_strength_for_each_sample_up_to_the_largest():
    unit = torch.full((400, 3, 16, 16), 0.5)
    noise = ours.spoil(unit.clone(), HeadAugment(noise=0.1), generator()) - unit
    assert kstest(noise.flatten(1).std(1).numpy(), "uniform", args=(0, 0.1)).pvalue > 0.01
    assert abs(float(noise.mean())) < 1e-3


def test_noise_is_the_picture_plus_sigma_z_cut_off_at_black_and_white():
    """One sample after the other, in numpy, with the same draws: first all strengths, then all pixels."""
    batch, options = pixels(6, side=16), HeadAugment(crop=(1.0, 1.0), hflip=False, noise=0.4)
    noisy = ours.augment_images(batch, options, 16, generator(3))
    draws = generator(3)
    sigmas = torch.rand(6, generator=draws, dtype=torch.float64) * 0.4
    z = torch.randn(6, 3, 16, 16, generator=draws)
    for picture, sigma, deviations, result in zip(batch, sigmas, z, noisy, strict=True):
        twin = picture.numpy() / 255 + float(sigma) * deviations.numpy().astype(float)
        np.testing.assert_allclose(result.numpy(), np.clip(twin, 0, 1), rtol=0, atol=1e-6)
    assert 0.02 < float(((noisy == 0) | (noisy == 1)).float().mean()) < 0.5  # some are cut off, most are not
