"""What networks see: pictures resized, turned and normalised; lines of a table as they are."""

import pytest
import torch
from jigstack.backbones import JoinedBackbone, TimmBackbone
from jigstack.backbones.table_build import build_table_backbone
from jigstack.configs.heads import HeadAugment
from jigstack.datasets.table_column import TableColumn
from jigstack.training.augment import resize
from jigstack.training.modality import changed, rows_of, seen


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


def test_lines_beside_pictures_are_the_same_in_every_view():
    pictures = TimmBackbone("test_resnet", 3, 32)
    lines = build_table_backbone("mlp", [TableColumn("x"), TableColumn("y")], {"numbers": "plain"})
    joined = JoinedBackbone({"img": pictures, "rows": lines})
    batch = {
        "img": torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8),
        "rows": torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
    }
    shown = seen(joined, batch, ["identity", "hflip"])
    assert torch.equal(shown["img"], seen(pictures, batch["img"], ["identity", "hflip"]))
    assert torch.equal(shown["rows"], torch.cat([batch["rows"], batch["rows"]]))
    moved = changed(joined, batch, HeadAugment(mix=None), 16, torch.Generator().manual_seed(0))
    alone = changed(pictures, batch["img"], HeadAugment(mix=None), 16, torch.Generator().manual_seed(0))
    assert torch.equal(moved["img"], alone) and moved["rows"] is batch["rows"]
    assert rows_of(batch) == rows_of(batch["rows"]) == 2


def test_tables_without_pictures_have_one_view_joined_too():
    lines = [build_table_backbone("mlp", [TableColumn("x")], {"numbers": "plain"}) for _ in range(2)]
    joined = JoinedBackbone({"one": lines[0], "two": lines[1]})
    batch = {"one": torch.ones(3, 1), "two": torch.zeros(3, 1)}
    assert seen(joined, batch, ["identity"]) == batch
    with pytest.raises(ValueError, match=r"expected \['identity'\] of a table"):
        seen(joined, batch, ["identity", "hflip"])
