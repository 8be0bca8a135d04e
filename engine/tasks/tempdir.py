"""`tempdir`: a temporary directory for the nodes that use it, removed after the last one."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from engine.sdk.context import Context, Permanent
from engine.sdk.task import Task
from engine.tasks.schema_helpers import object_schema, resolve_path

__all__ = ["TASK", "open_directory"]


@asynccontextmanager
async def open_directory(inputs: dict[str, Any], context: Context) -> AsyncIterator[dict[str, str]]:
    """Create the directory and yield its path; remove it with all its content."""
    import trio

    prefix = inputs.get("prefix", f"{context.pipeline}-")
    within = resolve_path(context, inputs["in"]).resolve() if "in" in inputs else None
    folder = tempfile.TemporaryDirectory(prefix=prefix, dir=within)
    try:
        yield {"path": folder.name}
    finally:
        await trio.to_thread.run_sync(folder.cleanup)


async def refuse_as_step(inputs: dict[str, Any], context: Context) -> None:
    """Raise Permanent: a resource cannot run as a step."""
    raise Permanent("`tempdir` provides a resource and cannot be a step")


TASK = Task(
    id="tempdir",
    body=refuse_as_step,
    open_resource=open_directory,
    name="Temporary folder",
    description="A resource: an empty folder, which is removed with its contents after its last user has ended.",
    input_schema=object_schema(
        {
            "prefix": {
                "type": "string",
                "description": "The beginning of the folder's name; by default the name of the pipeline.",
            },
            "in": {
                "type": "string",
                "description": "The parent folder, relative to the spec's folder; by default the system's folder for temporary files.",
            },
        }
    ),
    output_schema=object_schema(
        {"path": {"type": "string", "description": "The absolute path of the folder."}}, ["path"]
    ),
    output_contract="exact",
    example="""\
[resources.work]
task = "tempdir"

[nodes.pack]
task = "shell"
uses = ["work"]
with = { argv = ["tar", "-cf", "${resources.work.path}/all.tar", "."] }
""",
)
