"""Options of the pretext that hides cells of a table."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from .heads import Options


class MaskedOptions(Options):
    """Masked cells: hide a share of each row's cells and predict them from the rest (Arik and Pfister 2021)."""

    optimiser: ClassVar[Literal["adamw", "sgd"]] = "adamw"

    ratio: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.6
    """Share of the cells that are hidden, drawn anew in each step. Columns that repeat each other bear .8 (sensors: .2
    to .8 probed alike); others do not (64 principal components of cells: .2 to .6 alike, .8 behind)."""
    mode: Literal["cell", "pytorch-tabnet"] = "cell"
    """`pytorch-tabnet`: the decoder and the loss of that library, faults included, to compare with it; on TabNet
    only."""
    steps: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Feature transformers of the decoder, whose predictions are summed; `auto`: 3. The paper took 10 and 20 for large
    tables."""
    width: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Features of each of them, from which all columns are predicted; `auto`: 64."""
    layers: Annotated[int, Field(ge=1)] = 2
    """Layers of each of them."""
    virtual_batch: Annotated[int, Field(ge=2)] = 128
    """Rows over which the decoder's batch norms take their statistics."""
    momentum: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    """Share of such rows in the decoder's running statistics, as torch counts it."""
    sparsity: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight of the entropy of TabNet's masks; the paper names none for pretraining. Other backbones have no masks."""

    @model_validator(mode="after")
    def _of_the_encoder(self) -> "MaskedOptions":
        if self.mode == "pytorch-tabnet":
            given = [name for name in ("steps", "width") if getattr(self, name) != "auto"]
            if given or self.sparsity:
                raise ValueError(
                    f"{' and '.join(given) or 'sparsity'} left out with mode: pytorch-tabnet, whose decoder has the "
                    "steps and the width of the encoder, and whose pretraining no sparsity"
                )
        return self

    @property
    def decoder_steps(self) -> int:
        """What `steps` means."""
        return 3 if self.steps == "auto" else self.steps

    @property
    def decoder_width(self) -> int:
        """What `width` means."""
        return 64 if self.width == "auto" else self.width
