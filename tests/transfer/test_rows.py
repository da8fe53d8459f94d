"""Rows and their images in training: which of several is shown."""

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from jigstack.datasets.pictures import Pictures
from jigstack.training.fit import fit
from jigstack.training.randomness import generator
from jigstack.transfer.finetune import begin, labelled
from jigstack.transfer.rows import LabelledInputs

IDS = np.array(["c", "a", "f", "j"], dtype=object)


def source(pictures: Pictures, ids: np.ndarray = IDS) -> LabelledInputs:
    return LabelledInputs(pictures, ids, {"era": np.arange(len(ids), dtype=np.float32)[:, None]})


def shown(pictures: Pictures, batch: dict) -> list[str]:
    """The names of the images of a batch, by their greys."""
    greys = batch["inputs"][:, 0, 0, 0].long() // 8
    assert torch.equal(greys * 8, batch["inputs"].float().mean((1, 2, 3)).long())
    return pictures.store.ids[greys.numpy()].tolist()


def test_every_readable_image_of_a_row_is_drawn_equally_often_beside_its_own_target(pictures: Pictures):
    rows = torch.tensor([3, 1, 0, 2] * 500)
    batch = source(pictures).batch(rows, generator(0, "some", "step"))
    names = shown(pictures, batch)
    assert torch.equal(batch["targets"]["era"][:, 0], rows.float())
    assert [name[0] for name in names] == ["j", "a", "c", "f"] * 500
    counts = Counter(names)
    assert set(counts) == {"a/0", "c/0", "c/1", "c/2", "c/3", "f/1", "j/0", "j/1", "j/3", "j/4"}
    assert counts["a/0"] == counts["f/1"] == 500
    # Five standard deviations of a binomial of 500 draws at a quarter each.
    assert all(abs(counts[name] - 125) < 49 for name in counts if name[0] in "cj")


def test_the_draw_is_a_function_of_the_generator_and_of_nothing_else(pictures: Pictures):
    rows, images = torch.tensor([0, 3] * 20), source(pictures)
    one, same, other = (images.batch(rows, generator(0, "step", step))["inputs"] for step in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_without_a_generator_it_is_the_first_image_that_can_be_read(pictures: Pictures):
    batch = source(pictures).batch(torch.tensor([0, 1, 2, 3]))
    assert shown(pictures, batch) == ["c/0", "a/0", "f/1", "j/0"]


def test_rows_of_one_image_draw_nothing(pictures: Pictures):
    """So that all later draws of the step are those that they were before there were rows of several."""
    draws = generator(0, "step")
    before = draws.get_state()
    source(pictures, np.array(["a", "g", "f"], dtype=object)).batch(torch.tensor([0, 1, 2]), draws)
    assert torch.equal(draws.get_state(), before)
    source(pictures).batch(torch.tensor([0]), draws)
    assert not torch.equal(draws.get_state(), before)


def test_a_training_shows_every_image_of_its_rows_and_no_other(make_work, monkeypatch: pytest.MonkeyPatch):
    work = make_work()
    ids, _ = work.fit_ids()
    targets = {name: target.fit(work.frame.loc[ids]) for name, target in work.targets.items()}
    images = labelled(work, ids, targets)
    seen: Counter[str] = Counter()
    batch = images.batch

    def watched(rows: torch.Tensor, draws: torch.Generator | None = None) -> dict:
        found = batch(rows, draws)
        seen.update(shown(work.inputs, found))
        return found

    monkeypatch.setattr(images, "batch", watched)
    training = begin(work, targets)
    training.options = dataclasses.replace(training.options, epochs=40)
    list(fit(training, images))
    assert set(seen) == set(work.inputs.store.ids[work.inputs.of(ids)[0]])


@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_a_training_that_is_resumed_draws_the_images_that_it_would_have_drawn(
    make_work, tmp_path: Path, stop_after: int
):
    """Two steps an epoch: stopped within an epoch, or at its end."""
    work = make_work()
    ids, _ = work.fit_ids()
    targets = {name: target.fit(work.frame.loc[ids]) for name, target in work.targets.items()}
    images = labelled(work, ids, targets)
    whole, first, second = (begin(work, targets) for _ in range(3))
    list(fit(whole, images))
    assert whole.step > stop_after
    for record in fit(first, images, lambda: first.step >= stop_after):
        first.note(record)
        first.save(tmp_path / "last.ckpt", "key")
    assert first.step == stop_after and second.resume(tmp_path / "last.ckpt", "key")
    list(fit(second, images))
    expected, found = whole.averaged.state_dict(), second.averaged.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
