"""From features of a row to predictions of all its cells."""

import torch
from torch import Tensor, nn

from ..backbones.ghost_norm import GhostBatchNorm1d
from ..backbones.linear import Linear
from ..backbones.tabnet_encoder import FeatureTransformer
from ..configs.masked import MaskedOptions

_RAREST = 1e-6


class TableDecoder(nn.Module):
    """TabNet's decoder (Arik and Pfister 2021, figure 4b): feature transformers in steps, predictions summed.

    Every step reads all of the features and has a fully connected layer of its own to all outputs. The layers of all
    steps are one product here, with one bias, which begins at what is known of the columns: the mean of the numbers,
    the shares of the levels.

    Args:
        dim: D, the features of a row.
        numbers: Dn, how many numbers to predict.
        shares: (L,) how often each level of the categories stands, one category after the other.
        options: the config's.

    Attributes:
        output: from the features of all steps to the predictions.
    """

    def __init__(self, dim: int, numbers: int, shares: Tensor, options: MaskedOptions) -> None:
        super().__init__()
        width, steps = options.decoder_width, options.decoder_steps

        def layer(inputs: int) -> Linear:
            linear = Linear(inputs, 2 * width, bias=False)
            nn.init.xavier_uniform_(linear.weight)
            return linear

        self.transformers = nn.ModuleList(
            FeatureTransformer(
                [layer(dim if i == 0 else width) for i in range(options.layers)],
                [
                    GhostBatchNorm1d(2 * width, options.virtual_batch, options.momentum)
                    for _ in range(options.layers)
                ],
            )
            for _ in range(steps)
        )
        self.shared = nn.ModuleList()
        self.output = Linear(steps * width, numbers + len(shares))
        self.numbers = numbers
        with torch.no_grad():
            self.output.bias[:numbers] = 0
            self.output.bias[numbers:] = shares.clamp_min(_RAREST).log()

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Predict.

        Args:
            features: (B, D).

        Returns:
            (B, Dn) standardised values and (B, L) logits.
        """
        steps = [transformer(features, self.shared) for transformer in self.transformers]
        predicted = self.output(torch.cat(steps, 1))
        return predicted[:, : self.numbers], predicted[:, self.numbers :]
