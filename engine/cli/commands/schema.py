"""`engine schema`: print the JSON Schema of the language, with the inputs of the known tasks."""

from __future__ import annotations

import argparse
from pathlib import Path

from engine.cli.console import Console
from engine.errors import EngineError
from engine.render.text import escape_unprintable

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "print the JSON Schema of specs, for completion and validation in editors"
EXAMPLES = """\
  engine schema > engine.schema.json
  engine schema --from pipeline.toml > engine.schema.json   include the tasks of its modules
  then begin a spec with `#:schema ./engine.schema.json`, which taplo and tombi understand
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine schema`."""
    parser.add_argument(
        "--from",
        dest="spec",
        metavar="SPEC",
        help="also include the modules in `tasks` of this spec",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print the schema, and return the exit status."""
    from engine.sdk.imports import TaskError

    try:
        return _print_schema(arguments, console)
    except TaskError as error:
        raise EngineError(str(error)) from error


def _print_schema(arguments: argparse.Namespace, console: Console) -> int:
    import json

    from engine import api
    from engine.sdk.editor_schema import build_editor_schema
    from engine.settings import find_settings

    allow = find_settings(arguments.spec or "here").tasks
    registry, folder = api.default_registry(allow=allow), Path(arguments.spec or "").parent
    if arguments.spec is not None and api.analyse(arguments.spec, registry)[1].errors:
        console.print_note(f"{escape_unprintable(arguments.spec)} has errors: see `engine check`")
    tasks = (registry.find(id, folder) for id in registry.list_ids())
    console.print_output(json.dumps(build_editor_schema(task for task in tasks if task), indent=2))
    for error in registry.find_entry_point_errors():
        console.print_error(str(error))
    return 2 if registry.find_entry_point_errors() else 0
