"""Linear layers whose products the faster of torch's two libraries computes."""

import platform
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# With fewer images torch itself hands a convolution to MKL, with fewer products the way there costs more than it saves.
_IMAGES, _PRODUCTS, _ROWS = 16, 4096, 256


class Linear(nn.Linear):
    """`nn.Linear`; on an AMD processor large float32 products are written as a convolution of one pixel.

    There torch's products come from MKL, which uses half of what the processor can do (105 GFLOP/s on a core with
    AVX-512), but its convolutions from oneDNN, which uses it (220). One row is a pixel; forward and backward of
    1,024 x 128 -> 256 take 0.99 ms for 1.96. Elsewhere, and where it would not pay, it is `nn.Linear` itself; both
    round in their own order, about 1e-7 apart.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Multiply (B, K) into (B, N)."""
        if not _pays(input, self.weight):
            return super().forward(input)
        pixels = input.reshape(_IMAGES, -1, 1, input.shape[1]).permute(0, 3, 1, 2)  # (16, K, B / 16, 1)
        made = F.conv2d(pixels, self.weight[:, :, None, None], self.bias)
        return made.permute(0, 2, 3, 1).reshape(len(input), -1)


def _pays(input: Tensor, weight: Tensor) -> bool:
    return (
        SLOW_PRODUCTS
        # Before the number of rows is looked at, which would hold what is exported to such numbers.
        and not torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        and not torch.compiler.is_exporting()
        and input.ndim == 2
        and input.shape[0] >= _ROWS
        and input.shape[0] % _IMAGES == 0
        and weight.numel() >= _PRODUCTS
        and input.dtype == weight.dtype == torch.float32
        and input.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
    )


def _products_are_slow() -> bool:
    known = Path("/proc/cpuinfo")
    processor = known.read_text() if known.exists() else platform.processor()
    return (
        "AuthenticAMD" in processor
        and torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
    )


SLOW_PRODUCTS = _products_are_slow()
"""Whether this process multiplies matrices by MKL on a processor that MKL does not know well."""
