"""Batch norm that also takes a batch of one row."""

from torch import Tensor, nn
from torch.nn import functional as F


class RowBatchNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d`, but a batch in which a feature has one value is normalised by the running statistics.

    One value has no variance, so torch refuses such a batch in training, and it comes when an epoch leaves one row
    over. The running statistics stay as they are.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, D) or (B, D, L) over all but D."""
        if self.training and input.numel() <= input.shape[1]:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)
