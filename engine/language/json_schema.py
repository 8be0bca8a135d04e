"""The language as JSON Schema, for editors, completions and the reference.

`language.schema.json` says of a file's data what `structure` and `across` say of it, key by key;
what a schema cannot say is left to them. Nothing here is needed to load a spec. Source: LANGUAGE.md
sections 1 to 9.
"""

from __future__ import annotations

from typing import Any

__all__ = ["schema"]


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a spec's data; a new one for each caller."""
    import json
    from importlib.resources import files

    text = files("engine.language").joinpath("language.schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
