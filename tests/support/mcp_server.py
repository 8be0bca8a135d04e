"""A server of the Model Context Protocol, for `tests.test_mcp` and `tests.test_agent`: `python -m tests.support.mcp_server [PORT]`.

Without a port it speaks over its standard streams.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server: Any = MCPServer("notes")
kept: list[str] = []


@server.tool()
def keep(note: str) -> int:
    """Keep a note."""
    kept.append(note)
    return len(kept)


@server.tool()
def setting(name: str) -> str:
    """A variable of the environment."""
    return os.environ.get(name, "")


@server.tool()
async def count(to: int, ctx: Context) -> str:
    """Count, and tell how far it has come."""
    for at in range(1, to + 1):
        await ctx.report_progress(at, to, f"at {at}")
    return "done"


@server.tool()
def fail() -> str:
    """Always goes wrong."""
    raise ValueError("there is no such note")


@server.tool()
def hang() -> str:
    """Never ends, and leaves a child."""
    subprocess.Popen(["sleep", "617"])
    time.sleep(617)
    return ""


@server.tool()
def leave() -> str:
    """The server ends in the middle of a call."""
    os._exit(3)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run()
