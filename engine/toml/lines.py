"""TOML that repeats itself, read line by line: a line that was there before is not read again.

A large spec has many lines that are alike but for what stands in quotes. Where each line, or
array over lines, is whole by itself, tomli reads one of each sort, with numbers in place of its texts; the others are made of
that. What is not so plain, or wrong, is left to tomli altogether: what is read here is just what
tomli reads. Values of equal lines are one object, which nobody changes. Source: TOML 1.0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

__all__ = ["WORTH", "loads"]

WORTH = 20_000
"""Characters from which on this pays."""
_MOST_KEPT = 20_000
_MOST_READ = 1_000
"""Lines that are read by tomli before there must be many more that were not."""
_LONG = re.compile(r"\w{1000}")
_MOST_OPEN = 40

_STRING = re.compile(r'"([^"\\\x00-\x08\x0a-\x1f\x7f]*)"')
_HEADER = re.compile(r"\[([\w-]+(?:\.[\w-]+)*)\][ \t]*(?:#[^\x00-\x08\x0a-\x1f\x7f]*)?", re.ASCII)
_KEY = re.compile(r"([\w-]+) *=", re.ASCII)
_UNSURE = re.compile("[\"'#\\\\]")
"""What may mean that quotes are not what they seem."""

Make = Callable[[Sequence[str]], Any]
"""Texts to a value."""


class _Odd(Exception):
    """This text is for tomli."""


def loads(text: str) -> dict[str, Any] | None:
    """What `tomli.loads` gives; None for a text that is not as plain as that, or is no TOML."""
    if '"""' in text or "'''" in text or "\r" in text:
        return None
    tables = _Tables()
    try:
        return _read(text.split("\n"), _Lines(), tables)
    except _Odd:
        return None


def _read(lines: Sequence[str], known: _Lines, tables: _Tables) -> dict[str, Any]:
    table = tables.root
    kept = known.kept
    left = iter(lines)
    for line in left:
        found = kept.get(line)
        if found is None:
            if line.startswith("["):
                table = tables.open(line)
                continue
            if line.endswith("["):
                line = _array(line, left)
            found = kept.get(line) or known.read(line)
        key, value = found
        if key in table:
            raise _Odd
        if key:
            table[key] = value
    return tables.root


def _array(line: str, left: Iterator[str]) -> str:
    """An array over several lines, up to one with nothing but its end."""
    rows = [line]
    for row in left:
        rows.append(row)
        if row == "]":
            return "\n".join(rows)
    raise _Odd


class _Tables:
    """The tables that headers have opened, by their names."""

    def __init__(self) -> None:
        self.root: dict[str, Any] = {}
        self._known = {"": self.root}
        self._opened: set[str] = set()

    def open(self, line: str) -> dict[str, Any]:
        """The table of a header, which none has opened before."""
        found = _HEADER.fullmatch(line)
        name = found[1] if found else ""
        if not found or name in self._opened or name.count(".") > _MOST_OPEN:
            raise _Odd
        self._opened.add(name)
        return self._known.get(name) or self._table(name)

    def _table(self, name: str) -> dict[str, Any]:
        above, _, last = name.rpartition(".")
        table = self._known[above] if above in self._known else self._table(above)
        if name in self._known:
            return self._known[name]
        if last in table:
            raise _Odd
        self._known[name] = table[last] = {}
        return self._known[name]


class _Lines:
    """What lines say, each a key and a value; the key of a line that says nothing is empty."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, Any]] = {"": ("", None)}
        self._sorts: dict[str, tuple[str, Make] | None] = {}
        self._made = self._left = 0

    def read(self, line: str) -> tuple[str, Any]:
        """What a line says that was not there before."""
        texts = _STRING.split(line)
        sort = '""'.join(texts[::2])
        if sort not in self._sorts:
            self._sorts[sort] = self._sorted(texts[::2]) if len(texts) > 1 else None
        made = self._sorts[sort]
        if made is None:
            found = self._whole(line)
        else:
            self._made += 1
            found = made[0], made[1](texts[1::2])
        if len(self.kept) < _MOST_KEPT:
            self.kept[line] = found
        return found

    def _sorted(self, parts: Sequence[str]) -> tuple[str, Make] | None:
        """What lines of a sort are made by, given what stands between their texts."""
        if _UNSURE.search("".join(parts)):
            return None
        numbered = "".join(f'{part}"{at}"' for at, part in enumerate(parts[:-1]))
        key, value = self._whole(numbered + parts[-1])
        make = _make(value)
        return (key, make) if make and key else None

    def _whole(self, line: str) -> tuple[str, Any]:
        """What tomli says to a line."""
        import tomli

        self._left += 1
        opened = line.count("[") + line.count("{")
        if _LONG.search(line) or opened > _MOST_OPEN or self._left > _MOST_READ + self._made:
            raise _Odd
        try:
            found = tomli.loads(line)
        except ValueError:
            raise _Odd from None
        key = _KEY.match(line)
        if len(found) > 1 or (found and key is None):
            raise _Odd
        return (key[1], found[key[1]]) if key and found else ("", None)


def _make(value: Any) -> Make | None:
    """What makes a value of other texts, given one whose texts are their numbers; None if there
    are numbers among its keys, which were texts."""
    if isinstance(value, str):
        return itemgetter(int(value))
    if isinstance(value, list):
        return _make_list(value)
    if not isinstance(value, dict):
        return lambda texts: value
    made = [(key, _make(item)) for key, item in value.items()]
    if any(make is None or key.isdigit() for key, make in made):
        return None
    items: list[Any] = made
    return lambda texts: {key: make(texts) for key, make in items}


def _make_list(value: list[Any]) -> Make | None:
    if len(value) > 1 and all(isinstance(item, str) for item in value):
        pick = itemgetter(*map(int, value))
        return lambda texts: list(pick(texts))
    made = [_make(item) for item in value]
    if None in made:
        return None
    items: list[Any] = made
    return lambda texts: [make(texts) for make in items]
