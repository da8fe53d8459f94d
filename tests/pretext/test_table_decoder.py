"""TabNet's decoder against its formula, step by step."""

import torch
import torch.nn.functional as F
from jigstack.configs.masked import MaskedOptions
from jigstack.pretext.table_decoder import TableDecoder

SHARES = torch.tensor([0.75, 0.25, 0.0])


def build(**options: int) -> TableDecoder:
    torch.manual_seed(0)
    return TableDecoder(5, 2, SHARES, MaskedOptions.model_validate({"width": 4} | options))


def test_it_is_a_sum_of_steps_with_fully_connected_layers_of_their_own():
    """Figure 4b, as a loop: GLU blocks with residuals halved in variance, then the step's own weights."""
    decoder = build(steps=3, layers=2).double()
    z = torch.randn(16, 5, dtype=torch.float64)
    expected = decoder.output.bias.expand(16, -1)
    for step, transformer in enumerate(decoder.transformers):
        weights = dict(transformer.named_parameters())
        h = z
        for layer in range(2):
            u = F.batch_norm(
                h @ weights[f"own.{layer}.weight"].T,
                None,
                None,
                weights[f"norms.{layer}.weight"],
                weights[f"norms.{layer}.bias"],
                True,
            )
            glu = u[:, :4] * u[:, 4:].sigmoid()
            h = glu if layer == 0 else (h + glu) * 0.5**0.5
        expected = expected + h @ decoder.output.weight[:, 4 * step : 4 * step + 4].T
    torch.testing.assert_close(torch.cat(decoder(z), 1), expected, atol=1e-10, rtol=0)


def test_it_begins_near_what_is_known_of_the_columns():
    decoder = build().eval()
    decoder.output.weight.data.zero_()
    numbers, levels = decoder(torch.randn(3, 5))
    assert not numbers.any()
    torch.testing.assert_close(levels.softmax(1), SHARES.expand(3, -1), atol=1e-5, rtol=0)


def test_every_weight_learns():
    decoder = build(steps=2)
    numbers, levels = decoder(torch.randn(6, 5))
    (numbers.square().sum() + levels.square().sum()).backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in decoder.parameters())
