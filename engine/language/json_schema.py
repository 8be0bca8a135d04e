"""Provides the spec language as JSON Schema, for editors, completions and the reference.

`language.schema.json` describes a file's data key by key as `structuring` and `consistency` check it; what a schema cannot
express is left to them. Nothing here is needed to load a spec. Source: docs/language.md.
"""

from __future__ import annotations

from typing import Any

__all__ = ["load_language_schema"]


def load_language_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a spec's data; each caller gets a new copy."""
    import json
    from importlib.resources import files

    text = files("engine.language").joinpath("language.schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
