"""The built-in tasks: which there are, and how one is loaded. A task's file is imported when the
task is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.sdk.task import Task

__all__ = ["BUILTIN", "ids", "load"]

BUILTIN = {
    "collect": "collect",
    "csv.read": "data_files:READ_CSV",
    "csv.write": "data_files:WRITE_CSV",
    "docker.run": "remote:DOCKER",
    "fail": "fail",
    "file.copy": "files:COPY",
    "file.glob": "files:GLOB",
    "file.hash": "files:HASH",
    "file.read": "files:READ",
    "file.write": "files:WRITE",
    "http": "http.request",
    "http.pages": "http.pages",
    "human": "human",
    "json.read": "data_files:READ_JSON",
    "json.write": "data_files:WRITE_JSON",
    "jsonl.read": "data_files:READ_LINES",
    "jsonl.write": "data_files:WRITE_LINES",
    "llm.agent": "llm.agent",
    "llm.chat": "llm.chat",
    "match": "match",
    "mcp.call": "mcp_client:CALL",
    "mcp.server": "mcp_client:SERVER",
    "pass": "noop",
    "shell": "shell",
    "sleep": "sleep",
    "sql.execute": "sql:EXECUTE",
    "sql.query": "sql:QUERY",
    "ssh.run": "remote:SSH",
    "tempdir": "tempdir",
    "template": "template",
    "validate": "validate",
}
"""The id of each built-in task, and the module of this package whose `TASK` it is, or another name in it."""


def ids() -> tuple[str, ...]:
    """The ids of the built-in tasks, sorted."""
    return tuple(sorted(BUILTIN))


def load(id: str) -> Task:
    """The built-in task `id`; KeyError if there is none."""
    module, _, name = BUILTIN[id].partition(":")
    task: Task = getattr(importlib.import_module(f"engine.tasks.{module}"), name or "TASK")
    return task
