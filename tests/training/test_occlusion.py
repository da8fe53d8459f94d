"""Erased rectangles and shuffled cells, one set of places a sample."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from jigstack.configs.heads import Erase
from jigstack.training.occlusion import erase, erase_boxes, shuffle_cells
from scipy.stats import ks_2samp
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_rectangle_is_filled_with_the_mean_as_torchvision_fills_it():
    images = torch.rand(4, 3, 12, 10, generator=generator())
    boxes = torch.tensor([[0, 0, 5, 4], [3, 2, 9, 8], [11, 9, 1, 1], [2, 2, 0, 0]])
    for image, box, result in zip(images, boxes.tolist(), erase(images, boxes), strict=True):
        mean = image.mean((1, 2))[:, None, None]
        torch.testing.assert_close(result, tv.erase(image, *box, v=mean.expand(3, box[2], box[3])))


def test_rectangles_are_distributed_as_torchvisions():
    torch.manual_seed(0)
    twin = v2.RandomErasing(p=1.0, scale=(0.05, 0.3), ratio=(0.5, 2.0))
    theirs = []
    for _ in range(600):
        made = twin.make_params([torch.zeros(3, 40, 30)])
        theirs.append([made["h"], made["w"], made["i"], made["j"]])
    boxes = erase_boxes(600, 40, 30, Erase(p=1, area=(0.05, 0.3), ratio=(0.5, 2.0)), generator()).numpy()
    for ours, twins in zip(boxes[:, [2, 3, 0, 1]].T, np.array(theirs).T, strict=True):
        assert float(np.asarray(ks_2samp(ours, twins))[1]) > 0.005


@given(st.integers(4, 40), st.integers(4, 40), st.integers(0, 99))
def test_rectangles_lie_inside(height: int, width: int, seed: int):
    top, left, h, w = erase_boxes(20, height, width, Erase(p=1), generator(seed)).T
    assert (top >= 0).all() and (left >= 0).all() and (top + h <= height).all() and (left + w <= width).all()


@given(st.integers(2, 5), st.integers(6, 23), st.integers(6, 23))
def test_every_pixel_of_the_cells_is_kept_and_the_rest_stays(grid: int, height: int, width: int):
    images = torch.arange(2 * height * width, dtype=torch.float32).view(2, 1, height, width)
    orders = torch.stack([torch.randperm(grid**2, generator=generator(k)) for k in range(2)])
    shuffled = shuffle_cells(images, orders, grid)
    tall, wide = height // grid, width // grid
    for picture, order, result in zip(images[:, 0], orders, shuffled[:, 0], strict=True):
        for place in range(grid**2):
            (row, column), (i, j) = divmod(place, grid), divmod(int(order[place]), grid)
            assert torch.equal(
                result[row * tall : (row + 1) * tall, column * wide : (column + 1) * wide],
                picture[i * tall : (i + 1) * tall, j * wide : (j + 1) * wide],
            )
        assert torch.equal(result[grid * tall :], picture[grid * tall :])
        assert torch.equal(result[:, grid * wide :], picture[:, grid * wide :])
    ordered = torch.arange(grid**2).expand(2, -1)
    assert torch.equal(shuffle_cells(images, ordered, grid), images)
