"""Where inputs lie while networks read them: on the graphics card as a whole, or on the way to it."""

from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from ..datasets.joined import JoinedStore
from .device import Machine

FREE_SHARE = 0.4
"""Share of a device's free memory that a store may take; weights, gradients and activations need the rest."""
CHUNK = 2**26  # bytes that are copied to the device at a time


class Gathering(Protocol):
    """Whatever gives rows of a store."""

    def gather(self, rows: np.ndarray) -> Any:
        """(B, ...) inputs, in the order of the B row numbers; of a joined store part -> such."""
        ...


class Store(Protocol):
    """An `ImageStore` or a `TableStore`."""

    def __len__(self) -> int: ...

    @property
    def nbytes(self) -> int:
        """Bytes of all inputs."""
        ...

    def check_rows(self, rows: np.ndarray) -> np.ndarray:
        """Row numbers that can be read, as int64."""
        ...

    def gather(self, rows: np.ndarray, pinned: bool = False) -> Tensor:
        """(B, ...) inputs on the CPU."""
        ...

    def slice(self, start: int, stop: int) -> Tensor:
        """Consecutive inputs."""
        ...


class ResidentInputs:
    """A whole store in the memory of a device: a batch is one indexing there, without a copy from the host.

    Args:
        store: N inputs.
        device: where they go; all N, unreadable ones too, whose rows are refused as the store refuses them.
    """

    def __init__(self, store: Store, device: str) -> None:
        self._check = store.check_rows
        example = store.slice(0, 1)
        self.inputs = torch.empty((len(store), *example.shape[1:]), dtype=example.dtype, device=device)
        step = max(1, CHUNK // max(1, example.nbytes))
        for start in range(0, len(store), step):
            part = store.slice(start, start + step)
            self.inputs[start : start + len(part)].copy_(part)

    def gather(self, rows: np.ndarray) -> Tensor:
        """Rows of the store.

        Args:
            rows: B row numbers, any order, repeats allowed.

        Returns:
            (B, ...) on the device.

        Raises:
            ValueError: a row out of range, or one whose image is unreadable.
        """
        rows = self._check(rows)
        index = torch.from_numpy(rows).to(self.inputs.device, non_blocking=True)
        return self.inputs.index_select(0, index)


class PassingInputs:
    """A store that is too large for the device: each batch is gathered into pinned memory, and copied from there.

    Pinned memory lets the copy run beside the computation; torch's allocator of it waits with the reuse of a block
    until its copy is done. Untested on CUDA so far.
    """

    def __init__(self, store: Store, device: str) -> None:
        self.store, self.device = store, torch.device(device)

    def gather(self, rows: np.ndarray) -> Tensor:
        """(B, ...) on the device; see `ResidentInputs.gather`."""
        return self.store.gather(rows, pinned=self.device.type == "cuda").to(self.device, non_blocking=True)


_RESIDENT: WeakKeyDictionary[Store, dict[str, ResidentInputs]] = WeakKeyDictionary()


def resident(store: Store | JoinedStore, machine: Machine) -> Gathering:
    """A store as a machine reads it fastest.

    On a CPU the store itself: memory, or a memory-mapped file, is as near as it gets. On CUDA a copy on the device,
    made once for all stages of this process, if it takes at most `FREE_SHARE` of the memory that is free there; else
    batches through pinned memory. The CUDA part is untested so far: `make gpu-check` looks at it.

    Args:
        store: N inputs; of a joined one each part is looked at by itself.
        machine: where they are read.

    Returns:
        Something with `gather(rows)`, which gives (B, ...) on the machine's device.
    """
    if machine.kind == "cpu":
        return store
    if isinstance(store, JoinedStore):
        return store.read_through(lambda part: resident(part, machine))
    held = _RESIDENT.setdefault(store, {})
    if machine.device not in held:
        if not fits(store, machine.device):
            return PassingInputs(store, machine.device)
        held[machine.device] = ResidentInputs(store, machine.device)
    return held[machine.device]


def fits(store: Store, device: str) -> bool:
    """Whether a device has room for a whole store."""
    if not device.startswith("cuda"):
        return False  # MPS shares the memory of the host, where the file is mapped already
    free, _ = torch.cuda.mem_get_info(device)
    return store.nbytes <= FREE_SHARE * free
