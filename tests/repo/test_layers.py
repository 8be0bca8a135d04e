"""Packages import one way, there is no cycle, and what must start fast imports nothing heavy at its top."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parents[2] / "engine"

LAYERS = (
    "errors version base",
    "toml",
    "diagnostics",
    "expressions schemas",
    "language",
    "processes record",
    "sdk",
    "plan hooks sinks tasks",
    "analysis scheduling journal",
    "compile",
    "rules",
    "checking runtime",
    "settings",
    "api",
    "stored testing",
    "__init__",
    "render",
    "cli",
    "__main__",
)
"""A module imports from its own package and from rows above its own."""
RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row.split()}
HEAVY = {"trio", "networkx", "httpx", "jsonschema", "jsonschema_rs", "cel", "asyncio", "pytest"}
MAY_BE_HEAVY = ("engine.runtime.", "engine.expressions.cel.", "engine.testing.pytest_plugin.")
PLAN_ALONE = {"runtime", "scheduling"}
NO_PLAN = {"language", "compile", "analysis", "rules", "checking"}
EXCEPTIONS = {
    ("engine.errors", "engine.diagnostics"),  # names Diagnostics for type checkers
    ("engine.expressions.templates", "engine.expressions.cel"),  # when a spec has CEL
}


def _module(path: Path) -> str:
    parts = ["engine", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


MODULES = {_module(path): path for path in sorted(ROOT.rglob("*.py"))}


def _imports(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """The modules named by imports anywhere in a tree, each with the name taken from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


def _edges(module: str) -> set[str]:
    """The modules of the engine that a module imports, wherever in its text."""
    found = set()
    for name, member in _imports(ast.parse(MODULES[module].read_text())):
        full = f"{name}.{member}"
        if full in MODULES:
            found.add(full)
        elif name in MODULES:
            found.add(name)
        elif name == "engine":
            found.add("engine.__init__")
    return {each for each in found if (module, each) not in EXCEPTIONS} - {module}


EDGES = {module: _edges(module) for module in MODULES}


def _package(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_its_package_and_from_lower_layers(module: str) -> None:
    own = _package(module)
    assert own in RANK, f"{own} has no place in LAYERS"
    wrong = [m for m in EDGES[module] if _package(m) != own and RANK[_package(m)] >= RANK[own]]
    assert sorted(wrong) == []


def test_there_is_no_cycle() -> None:
    graph = nx.DiGraph((one, other) for one, others in EDGES.items() for other in others)
    assert [sorted(c) for c in nx.strongly_connected_components(graph) if len(c) > 1] == []


@pytest.mark.parametrize("module", [m for m in MODULES if _package(m) in PLAN_ALONE])
def test_a_run_sees_the_plan_alone(module: str) -> None:
    assert [m for m in EDGES[module] if _package(m) in NO_PLAN] == []


@pytest.mark.parametrize("module", [m for m in MODULES if not f"{m}.".startswith(MAY_BE_HEAVY)])
def test_only_the_runtime_imports_heavy_libraries_at_its_top(module: str) -> None:
    tops = {name.split(".")[0] for name in _tops(ast.parse(MODULES[module].read_text()))}
    assert not tops & HEAVY
    assert _package(module) != "scheduling" or "time" not in tops


def _tops(tree: ast.AST) -> Iterator[str]:
    """The modules imported when a module is: those in functions and for type checkers are left out."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield child.module
        yield from _tops(child)


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES.values()}), ids=str)
def test_a_folder_has_at_most_thirty_modules(folder: Path) -> None:
    assert len(list(folder.glob("*.py"))) <= 31  # with its __init__


@pytest.mark.parametrize("module", MODULES)
def test_a_file_has_at_most_five_hundred_lines(module: str) -> None:
    lines = len(MODULES[module].read_text().splitlines())
    assert lines <= 500 or module == "engine.scheduling.scheduler"
