"""An anti-aliased crop of a batch is torchvision's of each image."""

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


@settings(max_examples=50, deadline=None)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    size=st.integers(1, 40),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 1000),
)
def test_each_sample_is_cropped_and_resized_as_torchvision_does_one(height, width, size, channels, seed):
    draws = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (4, channels, height, width), dtype=torch.uint8, generator=draws)
    boxes = random_boxes(4, height, width, (0.05, 1.0), (0.5, 2.0), draws)
    crops = ours.crop(images, boxes, size)
    assert crops.shape == (4, channels, size, size)
    assert crops.dtype == torch.float32
    torch.testing.assert_close(crops, twin(images, boxes, size), rtol=0, atol=2e-5)


def test_the_whole_image_at_its_own_size_keeps_every_pixel():
    images = torch.arange(2 * 3 * 25, dtype=torch.uint8).view(2, 3, 5, 5)
    whole = torch.tensor([[0.0, 0.0, 5.0, 5.0]]).expand(2, 4)
    assert torch.equal(ours.crop(images, whole, 5), images / 255)


def test_a_pixel_of_a_resized_line_is_a_mean_of_pixels_of_the_part():
    starts, lengths = torch.tensor([3.0, 0.0, 9.0]), torch.tensor([6.0, 10.0, 1.0])
    places, weights = ours.line_weights(starts, lengths, 4)
    assert places.shape == weights.shape == (3, 4, 6)
    assert bool((weights >= 0).all())
    torch.testing.assert_close(weights.sum(2), torch.ones(3, 4))
    assert bool((places >= starts[:, None, None]).all())
    assert bool((places < (starts + lengths)[:, None, None]).all())


def test_a_batch_of_no_images_has_no_crops():
    assert ours.crop(torch.zeros(0, 3, 8, 8, dtype=torch.uint8), torch.zeros(0, 4), 5).shape == (0, 3, 5, 5)


def test_pixels_that_are_no_bytes_are_refused():
    with pytest.raises(ValueError, match=r"expected a batch \(B, C, H, W\) of uint8"):
        ours.crop(torch.rand(2, 3, 8, 8), torch.tensor([[0.0, 0.0, 8.0, 8.0]] * 2), 4)
