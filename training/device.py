"""Device, precision, memory layout and threads, resolved once from a fixed table."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from lightning_fabric import Fabric
from torch import nn

from ..configs.schema import Config
from .compiling import check_compiler
from .taps import zero_padding_taps

Precision = Literal["fp32", "bf16"]

# (device, what the processor has) -> (precision, channels_last). On AVX2 in fp32 channels-last gives 1.0 to 1.1x in
# training and 1.3 to 1.5x in prediction (docs/benchmarks.md); on AMX, bf16 with channels-last was measured at 1.5 to
# 1.9x of fp32. The other rows are expectations: benchmarks/precision.py measures them where such a device is.
TABLE: dict[tuple[str, str], tuple[Precision, bool]] = {
    ("cpu", "amx"): ("bf16", True),
    ("cpu", "avx512_bf16"): ("bf16", True),
    ("cpu", "plain"): ("fp32", True),
    ("cuda", "bf16"): ("bf16", True),
    ("cuda", "plain"): ("fp32", True),
    ("mps", "plain"): ("fp32", False),
}


@dataclass(frozen=True)
class Machine:
    """Where and how the networks run: nothing in it is `auto`."""

    device: str
    precision: Precision
    channels_last: bool
    threads: int
    deterministic: bool = False
    compile: bool = False

    @property
    def kind(self) -> str:
        """`cpu`, `cuda` or `mps`."""
        return self.device.split(":")[0]

    @property
    def taps_unwritten(self) -> bool:
        """Whether gradients of convolutions need the correction of `taps`."""
        return self.kind == "cpu" and self.precision == "bf16"

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Autocast around `forward` alone: targets and losses stay float32."""
        with torch.autocast(self.kind, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            yield

    def lay_out(self, module: nn.Module) -> nn.Module:
        """The module on this device, its convolutions in this memory layout and safe on tiny inputs (`taps`)."""
        if (
            self.taps_unwritten and not self.compile
        ):  # a compiled step has no place for hooks; see `taps.mend`
            zero_padding_taps(module)
        return self.place(module)

    def place(self, module: nn.Module) -> nn.Module:
        """The module on this device, its convolutions in this memory layout: enough for a network that predicts."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return module.to(self.device).to(memory_format=layout)  # pyright: ignore[reportCallIssue]

    def fabric(self) -> Fabric:
        """Fabric at `32-true`: the loop opens autocast itself, so that no input of `forward` is cast unasked."""
        index = self.device.partition(":")[2]
        devices: int | list[int] = [int(index)] if index else 1
        return Fabric(accelerator=self.kind, devices=devices, precision="32-true")

    def apply_threads(self) -> None:
        """Set torch's thread count and determinism for this process."""
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        if self.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)


def capability(device: str) -> str:
    """What `TABLE` asks of a processor: `amx`, `avx512_bf16`, `bf16` or `plain`."""
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "plain"
    if device == "cpu":
        for name, probe in (("amx", "_is_amx_tile_supported"), ("avx512_bf16", "_is_avx512_bf16_supported")):
            if getattr(torch.cpu, probe, lambda: False)():
                return name
    return "plain"


def resolve_machine(config: Config) -> Machine:
    """Choose what the config leaves `auto`.

    Raises:
        ValueError: the asked device is not there, or a compiler for `compile`.
    """
    device = found_device(config.device)
    if config.compile:
        check_compiler(device.split(":")[0])
    precision, channels_last = TABLE[device.split(":")[0], capability(device)]
    return Machine(
        device=device,
        precision=precision if config.precision == "auto" else config.precision,
        channels_last=channels_last if config.channels_last == "auto" else config.channels_last,
        threads=available_cores() if config.threads == "auto" else config.threads,
        deterministic=config.deterministic,
        compile=config.compile,
    )


def found_device(device: str) -> str:
    """What `auto` means here, or the device itself.

    Raises:
        ValueError: the asked device is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(
            f"device: expected a CUDA device that torch can see, received {device!r}; use device=auto or device=cpu"
        )
    if device == "mps" and not torch.backends.mps.is_available():
        raise ValueError(
            "device: expected an available MPS device, received 'mps'; use device=auto or device=cpu"
        )
    return device


def machine_of_tables(device: str) -> Machine:
    """Where networks of tables run without a run's config: in float32, with the threads that torch has now.

    Raises:
        ValueError: the asked device is not there, or there is none of this name.
    """
    if not re.fullmatch(r"auto|cpu|cuda|cuda:\d+|mps", device):
        raise ValueError(f"device: expected auto, cpu, cuda, cuda:1 or mps, received {device!r}")
    return Machine(found_device(device), "fp32", channels_last=False, threads=torch.get_num_threads())


def available_cores() -> int:
    """The processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
