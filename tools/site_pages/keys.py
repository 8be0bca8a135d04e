"""The JSON Schema of the language -> `docs/reference/keys.md`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from site_pages import ROOT, cell

__all__ = ["page"]

_HEAD = """\
# Keys

All keys of a spec, generated from the JSON Schema that `engine schema` prints.
[The language](../language.md) explains how they work together.

"""
_TABLES = (
    ("node", "Nodes: `[nodes.NAME]` and `[finally.NAME]`", "../language.md#nodes-and-steps"),
    ("step", "Steps: `[nodes.NAME.steps.STEP]`", "../language.md#nodes-and-steps"),
    ("longRoute", "Routes: a table in `routes`", "../language.md#routes"),
    ("clause", "Retry: `retry`, or each of `[[nodes.NAME.retry]]`", "../language.md#retry"),
    ("limits", "Limits: `[limits]`", "../language.md#limits"),
    ("service", "Services: `[services.NAME]`", "../language.md#services"),
    ("resource", "Resources: `[resources.NAME]`", "../language.md#resources"),
)
_KINDS = {
    "duration": "duration",
    "delay": "duration",
    "text": "string",
    "description": "string",
    "word": "name",
    "name": "name",
    "target": "target",
    "condition": "condition",
    "values": "values",
    "limits": "table",
    "names": "array of names",
}


def page() -> str:
    """The whole page."""
    path = ROOT / "engine" / "language.schema.json"
    if not path.exists():
        [path] = (ROOT / "engine").rglob("language.schema.json")
    schema = json.loads(path.read_text(encoding="utf-8"))
    known = schema["$defs"]
    top = _table(schema, known, "the top level")
    pipeline = _table(schema["properties"]["pipeline"], known)
    parts = [f"## The top level\n\n{top}", f"## `[pipeline]`\n\n{pipeline}"]
    for name, title, link in _TABLES:
        about = f"{known[name]['description']} [More]({link})."
        parts.append(f"## {title}\n\n{about}\n\n{_table(known[name], known)}")
    return _HEAD + "\n".join(parts)


def _table(schema: Mapping[str, Any], known: Mapping[str, Any], _: str = "") -> str:
    rows = "\n".join(_rows(schema, known))
    return f"| key | type | meaning | default |\n|---|---|---|---|\n{rows}\n"


def _rows(schema: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        about = field.get("description") or known.get(_reference(field), {}).get("description", "")
        default = "required" if name in required else _default(field)
        yield f"| `{name}` | {cell(_kind(field))} | {cell(about)} | {default} |"


def _reference(field: Mapping[str, Any]) -> str:
    return str(field.get("$ref", "")).rpartition("/")[2]


def _default(field: Mapping[str, Any]) -> str:
    if "default" not in field or field["default"] in ({}, [], ""):
        return ""
    return f"`{json.dumps(field['default'])}`"


def _kind(field: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return _KINDS.get(_reference(field), "table")
    if "enum" in field:
        return ", ".join(f"`{json.dumps(value)}`" for value in field["enum"])
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    for key in ("oneOf", "anyOf"):
        if key in field:
            return " or ".join(dict.fromkeys(_kind(each) for each in field[key]))
    kind = field.get("type", "any")
    kinds = kind if isinstance(kind, list) else [kind]
    return " or ".join("table" if each == "object" else each for each in kinds)
