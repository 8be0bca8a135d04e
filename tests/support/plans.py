"""What the tests of running share: plans from plain data, tasks that a script can end anyhow, results to compare."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import tomli_w

from engine.compile.compiler import compile as compile_spec
from engine.language.loader import load_spec
from engine.plan.plan import Plan
from engine.record.result import Result
from engine.sdk.context import Context
from engine.sdk.registry import Registry
from engine.sdk.task import Task
from engine.toml.source import Source


async def _unscripted(inputs: dict[str, Any], context: Context) -> None:
    raise AssertionError("a scripted task was run for real")


def registry() -> Registry:
    """`shell` (open) and `probe` (closed), as the oracle knows them, with inputs of any kind."""
    shell = Task("shell", _unscripted, exits={"success": 0}, open_exits=True)
    probe = Task("probe", _unscripted, exits={"success": 0, "failure": 1, "needs_review": 2})
    return Registry({"shell": lambda: shell, "probe": lambda: probe}, entry_points=False)


def plan_of(doc: dict[str, Any]) -> Plan:
    """The compiled plan of a document; rules over whole plans are not asked."""
    spec, found = load_spec(Source("case.toml", tomli_w.dumps(doc)))
    assert spec is not None, found
    assert not found.errors, "\n".join(map(str, found))
    plan, found = compile_spec(spec, registry())
    assert plan is not None, "\n".join(map(str, found))
    return plan


def comparable(result: Result | dict[str, Any]) -> dict[str, Any]:
    """What docs/language.md defines of a result: no messages, no ids, reasons by kind."""
    data = result.to_json() if isinstance(result, Result) else result
    found: dict[str, Any] = {"status": data["status"], "outputs": data.get("outputs") or {}}
    found["state"] = data.get("state") or {}
    found["nodes"] = {name: _node(node) for name, node in data["nodes"].items()}
    return found


def _node(node: dict[str, Any]) -> dict[str, Any]:
    kept = {key: node[key] for key in ("result", "label", "output") if key in node}
    kept["reason"] = node["reason"]["kind"]
    kept["attempts"] = [_attempt(attempt) for attempt in node.get("attempts", ())]
    if "items" in node:
        kept["items"] = [_node(item) for item in node["items"]]
    return kept


def _attempt(attempt: dict[str, Any]) -> dict[str, Any]:
    keys = ("step", "visit", "attempt", "outcome", "started", "ended")
    kept = {key: attempt[key] for key in keys}
    return kept | ({"run": comparable(attempt["run"])} if "run" in attempt else {})


def children() -> set[str]:
    """The children of this process that are not dead."""
    own = str(os.getpid())
    found = set()
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = each.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[1] == own and fields[0] != "Z":
            found.add(each.parent.name)
    return found
