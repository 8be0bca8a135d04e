"""The keys of `[tool.engine]` -> `docs/reference/settings.md`."""

from __future__ import annotations

from engine.settings import _KEYS

__all__ = ["page"]

_ABOUT = {
    "select": ("array of codes", "Report only these. A word is a code, the beginning of a code, or a name.", "all"),
    "ignore": ("array of codes", "Do not report these. Wins over `select`.", "none"),
    "levels": ('table from codes to `"error"`, `"warning"` or `"off"`', "The level of a rule. The longest matching word wins.", "each rule's own"),
    "per-file-ignores": ("table from globs to arrays of codes", "Codes that are ignored in some specs. Globs are relative to the folder of the `pyproject.toml`.", "none"),
    "store": ("string", "Where runs are stored: the path of a SQLite file, relative to the folder of the `pyproject.toml`, or a `postgresql://` URL.", "`runs.db` in the user's state directory"),
    "tasks": ("array of ids or patterns", "The tasks that specs may use, such as `http` or `file.*`. Any other is an error.", "all"),
    "hooks": ("array of names", "Entry points of the group `engine.hooks` that every run calls.", "none"),
}  # fmt: skip

_HEAD = """\
# Settings

Settings are in the table `[tool.engine]` of a `pyproject.toml`. For each spec, the engine searches the folder of the spec and the folders
above it, and uses the first `pyproject.toml` with this table. An invalid table is reported with its place, and the command ends with status 2.

Only warnings, notes, and E302, E303, E401 and E402 can be ignored or lowered. `--select` on the command line replaces `select`;
`--ignore` adds to `ignore`.

| key | type | meaning | default |
|---|---|---|---|
"""
_TAIL = """
```text
[tool.engine]
select = ["E", "W"]
ignore = ["E303"]
levels = { E302 = "warning", W702 = "off" }
per-file-ignores = { "specs/drafts/*" = ["E302", "E401"] }
store = ".engine/runs.db"
tasks = ["http", "file.*"]
hooks = ["audit"]
```

See also [Choose what is reported](../how-to/choose-findings.md), [Keep runs](../how-to/keep-runs.md) and
[Call code before and after](../how-to/hooks.md).
"""


def page() -> str:
    """The whole page; KeyError for a key that is not described here."""
    rows = [f"| `{key}` | {' | '.join(_ABOUT[key])} |\n" for key in _KEYS]
    return _HEAD + "".join(rows) + _TAIL
