"""Turns the exceptions of structuring into a list of errors, each with its key path in the file.

cattrs groups the exceptions of its hooks and notes where each arose; here they become messages and help. The module
also knows which keys a table may have. Source: docs/language.md, "A document", "Nodes and steps", "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from cattrs.errors import AttributeValidationNote, ForbiddenExtraKeysError, IterableValidationNote

from engine.base.classes import frozen
from engine.base.suggestions import closest_match
from engine.diagnostics import Rule, codes
from engine.language.spec import NodeSpec, Spec, StepSpec
from engine.toml.key_paths import KeyPath, format_path

__all__ = [
    "DERIVED_FIELDS",
    "FIELD_NAMES",
    "NODE_TABLES",
    "STEP_KEYS",
    "InlineStepName",
    "InvalidValue",
    "StructuringError",
    "flatten_errors",
    "list_known_keys",
    "owner_of",
]

STEP_KEYS = frozenset(
    {"task", "pipeline", "with", "exits", "routes", "retry", "timeout", "on_interrupt", "set"}
)
"""Keys of a step that a node without `steps` may have besides its own keys."""

FIELD_NAMES = {"with_": "with", "finally_": "finally"}
"""Names in the file of fields that Python could not name so."""
DERIVED_FIELDS = {
    Spec: frozenset(
        {
            "source",
            "key_path",
            "name",
            "files",
            "omitted_paths",
            "misnamed_paths",
            "table",
            "finished_nodes",
        },
    ),
    NodeSpec: frozenset({"single", "from_task_class"}),
}
"""Fields that are derived and have no key in a file."""


NODE_TABLES = ("nodes", "finally")
"""The keys of a document that hold nodes."""


class InlineStepName(str):
    """The name of a step that is written in the table of its node."""

    __slots__ = ()


@frozen
class StructuringError:
    """An `InvalidValue` with its whole key path.

    `is_key` is whether the key is wrong, not the value.
    """

    path: KeyPath
    rule: Rule
    message: str
    help: str | None
    is_key: bool
    closest_key: str | None = None
    """For an unknown key, the known key that was probably meant."""
    offsets: tuple[int, int] | None = None
    """Offsets in the string at the path, where only part of it is wrong."""
    candidates: tuple[str, ...] = ()
    """The valid alternatives to the key, or to the string that is the value."""


def flatten_errors(error: BaseException, path: KeyPath = ()) -> Iterator[StructuringError]:
    """Yield every error in an exception group from structuring, each with its key path.

    Reraises an exception that does not come from structuring.
    """
    path += _find_note_path(error)
    match error:
        case InvalidValue():
            place = _as_written(path + error.subpath)
            # A message about a value names its key, so that it says enough without its place.
            named = error.rule is codes.WRONG_TYPE and place and not error.is_key
            message = f"`{format_path(place)}`: {error.message}" if named else error.message
            yield StructuringError(
                place, error.rule, message, error.help, error.is_key, candidates=error.candidates
            )
        case ForbiddenExtraKeysError():
            for name in sorted(error.extra_fields):
                yield _build_unknown_key(name, error.cl, path)
        case KeyError():
            name = FIELD_NAMES.get(error.args[0], error.args[0])
            message, place = f"`{name}` is missing", _as_written(path[:-1])
            yield StructuringError(place, codes.MISSING_KEY, message, None, True, name)
        case BaseExceptionGroup():
            for part in error.exceptions:
                yield from flatten_errors(part, path)
        case _:
            raise error


def _find_note_path(error: BaseException) -> KeyPath:
    for note in getattr(error, "__notes__", ()):
        if type(note) is AttributeValidationNote:
            return (FIELD_NAMES.get(note.name, note.name),)
        if type(note) is IterableValidationNote:
            return (note.index,)
    return ()


def _as_written(path: KeyPath) -> KeyPath:
    """Return the path as it stands in the file, where a step written in its node has no `steps` table."""
    for at, part in enumerate(path):
        if type(part) is InlineStepName:
            return path[: at - 1] + path[at + 1 :]
    return path


def _build_unknown_key(name: str, cls: type, path: KeyPath) -> StructuringError:
    place = _as_written((*path, name))
    known = list_known_keys(cls)
    if cls is StepSpec and name in list_known_keys(NodeSpec):
        advice = "this key belongs to the node, not to its steps"
        return StructuringError(
            place, codes.UNKNOWN_KEY, f"`{name}` is not a key here", advice, True
        )
    guess = closest_match(name, known)
    listed = "known here: " + ", ".join(f"`{key}`" for key in known)
    advice = f"did you mean `{guess}`?" if guess else listed
    message = f"`{name}` is not a key here"
    return StructuringError(
        place, codes.UNKNOWN_KEY, message, advice, True, guess, candidates=tuple(known)
    )


def list_known_keys(cls: type) -> list[str]:
    """Return the keys that a table may have, sorted; a node's include those of an inline step."""
    internal = DERIVED_FIELDS.get(cls, frozenset())
    own = {FIELD_NAMES.get(f.name, f.name) for f in attrs.fields(cls) if f.name not in internal}
    return sorted(own | (STEP_KEYS if cls is NodeSpec else set()))


def owner_of(path: KeyPath) -> tuple[str | None, str | None]:
    """Return the names of the node and the step that contain a key path, each None if absent."""
    inner = path[2:] if path[:1] == ("pipelines",) else path
    if len(inner) < 2 or inner[0] not in NODE_TABLES:
        return None, None
    return str(inner[1]), str(inner[3]) if len(inner) > 3 and inner[2] == "steps" else None


class InvalidValue(Exception):
    """One mistake in the value being structured, or in the value at `subpath` below it.

    `is_key` is whether the key is wrong, not the value; `candidates` are the valid words.
    """

    def __init__(
        self,
        rule: Rule,
        message: str,
        help: str | None = None,
        subpath: KeyPath = (),
        is_key: bool = False,
        candidates: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.rule, self.message, self.help, self.subpath, self.is_key = (
            rule,
            message,
            help,
            subpath,
            is_key,
        )
        self.candidates = candidates
