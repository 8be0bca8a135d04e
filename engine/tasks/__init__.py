"""The table of built-in tasks and their loader; a task's module is imported when the task is first requested."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.sdk.task import Task

__all__ = ["BUILTIN_TASKS", "builtin_ids", "load_builtin"]

BUILTIN_TASKS = {
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
"""The module of each built-in task by id; its object is `TASK`, or the name after the colon."""


def builtin_ids() -> tuple[str, ...]:
    """Return the ids of the built-in tasks, sorted."""
    return tuple(sorted(BUILTIN_TASKS))


def load_builtin(id: str) -> Task:
    """Load the built-in task `id`; raises KeyError if there is none."""
    module, _, name = BUILTIN_TASKS[id].partition(":")
    task: Task = getattr(importlib.import_module(f"engine.tasks.{module}"), name or "TASK")
    return task
