"""A blur is torchvision's, with a width for each sample."""

import pytest
import torch
from jigstack.training.blurring import blur, kernel_size
from torchvision.transforms.v2 import functional as tv


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [3, 7, 13])
def test_each_sample_is_blurred_as_torchvision_blurs_one(channels: int, size: int):
    images = torch.rand(5, channels, 20, 17, generator=torch.Generator().manual_seed(0))
    sigmas = torch.tensor([0.1, 0.5, 1.0, 2.0, 4.0], dtype=torch.float64)
    for image, sigma, result in zip(images, sigmas, blur(images, sigmas, size), strict=True):
        torch.testing.assert_close(
            result, tv.gaussian_blur(image, [size, size], [float(sigma)]), rtol=0, atol=1e-5
        )


def test_the_kernel_holds_three_deviations_but_no_more_than_the_mirror():
    assert kernel_size(2.0, 64) == 13
    assert kernel_size(0.1, 64) == 3
    assert kernel_size(20.0, 8) == 15
