"""Words: a public name is defined once in the project, and a docstring's `Source:` is a heading of the contract."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "engine").rglob("*.py"))
PROTOCOLS = {
    *("SUMMARY", "EXAMPLES", "configure", "execute"),  # a command of the command line
    *("RULE", "check"),  # a rule
    "TASK",  # a built-in task
    "write",  # a format of reports
    "main",  # a program
    "run",  # `engine.run` blocks, `engine.runtime.run` is awaited
    "T",  # a type variable
}
"""Names that several modules define because something looks for them there."""
_CITATION = re.compile(r'docs/language\.md((?:,? "[^"]+"(?: and)?)*)')


def _defined(tree: ast.Module) -> Iterator[str]:
    for statement in tree.body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign(targets=targets):
                yield from (each.id for each in targets if isinstance(each, ast.Name))


def _docstrings(path: Path) -> Iterator[str]:
    """The strings of a module that stand by themselves, in one line each."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield " ".join(text.split())


def test_a_public_name_is_defined_once() -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for path in FILES:
        for name in _defined(ast.parse(path.read_text(encoding="utf-8"))):
            if not name.startswith("_"):
                places[name].add(str(path.relative_to(ROOT)))
    several = {name: sorted(found) for name, found in places.items() if len(found) > 1}
    assert {name: found for name, found in several.items() if name not in PROTOCOLS} == {}
    assert several.keys() == PROTOCOLS


def test_a_source_is_a_heading_of_the_contract() -> None:
    contract = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^##+ (.+)$", contract, re.MULTILINE))
    cited = {
        heading
        for path in FILES
        for text in _docstrings(path)
        for citation in _CITATION.findall(text)
        for heading in re.findall(r'"([^"]+)"', citation)
    }
    assert len(cited) > 15
    assert cited <= headings


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_docstring_cites_a_text_that_is_not_there(path: Path) -> None:
    for text in _docstrings(path):
        assert "LANGUAGE.md" not in text
        assert all((ROOT / each).exists() for each in re.findall(r"\bdocs/[\w/-]+\.md", text))
