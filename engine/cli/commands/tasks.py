"""`engine tasks`: list the tasks that a spec may use, or describe one of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.console import Console
from engine.errors import EngineError

if TYPE_CHECKING:
    from engine.sdk.registry import Registry
    from engine.sdk.task import Task

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "list the available tasks, or show one: its inputs, output, exits and an example"
EXAMPLES = """\
  engine tasks
  engine tasks http
  engine tasks --from pipeline.toml    also the tasks of the spec's modules
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine tasks`."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="the id of a task")
    parser.add_argument(
        "--from",
        dest="spec",
        metavar="SPEC",
        help="also include the modules in `tasks` of this spec",
    )
    parser.add_argument("--json", action="store_true", help="print the tasks as JSON")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """List the tasks, or describe one."""
    from engine.sdk.imports import TaskError

    try:
        return _print_tasks(arguments, console)
    except TaskError as error:
        raise EngineError(str(error)) from error


def _print_tasks(arguments: argparse.Namespace, console: Console) -> int:
    import json

    from engine import api
    from engine.render import tasks as render
    from engine.settings import find_settings

    registry = api.default_registry(allow=find_settings(arguments.spec or "here").tasks)
    folder = _register_tasks_of_spec(registry, arguments.spec, console)
    if folder is None:
        return 2
    names = registry.list_ids() if arguments.name is None else (arguments.name,)
    found = [_find_task(registry, name, folder, console) for name in names]
    width, color = console.width, console.can_use_color()
    if arguments.json:
        data = [render.task_to_json(task, registry.find_origin(task.id) or "") for task in found]
        console.print_output(json.dumps(data if arguments.name is None else data[0], indent=2))
    elif arguments.name is None:
        console.print_output(render.render_task_list(found, width=width, color=color))
    else:
        origin = registry.find_origin(found[0].id) or ""
        console.print_output(render.render_task(found[0], origin, width=width, color=color))
    return _report_broken(registry, console) if arguments.name is None else 0


def _report_broken(registry: Registry, console: Console) -> int:
    """Report the tasks that could not be loaded, and return the exit status."""
    for error in registry.find_entry_point_errors():
        console.print_error(str(error))
    return 2 if registry.find_entry_point_errors() else 0


def _register_tasks_of_spec(registry: Registry, spec: str | None, console: Console) -> Path | None:
    """Register the tasks of a spec's modules, and return the directory in which to look for modules.

    Compiling the spec registers them. Returns None if the spec has errors, which are printed.
    """
    if spec is None:
        return Path()
    from engine import api
    from engine.cli.run_arguments import report_diagnostics

    plan, found = api.analyse(spec, registry)
    if plan is None:
        report_diagnostics(found, console)
        return None
    return Path(spec).parent


def _find_task(registry: Registry, name: str, folder: Path, console: Console) -> Task:
    from engine.base.suggestions import closest_match

    task = registry.find(name, folder)
    if task is None:
        for error in registry.find_entry_point_errors():
            console.print_error(str(error))
        guess = closest_match(name, registry.list_ids())
        raise EngineError(
            f"there is no task `{name}`" + (f", did you mean `{guess}`?" if guess else "")
        )
    return task
