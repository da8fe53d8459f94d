"""What the backbones of tables share: their input, stages in order, an example and a card."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .._version import __version__
from .table_input import TableInput


class TableBackbone(nn.Module):
    """A network that turns rows into `dim` features; each kind adds `stage_modules` and `forward(x, masked=None)`.

    Args:
        input: the module that reads the columns.
        options: keywords of the network beside those of its input, plain values.

    Attributes:
        kind: the name by which configs ask for it.
        modality: `table`.
        dim: D, the number of features.
        columns: those of its input.
        options: all keywords to build it again, those of its input included.
    """

    kind: ClassVar[str]
    modality = "table"
    dim: int

    def __init__(self, input: TableInput, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.input = input
        self.columns = input.columns
        self.options = {**input.options(), **options}

    def stage_modules(self) -> "OrderedDict[str, list[nn.Module]]":
        """The modules of each stage from the input to the output: name -> modules."""
        raise NotImplementedError

    def stages(self) -> "OrderedDict[str, list[nn.Parameter]]":
        """Group the parameters from the input to the output, for freezing and layer decay.

        Returns:
            name -> parameters; each parameter stands in exactly one stage.
        """
        return OrderedDict(
            (name, [p for module in modules for p in module.parameters()])
            for name, modules in self.stage_modules().items()
        )

    @property
    def name(self) -> str:
        """What messages call it: its kind."""
        return self.kind

    @property
    def core(self) -> nn.Module:
        """The module whose state a checkpoint holds: all of it."""
        return self

    def example(self) -> Tensor:
        """(1, columns) zeros on the network's device: an input that it takes."""
        return torch.zeros(1, len(self.columns), device=self.input.slots.device)

    def card(self) -> dict[str, Any]:
        """Describe the network so that it can be built again.

        Returns:
            Plain values: kind, options, columns, dim and the version of jigstack.
        """
        return {
            "kind": self.kind,
            "options": dict(self.options),
            "columns": [column.state() for column in self.columns],
            "dim": self.dim,
            "jigstack": __version__,
        }
