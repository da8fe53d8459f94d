"""The config as a JSON schema, by which editors complete and check the YAML."""

import json
from typing import Any

from .registry import PRETEXTS, options_class
from .schema import HEAD_OPTIONS, Config


def json_schema() -> dict[str, Any]:
    """The JSON schema of a config file, with the options of each kind of pretext and head."""
    schema = Config.model_json_schema()
    definitions = schema["$defs"]
    owners = {
        "Pretext": {
            kind: options_class(kind) for kind in PRETEXTS if isinstance(PRETEXTS[kind].options, str)
        },
        "Task": dict(HEAD_OPTIONS),
    }
    for owner, kinds in owners.items():
        definitions[owner]["allOf"] = []
        for kind, options in kinds.items():
            own = options.model_json_schema()
            definitions.update(own.pop("$defs", {}))
            definitions[options.__name__] = own
            definitions[owner]["allOf"].append(
                {
                    "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
                    "then": {"properties": {"options": {"$ref": f"#/$defs/{options.__name__}"}}},
                }
            )
    # A plug-in may bring other kinds: completed, not enforced.
    definitions["Pretext"]["properties"]["kind"]["examples"] = list(owners["Pretext"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "jigstack config",
        "description": "A run of jigstack: data, folds, pretraining, heads, features and stacking.",
    }


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=1, ensure_ascii=False))
