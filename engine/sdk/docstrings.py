"""Read the descriptions of parameters from a docstring, in the Google, NumPy and Sphinx styles."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

__all__ = ["parse_parameters"]

_SPHINX = re.compile(
    r":(?:param|parameter|arg|argument|key|keyword)\s+(?:[^:\s]+\s+)*?(\w+)\s*:\s*(.*)"
)
_GOOGLE = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_NUMPY = re.compile(r"\*{0,2}(\w+(?:\s*,\s*\w+)*)\s*(?::.*)?$")
_SECTION_TITLES = (
    "args",
    "arguments",
    "parameters",
    "params",
    "keyword args",
    "keyword arguments",
    "other parameters",
)


def parse_parameters(doc: str | None) -> dict[str, str]:
    """Return the description of each parameter, as one line of text, by the parameter's name."""
    lines = inspect.cleandoc(doc or "").splitlines()
    return {**dict(_iter_sphinx(lines)), **dict(_iter_sections(lines))}


def _iter_sphinx(lines: list[str]) -> Iterator[tuple[str, str]]:
    for at, line in enumerate(lines):
        found = _SPHINX.match(line.strip())
        if found:
            yield (
                found[1],
                _join_lines(found[2], _indented_block_below(lines, at, _indent_of(line))),
            )


def _iter_sections(lines: list[str]) -> Iterator[tuple[str, str]]:
    for at, line in enumerate(lines):
        name = line.strip().lower()
        ruled = at + 1 < len(lines) and set(lines[at + 1].strip()) == {"-"}
        if ruled and name in _SECTION_TITLES:
            yield from _iter_numpy(lines, at + 2, _indent_of(line))
        elif name.removesuffix(":") in _SECTION_TITLES and name.endswith(":"):
            yield from _iter_google(_indented_block_below(lines, at, _indent_of(line)))


def _iter_google(block: list[str]) -> Iterator[tuple[str, str]]:
    """Parse `name (type): text`, continued in lines that are indented more."""
    margin = _indent_of(block[0]) if block else 0
    for at, line in enumerate(block):
        found = _GOOGLE.match(line.strip()) if _indent_of(line) == margin else None
        if found:
            yield found[1], _join_lines(found[2], _indented_block_below(block, at, margin))


def _iter_numpy(lines: list[str], start: int, margin: int) -> Iterator[tuple[str, str]]:
    """Parse `name : type` with the text in indented lines below."""
    for at in range(start, len(lines)):
        line = lines[at]
        if line.strip() and _indent_of(line) == margin:
            after = lines[at + 1].strip() if at + 1 < len(lines) else ""
            found = _NUMPY.match(line.strip())
            if found is None or (after and set(after) == {"-"}):
                return
            text = _join_lines("", _indented_block_below(lines, at, margin))
            yield from ((name.strip(), text) for name in found[1].split(","))


def _indented_block_below(lines: list[str], at: int, margin: int) -> list[str]:
    """Return the lines after line `at` that are indented more than `margin`, without empty lines."""
    found: list[str] = []
    for line in lines[at + 1 :]:
        if line.strip() and _indent_of(line) <= margin:
            break
        if line.strip():
            found.append(line)
    return found


def _join_lines(first: str, more: list[str]) -> str:
    return " ".join(part for part in (first.strip(), *(line.strip() for line in more)) if part)


def _indent_of(line: str) -> int:
    return len(line) - len(line.lstrip())
