"""Compiled steps: the losses of eager ones, the same names in checkpoints, and a clear word where none can be made."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from jigstack.backbones import TimmBackbone
from jigstack.configs.pretext import JigsawOptions
from jigstack.pretext.jigsaw import Jigsaw
from jigstack.training.compiling import check_compiler, said_clearly
from jigstack.training.device import Machine
from jigstack.training.fit import FitOptions, Record, Training, fit
from jigstack.training.optimiser import parameter_groups
from jigstack.training.schedule import Schedule
from torch import Tensor, nn

FP32 = Machine("cpu", "fp32", False, 1)
BF16 = Machine("cpu", "bf16", True, 1)


class Pictures:
    """Eight pictures of smooth noise."""

    def __init__(self) -> None:
        coarse = torch.rand(8, 3, 6, 6, generator=torch.Generator().manual_seed(0))
        fine = nn.functional.interpolate(coarse, (48, 48), mode="bilinear")
        self.images = (fine * 255).to(torch.uint8)

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, rows: Tensor, draws: torch.Generator | None = None) -> Any:
        return self.images[rows]


def start(machine: Machine, epochs: int = 2) -> Training:
    torch.manual_seed(0)
    method = Jigsaw(TimmBackbone("test_resnet", 3, 32), JigsawOptions(grid=2), 32)
    groups = parameter_groups(method.backbone.stages(), method.head.parameters(), weight_decay=0.05)
    return Training(method, groups, FitOptions(epochs, 4, Schedule(1e-3), ema=0.9), machine, 0, ("test",))


def train(machine: Machine) -> tuple[Training, list[Record]]:
    training = start(machine)
    return training, list(fit(training, Pictures()))


@pytest.mark.slow
@pytest.mark.parametrize("machine", [FP32, BF16], ids=["fp32", "bf16"])
def test_a_compiled_training_has_the_losses_and_names_of_an_eager_one(machine: Machine, tmp_path: Path):
    eager, expected = train(machine)
    compiled, records = train(replace(machine, compile=True))
    tolerance = 1e-4 if machine is FP32 else 2e-2
    assert [record.scalars["loss"] for record in records] == pytest.approx(
        [record.scalars["loss"] for record in expected], rel=tolerance
    )
    assert list(compiled.method.state_dict()) == list(eager.method.state_dict())
    assert records[0].compile_seconds > 0 and records[1].compile_seconds == 0
    assert records[0].images_per_second < 1e5
    # A checkpoint of one is continued by the other, and the last record's weights are finite in both.
    compiled.save(tmp_path / "last.ckpt", "key")
    assert start(machine).resume(tmp_path / "last.ckpt", "key")


@pytest.mark.slow
def test_taps_on_padding_get_exact_zeros_in_a_compiled_step():
    """At 32 pixels the last stage of a ResNet sees one pixel: in bf16 oneDNN leaves most of its taps unwritten."""
    torch.manual_seed(0)
    method: Any = Jigsaw(TimmBackbone("resnet10t", 3, 32), JigsawOptions(grid=2), 32)
    groups = parameter_groups(method.backbone.stages(), method.head.parameters(), weight_decay=0.0)
    training = Training(
        method, groups, FitOptions(1, 4, Schedule(1e-3)), replace(BF16, compile=True), 0, ("test",)
    )
    list(fit(training, Pictures()))
    weights = dict(method.named_parameters())
    masked = [
        (weight, mask)
        for weight, mask in training.blind
        if weight is weights["backbone.net.layer4.0.conv2.weight"]
    ]
    assert len(masked) == 1 and masked[0][1].sum() == 8
    for weight, mask in training.blind:
        assert (
            weight.grad is not None and (weight.grad[:, :, mask] == 0).all() and weight.grad.isfinite().all()
        )


class Thawing(Jigsaw):
    """Its stem learns from the second epoch on."""

    def thaw(self, epoch: int) -> set[str]:
        return {"stem"} if epoch == 0 else set()


def test_a_thaw_compiles_anew_and_is_told_too(monkeypatch: pytest.MonkeyPatch):
    """The compiler does nothing here: what is told is when it would have been asked."""
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    torch.manual_seed(0)
    method = Thawing(TimmBackbone("test_resnet", 3, 32), JigsawOptions(grid=2), 32)
    groups = parameter_groups(method.backbone.stages(), method.head.parameters(), weight_decay=0.05)
    training = Training(
        method, groups, FitOptions(3, 4, Schedule(1e-3)), replace(FP32, compile=True), 0, ("test",)
    )
    records = list(fit(training, Pictures()))
    assert [record.compile_seconds > 0 for record in records] == [True, True, False]


def test_without_compile_nothing_is_said_of_it():
    _, records = train(FP32)
    assert [record.compile_seconds for record in records] == [0, 0]


def test_a_machine_without_a_compiler_is_told_before_training():
    from torch._inductor import config

    told = r"compile: expected a C\+\+ compiler .* or set compile: false"
    with config.patch({"cpp.cxx": ("no-such-compiler",)}), pytest.raises(ValueError, match=told):
        check_compiler("cpu")


def test_a_card_without_triton_is_told_before_training(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.utils._triton.has_triton", lambda: False)
    with pytest.raises(ValueError, match="compile: expected Triton"):
        check_compiler("cuda")


def test_a_network_that_cannot_be_compiled_is_told_as_such():
    from torch._dynamo.exc import Unsupported

    with (
        pytest.raises(
            ValueError, match=r"compile: this network cannot be compiled here .* set compile: false"
        ),
        said_clearly(),
    ):
        raise Unsupported("something odd")
