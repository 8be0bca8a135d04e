"""Apply fixes for `engine check --fix` and `--diff`: write the fixed files, or show the changes.

A new file replaces the old one in one move and keeps its permissions; links stay links.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from engine.cli.parallel_check import RuleSelection, resolve_settings
from engine.errors import EngineError

if TYPE_CHECKING:
    from engine.toml.source import Source

__all__ = ["FixedFile", "fix_files", "format_diff", "replace_file"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@attrs.frozen
class FixedFile:
    """A file before and after its fixes, and the number of fixes."""

    path: str
    before: Source
    after: Source
    fix_count: int


def fix_files(paths: Sequence[str], selection: RuleSelection, *, unsafe: bool) -> list[FixedFile]:
    """Return the files that fixes change; nothing is written.

    Files that cannot be read are left out, since the check reports them.
    """
    found: list[FixedFile] = []
    for path in paths:
        with contextlib.suppress(OSError):
            mended = _fix_file(path, selection, unsafe=unsafe)
            found += [mended] if mended.fix_count else []
    return found


def _fix_file(path: str, selection: RuleSelection, *, unsafe: bool) -> FixedFile:
    from engine import api
    from engine.diagnostics.fixer import apply_all
    from engine.toml.source import read_source

    source, settings = read_source(path), resolve_settings(path, selection)
    if source.undecodable:
        return FixedFile(path, source, source, 0)
    after, fixes = apply_all(source, lambda text: api.check(text, settings=settings), unsafe=unsafe)
    return FixedFile(path, source, after, fixes)


def format_diff(path: str, before: str, after: str) -> str:
    """Return a unified diff, without a newline at the end."""
    import difflib

    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    lines = []
    for line in difflib.unified_diff(old, new, path, path):
        end = "" if line.endswith("\n") else "\n\\ No newline at end of file\n"
        lines.append(line + end)
    return "".join(lines).removesuffix("\n")


def replace_file(path: str, text: str) -> None:
    """Replace a file's text, keeping its byte order mark; raise EngineError if that fails."""
    real = os.path.realpath(path)
    try:
        with open(real, "rb") as file:
            mark = _BYTE_ORDER_MARK if file.read(3) == _BYTE_ORDER_MARK else b""
        _replace_bytes(real, mark + text.encode())
    except OSError as error:
        raise EngineError(f"`{path}` cannot be written: {error.strerror}") from None


def _replace_bytes(path: str, data: bytes) -> None:
    handle, beside = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".engine-")
    try:
        with open(handle, "wb") as file:
            file.write(data)
        shutil.copymode(path, beside)
        os.replace(beside, path)
    finally:  # no half-written file stays beside the spec
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
