"""Each module imports only from lower layers, and what must start fast imports nothing heavy at its top."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "engine"

LAYERS = (
    "alive docstrings durations errors forms frames hints language once order pause places positions prints processes quick",
    "context events machine result shim",
    "syntax ends formatter",
    "source",
    "diagnostics expressions sinks spec",
    "cel_words fan people",
    "codes cel fixer fixes modules schemas written",
    "registry shapes nesting",
    "mistakes",
    "misnamed plan structure dumper signatures tasks machines unfold declared",
    "classes",
    "functions draft editor fingerprint across latest reads stray unset values",
    "choices",
    "live",
    "alarms items journal scopes takeover",
    "attempts reasons told hooks",
    "exits fits pools references search loader scheduler",
    "edges fans feasibility history outputs replay usage",
    "bounds questions verdicts",
    "produced",
    "races work",
    "bodies",
    "compiler",
    "rules runtime",
    "checker selection testing render",
    "coverage dry ignores scaffold settings",
    "api",
    "stored",
    "commands",
    "cli pytest_plugin",
    "__main__",
)
RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row.split()}
HEAVY = {"trio", "networkx", "httpx", "jsonschema", "cel"}
MAY_BE_HEAVY = {"runtime", "cel"}
TYPES_ONLY = {("errors", "diagnostics")}
LATE = {("registry", "functions"), ("expressions", "cel"), ("testing", "api")}
"""Imports inside functions that go up: each named with its reason in the module itself."""


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        part = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if part != "__init__":
            yield part, path


def _imports(tree: ast.AST, top: bool) -> Iterator[str]:
    """Names of imported modules: at the top of the file, or inside functions; those for types alone are left out."""
    for node in _nodes(tree, top):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _nodes(tree: ast.AST, top: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) and top:
            continue
        yield child
        yield from _nodes(child, top)


def _engine_parts(names: Iterator[str]) -> Iterator[str]:
    for name in names:
        parts = name.split(".")
        if parts[0] == "engine" and len(parts) > 1 and parts[1] in RANK:
            yield parts[1]


@pytest.mark.parametrize(
    ("part", "path"), [pytest.param(*m, id=str(m[1].relative_to(ROOT))) for m in _modules()]
)
def test_a_module_imports_only_from_lower_layers(part: str, path: Path) -> None:
    assert part in RANK, f"{part} has no place in LAYERS"
    tree = ast.parse(path.read_text())
    for other in _engine_parts(_imports(tree, top=False)):
        if other == part or (part, other) in LATE | TYPES_ONLY:
            continue
        assert RANK[other] < RANK[part], f"{path.name} imports {other}"


@pytest.mark.parametrize(
    ("part", "path"), [pytest.param(*m, id=str(m[1].relative_to(ROOT))) for m in _modules()]
)
def test_only_the_runtime_imports_heavy_libraries_at_its_top(part: str, path: Path) -> None:
    if part in MAY_BE_HEAVY:
        return
    tops = {name.split(".")[0] for name in _imports(ast.parse(path.read_text()), top=True)}
    assert not tops & HEAVY
