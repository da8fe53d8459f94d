"""The JSON schema for editors."""

import json
from pathlib import Path

from jigstack.configs import json_schema
from jigstack.configs.schema import Config

ROOT = Path(__file__).parents[2]


def test_the_schema_in_docs_is_current():
    """If not: make schema."""
    assert json.loads((ROOT / "docs/config.schema.json").read_text()) == json_schema()


def test_every_key_of_the_config_stands_in_the_schema():
    assert set(json_schema()["properties"]) == set(Config.model_fields)


def test_options_follow_the_kind():
    definitions = json_schema()["$defs"]
    rules = {rule["if"]["properties"]["kind"]["const"]: rule["then"] for rule in definitions["Task"]["allOf"]}
    assert rules["onehot"] == {"properties": {"options": {"$ref": "#/$defs/OnehotOptions"}}}
    assert "smoothing" in definitions["OnehotOptions"]["properties"]
    assert "grid" in definitions["JigsawOptions"]["properties"]
    assert definitions["Pretext"]["properties"]["kind"]["examples"] == [
        "jigsaw",
        "tiles",
        "simsiam",
        "dino",
        "lejepa",
        "masked",
        "simsiam_rows",
    ]


def test_every_reference_leads_somewhere():
    schema = json_schema()
    text = json.dumps(schema)
    used = {part.split('"')[0] for part in text.split("#/$defs/")[1:]}
    assert used <= set(schema["$defs"])
