"""What networks see: pictures resized, turned and normalised; lines of a table as they are."""

import pytest
import torch
from jigstack.backbones import TimmBackbone
from jigstack.backbones.table_build import build_table_backbone
from jigstack.configs.heads import HeadAugment
from jigstack.datasets.table_column import TableColumn
from jigstack.training.augment import resize
from jigstack.training.modality import changed, seen


def test_pictures_are_shown_view_after_view():
    backbone = TimmBackbone("test_resnet", 3, 32)
    batch = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
    shown = seen(backbone, batch, ["identity", "hflip"])
    plain = backbone.normalise(resize(batch, 32))
    assert torch.equal(shown, torch.cat([plain, plain.flip(-1)]))
    assert changed(backbone, batch, HeadAugment(mix=None), 16, torch.Generator()).shape == (2, 3, 16, 16)


def test_lines_of_a_table_are_shown_as_they_are_and_in_one_view():
    backbone = build_table_backbone("mlp", [TableColumn("x"), TableColumn("y")], {"numbers": "plain"})
    lines = torch.tensor([[1.0, float("nan")]])
    assert seen(backbone, lines, ["identity"]) is lines
    assert changed(backbone, lines, HeadAugment(), 32, torch.Generator()) is lines
    with pytest.raises(ValueError, match=r"expected \['identity'\] of a table, received \['hflip'\]"):
        seen(backbone, lines, ["hflip"])
