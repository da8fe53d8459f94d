"""Work in parts gives what work on the whole gives."""

import torch
from jigstack.training.parts import CACHED, in_parts


def test_parts_are_joined_in_order_with_their_own_parameters():
    images, factors = torch.arange(7.0)[:, None].expand(7, CACHED // 8), torch.arange(7.0) + 1
    seen: list[int] = []

    def work(part: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        seen.append(len(part))
        return part * factor[:, None]

    assert torch.equal(in_parts(work, images, factors), images * factors[:, None])
    assert seen == [2, 2, 2, 1]


def test_a_sample_that_is_larger_than_a_part_is_done_alone():
    images = torch.rand(3, CACHED // 4 + 1, generator=torch.Generator().manual_seed(0))
    seen: list[int] = []

    def work(part: torch.Tensor) -> torch.Tensor:
        seen.append(len(part))
        return part + 1

    assert torch.equal(in_parts(work, images), images + 1)
    assert seen == [1, 1, 1]


def test_no_samples_are_worked_on_too():
    assert in_parts(lambda part: part + 1, torch.empty(0, 3)).shape == (0, 3)
