"""An anti-aliased crop of a batch is torchvision's of each image, by either way."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jigstack.training import cropping as ours
from jigstack.training.augment import random_boxes
from torchvision.transforms.v2 import functional as tv


def twin(images: torch.Tensor, boxes: torch.Tensor, size: int) -> torch.Tensor:
    return torch.stack(
        [
            tv.resized_crop(image.float() / 255, top, left, height, width, [size, size], antialias=True)
            for image, (top, left, height, width) in zip(images, boxes.int().tolist(), strict=True)
        ]
    )


def by_matrices(images: torch.Tensor, boxes: torch.Tensor, size: int) -> torch.Tensor:
    return ours.by_matrices(images, boxes, size) / 255


@pytest.mark.parametrize("way", [ours.crop, by_matrices], ids=["one_by_one", "matrices"])
@settings(max_examples=50, deadline=None)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    size=st.integers(1, 40),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 1000),
)
def test_each_sample_is_cropped_and_resized_as_torchvision_does_one(way, height, width, size, channels, seed):
    draws = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (4, channels, height, width), dtype=torch.uint8, generator=draws)
    boxes = random_boxes(4, height, width, (0.05, 1.0), (0.5, 2.0), draws)
    crops = way(images, boxes, size)
    assert crops.shape == (4, channels, size, size)
    assert crops.dtype == torch.float32
    torch.testing.assert_close(crops, twin(images, boxes, size), rtol=0, atol=2e-5)


def test_the_whole_image_at_its_own_size_keeps_every_pixel():
    images = torch.arange(2 * 3 * 25, dtype=torch.uint8).view(2, 3, 5, 5)
    whole = torch.tensor([[0.0, 0.0, 5.0, 5.0]]).expand(2, 4)
    assert torch.equal(ours.crop(images, whole, 5), images / 255)
    torch.testing.assert_close(by_matrices(images, whole, 5), images / 255, rtol=0, atol=1e-6)


def test_each_row_of_a_resize_matrix_is_a_mean_of_the_part():
    starts, lengths = torch.tensor([3.0, 0.0, 9.0]), torch.tensor([6.0, 10.0, 1.0])
    matrices = ours.resize_matrices(starts, lengths, 10, 4)
    assert matrices.shape == (3, 4, 10)
    assert bool((matrices >= 0).all())
    torch.testing.assert_close(matrices.sum(2), torch.ones(3, 4))
    assert float(matrices[0, :, :3].sum() + matrices[0, :, 9:].sum() + matrices[2, :, :9].sum()) == 0.0


def test_pixels_that_are_no_bytes_are_refused():
    with pytest.raises(ValueError, match=r"expected a batch \(B, C, H, W\) of uint8"):
        ours.crop(torch.rand(2, 3, 8, 8), torch.tensor([[0.0, 0.0, 8.0, 8.0]] * 2), 4)
