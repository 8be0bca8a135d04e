"""`shell`: runs a command; its status is the exit.

A list of arguments is passed to the program unchanged, without a shell; only `command` with `shell = true` is passed
to `/bin/sh`. Lines on stderr become progress of the attempt; with `output = "stream"` lines on stdout too, in one
order. A check needs only the schema, so modules that start processes are imported when they are used.

Source: docs/language.md, "Outcomes".
"""

from __future__ import annotations

import json
import os
from functools import partial
from typing import TYPE_CHECKING, Any

from engine.sdk.context import Context, Exit, Failure, Permanent
from engine.sdk.task import Task

if TYPE_CHECKING:
    from engine.processes.children import Completed

__all__ = ["TASK", "decode_stream", "parse_stdout", "run_command"]


async def run_command(inputs: dict[str, Any], context: Context) -> Exit:
    """Run the command to its end.

    Raises Failure if a signal killed it, or if its output is not of the form of `output`.
    """
    argv = inputs["argv"] if "argv" in inputs else ["/bin/sh", "-c", inputs["command"]]
    _validate_command(argv, inputs)
    done = await _run_process(argv, inputs, context)
    if done.returncode < 0:
        from engine.processes import children

        raise Failure(f"killed by {children.describe_signal(-done.returncode)}")
    output = {
        "stdout": parse_stdout(done, inputs.get("output", "text"), argv[0]),
        "stderr": decode_stream(done.stderr),
        "status": done.returncode,
    }
    return Exit(done.returncode, output)


def _validate_command(argv: list[str], inputs: dict[str, Any]) -> None:
    """Raise Permanent for arguments that no program can be started with, with a clearer message than the system's."""
    env = inputs.get("env", {})
    if not argv[0]:
        raise Permanent("the first item of `argv` is empty: it must name the program")
    if any("\0" in text for text in (*argv, inputs.get("cwd", ""), *env, *env.values())):
        raise Permanent(
            "`argv`, `cwd` or `env` contains a null character, which cannot be passed to a program"
        )
    if wrong := next((name for name in env if "=" in name), None):
        raise Permanent(f"`{wrong}` cannot be the name of an environment variable")
    if "" in env:
        raise Permanent("the name of an environment variable is empty")


async def _run_process(argv: list[str], inputs: dict[str, Any], context: Context) -> Completed:
    from engine.processes import children, detached

    stdin, place = inputs.get("stdin"), context.place
    start = children.run_child if place is None else partial(detached.run_detached, directory=place)
    try:
        return await start(
            argv,
            cwd=os.path.join(context.folder, inputs.get("cwd", ".")),
            env={**os.environ, **inputs.get("env", {})},
            stdin=None if stdin is None else stdin.encode(),
            grace=context.grace,
            on_line=context.note,
            merged=inputs.get("output") == "stream",
        )
    except (OSError, children.OutputTooLarge, detached.OutcomeUnknown) as error:
        raise Failure(str(error)) from None


def parse_stdout(done: Completed, form: str, command: str) -> Any:
    """Parse the standard output of a command as text, lines or JSON.

    Invalid JSON raises Failure after status 0, and is text otherwise.
    """
    match form:
        case "lines":
            return done.stdout.decode(errors="replace").removesuffix("\n").split("\n") * bool(
                done.stdout
            )
        case "json":
            try:
                return json.loads(done.stdout, parse_constant=_reject_constant)
            except (ValueError, RecursionError) as error:
                why = (
                    "the value is nested too deeply" if isinstance(error, RecursionError) else error
                )
                if done.returncode == 0:
                    raise Failure(f"the output of `{command}` is not JSON: {why}") from None
    return decode_stream(done.stdout)


def decode_stream(data: bytes) -> str:
    """Decode the output of a command as text, less one newline at its end."""
    return data.decode(errors="replace").removesuffix("\n")


def _reject_constant(name: str) -> None:
    raise ValueError(f"`{name}` is not a JSON number")


TASK = Task(
    id="shell",
    body=run_command,
    name="Shell command",
    description="Run a command. Its exit status is the exit.",
    input_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "oneOf": [{"required": ["argv"]}, {"required": ["command"]}],
        "dependentRequired": {"command": ["shell"], "shell": ["command"]},
        "properties": {
            "argv": {
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
                "description": "The program and its arguments, passed on unchanged, without a shell.",
            },
            "command": {
                "type": "string",
                "description": "A command line for `/bin/sh -c`; it needs `shell = true`.",
            },
            "shell": {
                "const": True,
                "description": "Confirms that a shell is to interpret `command`.",
            },
            "cwd": {
                "type": "string",
                "description": "The working directory, relative to the spec's folder, which is the default.",
            },
            "env": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "Environment variables, in addition to those of the engine.",
            },
            "stdin": {
                "type": "string",
                "description": "The text for standard input; empty by default.",
            },
            "output": {
                "enum": ["text", "json", "lines", "stream"],
                "default": "text",
                "description": "The form of `stdout`: text, the JSON value in it, or an array of its lines. With `stream`, "
                "it is empty, and each line is reported as progress when it is written, in one order with those of standard error.",
            },
        },
    },
    output_contract="exact",
    output_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["stdout", "stderr", "status"],
        "properties": {
            "stdout": {
                "description": "What the command wrote to standard output, in the form that `output` asks for."
            },
            "stderr": {
                "type": "string",
                "description": "What the command wrote to standard error, without one newline at the end.",
            },
            "status": {
                "type": "integer",
                "minimum": 0,
                "maximum": 255,
                "description": "The exit status of the command.",
            },
        },
    },
    open_exits=True,
    is_detached=True,
    may_request_delay=False,
    example="""\
[nodes.files]
task = "shell"
with = { argv = ["git", "ls-files", "${inputs.folder}"], output = "lines" }
""",
)
