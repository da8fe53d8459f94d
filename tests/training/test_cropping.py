"""Anti-aliased crops of a batch against torchvision's of one image."""

import pytest
import torch
from jigstack.training.augment import random_boxes
from jigstack.training.cropping import antialiased_crop, resize_matrix
from torch import Tensor
from torchvision.transforms.v2 import functional as twin


def images(count: int = 8, height: int = 40, width: int = 52) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def boxes_of(batch: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return random_boxes(len(batch), batch.shape[2], batch.shape[3], (0.1, 1.0), (0.5, 2.0), generator)


@pytest.mark.parametrize("size", [16, 40, 64])
def test_each_crop_equals_torchvision_s_with_antialiasing(size: int):
    """Smaller, equal and larger than the crops."""
    batch = images()
    boxes = boxes_of(batch)
    found = antialiased_crop(batch, boxes, size)
    for image, box, crop in zip(batch, boxes, found, strict=True):
        top, left, tall, wide = box.int().tolist()
        expected = twin.resized_crop(image, top, left, tall, wide, [size, size], antialias=True)
        torch.testing.assert_close(crop, expected, atol=1e-5, rtol=0)


def test_a_mirrored_crop_is_the_crop_mirrored():
    batch = images(4)
    boxes = boxes_of(batch)
    mirrored = torch.tensor([[False, False], [True, False], [False, True], [True, True]])
    plain, found = antialiased_crop(batch, boxes, 24), antialiased_crop(batch, boxes, 24, mirrored)
    expected = [plain[0], plain[1].flip(-2), plain[2].flip(-1), plain[3].flip(-2, -1)]
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-6, rtol=0)


def test_nothing_outside_the_box_is_read():
    batch = images(2)
    box = torch.tensor([[5.0, 6.0, 20.0, 30.0]]).expand(2, 4)
    other = torch.full_like(batch, 9.0)
    other[..., 5:25, 6:36] = batch[..., 5:25, 6:36]
    torch.testing.assert_close(antialiased_crop(batch, box, 16), antialiased_crop(other, box, 16))


def test_the_weights_of_each_pixel_sum_to_one():
    matrix = resize_matrix(torch.tensor([0.0, 3.0]), torch.tensor([17.0, 5.0]), 20, 8)
    torch.testing.assert_close(matrix.sum(2), torch.ones(2, 8))
    assert (matrix >= 0).all()
