"""Read `[tool.engine]` of the nearest `pyproject.toml`; all mistakes are reported at once, with their locations.

Keys: `select`, `ignore`, `levels`, `per-file-ignores`, `store`, `tasks`, `hooks`. A `pyproject.toml` without the
table is skipped.
Source: docs/language.md, "Diagnostics".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from engine.base.classes import frozen
from engine.base.suggestions import closest_match
from engine.checking.selection import Settings, UnknownRule, find_rule_codes, parse_ignored
from engine.diagnostics import Severity
from engine.errors import EngineError, SettingsError
from engine.toml.key_paths import KeyPath
from engine.toml.source import Source, TomlSyntaxError, parse_toml, read_source

if TYPE_CHECKING:
    from engine.hooks import Hook

__all__ = ["SETTINGS_FILE", "apply_options", "find_settings", "load_hooks"]

SETTINGS_FILE = "pyproject.toml"

_HOOK_GROUP = "engine.hooks"
"""The group of entry points among which `hooks` chooses."""
_TABLE_PATH: KeyPath = ("tool", "engine")
_LEVELS = {"error": Severity.ERROR, "warning": Severity.WARNING, "off": None}


def find_settings(spec: str | os.PathLike[str]) -> Settings:
    """Return the settings that apply to the spec at a path.

    Raises SettingsError with all mistakes in them, EngineError if they cannot be read.
    """
    for folder in Path(os.path.abspath(spec)).parents:
        path = folder / SETTINGS_FILE
        try:
            state = path.stat()
        except OSError:
            continue
        found = _read_settings(path, state.st_mtime_ns, state.st_size)
        if found is not None:
            return found
    return Settings()


def load_hooks(spec: str | os.PathLike[str]) -> tuple[Hook, ...]:
    """Load the hooks that the settings of a spec name, from the installed entry points.

    Raises EngineError for a hook that does not exist or is not a valid Hook.
    """
    return tuple(_load_hook(name) for name in find_settings(spec).hooks)


def _load_hook(name: str) -> Hook:
    from importlib.metadata import entry_points

    from engine.hooks import Hook

    found = entry_points(group=_HOOK_GROUP, name=name)
    if not found:
        raise EngineError(f"no entry point of `{_HOOK_GROUP}` is named `{name}`")
    try:
        [entry] = found
        hook = entry.load()
    except ValueError:
        raise EngineError(f"several distributions define a hook `{name}`") from None
    except Exception as error:  # the plug-in's own
        raise EngineError(f"hook `{name}` cannot be loaded: {error}") from None
    if not isinstance(hook, Hook):
        raise EngineError(f"hook `{name}` is not an `engine.hooks.Hook`")
    return hook


def apply_options(
    settings: Settings, select_option: str | None, ignore_option: str | None
) -> Settings:
    """Apply the options `--select` and `--ignore`, such as "E3,W305", to the settings.

    `select_option` replaces the selected codes, `ignore_option` is added to the ignored ones. Raises SettingsError.
    """
    problems: list[str] = []
    codes: dict[str, frozenset[str]] = {}
    for option, words, find in (
        ("select", select_option, find_rule_codes),
        ("ignore", ignore_option, parse_ignored),
    ):
        codes[option] = frozenset()
        for word in (each.strip() for each in (words or "").split(",")):
            try:
                codes[option] |= find(word) if word else frozenset()
            except UnknownRule as error:
                problems.append(f"--{option}: {error}")
    if problems:
        raise SettingsError(tuple(problems))
    chosen = settings.select if select_option is None else codes["select"]
    return attrs.evolve(settings, select=chosen, ignore=settings.ignore | codes["ignore"])


@lru_cache(maxsize=64)
def _read_settings(path: Path, changed: int, size: int) -> Settings | None:
    """Read the settings in a file; None if it has none.

    The cached settings are read again when the file has changed.
    """
    try:
        source = read_source(path)
    except OSError as error:
        raise EngineError(f"`{path}` cannot be read: {error.strerror}") from None
    if "engine" not in source.text:
        return None
    try:
        table = parse_toml(source).get("tool", {})
    except TomlSyntaxError as error:
        raise SettingsError(
            (_format_problem(source, error.span.line, error.span.column, error.message),)
        ) from None
    if not isinstance(table, dict):
        return None
    return _structure_settings(source, table["engine"]) if "engine" in table else None


@frozen
class _Reporter:
    """Records mistakes with their locations."""

    source: Source
    problems: list[str] = attrs.Factory(list)

    def __call__(
        self, path: KeyPath, message: str, help: str | None = None, *, key: bool = False
    ) -> None:
        place = (*_TABLE_PATH, *path)
        span = self.source.key_span(place) if key else self.source.value_span(place)
        sentence = f"{message}, {help}" if help else message
        self.problems.append(_format_problem(self.source, span.line, span.column, sentence))


def _format_problem(source: Source, line: int, column: int, message: str) -> str:
    return f"{source.path}:{line}:{column}: {message}"


def _structure_settings(source: Source, table: Any) -> Settings:
    reporter, found = _Reporter(source), {}
    if not isinstance(table, dict):
        reporter((), "expected a table")
        table = {}
    for key, value in table.items():
        if key in _KEYS:
            field, read_value = _KEYS[key]
            found[field] = read_value(reporter, (key,), value)
        else:
            guess = closest_match(key, _KEYS)
            advice = (
                f"did you mean `{guess}`?" if guess else "known: " + ", ".join(map(_quote, _KEYS))
            )
            reporter((key,), f"`{key}` is not a key of `[tool.engine]`", advice, key=True)
    if reporter.problems:
        raise SettingsError(tuple(reporter.problems))
    return Settings(**found)


def _quote(word: str) -> str:
    return f"`{word}`"


def _build_codes_reader(
    find: Callable[[str], frozenset[str]],
) -> Callable[[_Reporter, KeyPath, Any], frozenset[str]]:
    """Return a function that reads an array of codes."""

    def hook(reporter: _Reporter, path: KeyPath, value: Any) -> frozenset[str]:
        found: frozenset[str] = frozenset()
        if not isinstance(value, list):
            reporter(path, 'expected an array of codes, such as ["W304"]')
            return found
        for index, word in enumerate(value):
            found |= _read_codes(reporter, (*path, index), word, find)
        return found

    return hook


def _read_codes(
    reporter: _Reporter,
    path: KeyPath,
    word: Any,
    find: Callable[[str], frozenset[str]],
    key: bool = False,
) -> frozenset[str]:
    if not isinstance(word, str):
        reporter(path, 'expected a code or a name of a rule, such as "W304"')
        return frozenset()
    try:
        return find(word)
    except UnknownRule as error:
        reporter(path, error.message, error.help, key=key)
        return frozenset()


def _read_levels(reporter: _Reporter, path: KeyPath, value: Any) -> Mapping[str, Severity | None]:
    found: dict[str, Severity | None] = {}
    for word, level in sorted(
        _iter_table(reporter, path, value, "codes to levels"), key=lambda item: len(item[0])
    ):
        if not isinstance(level, str) or level not in _LEVELS:
            reporter((*path, word), 'expected "error", "warning" or "off"')
            continue
        find = find_rule_codes if level == "error" else parse_ignored
        found |= dict.fromkeys(
            _read_codes(reporter, (*path, word), word, find, key=True), _LEVELS[level]
        )
    return found


def _read_per_file(
    reporter: _Reporter, path: KeyPath, value: Any
) -> tuple[tuple[str, frozenset[str]], ...]:
    from glob import escape

    folder = Path(os.path.abspath(reporter.source.path)).parent
    read_words = _build_codes_reader(parse_ignored)
    return tuple(
        (f"{escape(str(folder))}/{glob}", read_words(reporter, (*path, glob), words))
        for glob, words in _iter_table(reporter, path, value, "globs to arrays of codes")
    )


def _read_store(reporter: _Reporter, path: KeyPath, value: Any) -> str | None:
    """Read a path, relative to the directory of the file, or a URL."""
    if not isinstance(value, str) or not value:
        reporter(path, "expected a path or a URL")
        return None
    folder = Path(os.path.abspath(reporter.source.path)).parent
    return value if "://" in value else str(folder / os.path.expanduser(value))


def _read_patterns(reporter: _Reporter, path: KeyPath, value: Any) -> tuple[str, ...] | None:
    """Read an array of task ids or patterns."""
    if not isinstance(value, list):
        reporter(path, 'expected an array of tasks, such as ["http", "file.*"]')
        return None
    for at, each in enumerate(value):
        if not isinstance(each, str) or not each:
            reporter((*path, at), 'expected the id of a task, or a pattern such as "file.*"')
    return tuple(each for each in value if isinstance(each, str))


def _read_hook_names(reporter: _Reporter, path: KeyPath, value: Any) -> tuple[str, ...]:
    """Read an array of names of entry points."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        reporter(path, 'expected an array of names of hooks, such as ["audit"]')
        return ()
    return tuple(value)


def _iter_table(
    reporter: _Reporter, path: KeyPath, value: Any, what: str
) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        reporter(path, f"expected a table from {what}")
        return
    yield from value.items()


_KEYS: Mapping[str, tuple[str, Callable[[_Reporter, KeyPath, Any], Any]]] = {
    "select": ("select", _build_codes_reader(find_rule_codes)),
    "ignore": ("ignore", _build_codes_reader(parse_ignored)),
    "levels": ("levels", _read_levels),
    "per-file-ignores": ("per_file", _read_per_file),
    "store": ("store", _read_store),
    "tasks": ("tasks", _read_patterns),
    "hooks": ("hooks", _read_hook_names),
}
