"""Turns the exceptions of structuring into a list of errors, each with its key path in the file.

cattrs groups the exceptions of its hooks and notes where each arose; here they become messages and help. The module also
knows which keys a table may have. Source: docs/language.md, "A document", "Nodes and steps", "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from cattrs.errors import AttributeValidationNote, ForbiddenExtraKeysError, IterableValidationNote

from engine.base.classes import frozen
from engine.base.suggestions import nearest
from engine.diagnostics import Rule, codes
from engine.language.spec import NodeSpec, Spec, StepSpec
from engine.toml.key_paths import KeyPath, show

__all__ = [
    "INTERNAL",
    "RENAMED",
    "STEP_KEYS",
    "TABLES",
    "Mistake",
    "Own",
    "Wrong",
    "known_keys",
    "mistakes",
    "whose",
]

STEP_KEYS = frozenset(
    {"task", "pipeline", "with", "exits", "routes", "retry", "timeout", "on_interrupt", "set"}
)
"""Keys of a step that a node without `steps` may have besides its own keys."""

RENAMED = {"with_": "with", "finally_": "finally"}
"""Names in the file of fields that Python could not name so."""
INTERNAL = {
    Spec: frozenset(
        {"source", "at", "name", "files", "broken", "misnamed", "table", "before"},
    ),
    NodeSpec: frozenset({"single", "unfolded"}),
}
"""Fields that are derived and have no key in a file."""


TABLES = ("nodes", "finally")
"""The keys of a document that hold nodes."""


class Own(str):
    """The name of a step that is written in the table of its node."""

    __slots__ = ()


@frozen
class Mistake:
    """An `InvalidValue` with its whole key path.

    `is_key` tells that the key is wrong, not the value.
    """

    path: KeyPath
    rule: Rule
    message: str
    help: str | None
    key: bool
    meant: str | None = None
    """For an unknown key, the known key that was probably meant."""
    within: tuple[int, int] | None = None
    """Offsets in the string at the path, where only part of it is wrong."""
    known: tuple[str, ...] = ()
    """The valid alternatives to the key, or to the string that is the value."""


def mistakes(error: BaseException, path: KeyPath = ()) -> Iterator[Mistake]:
    """Yield every error in an exception group from structuring, each with its key path.

    Reraises an exception that does not come from structuring.
    """
    path += _place(error)
    match error:
        case Wrong():
            place = _written(path + error.at)
            # A message about a value names its key, so that it says enough without its place.
            named = error.rule is codes.WRONG_TYPE and place and not error.key
            message = f"`{show(place)}`: {error.message}" if named else error.message
            yield Mistake(place, error.rule, message, error.help, error.key, known=error.known)
        case ForbiddenExtraKeysError():
            for name in sorted(error.extra_fields):
                yield _unknown(name, error.cl, path)
        case KeyError():
            name = RENAMED.get(error.args[0], error.args[0])
            message, place = f"`{name}` is missing", _written(path[:-1])
            yield Mistake(place, codes.MISSING_KEY, message, None, True, name)
        case BaseExceptionGroup():
            for part in error.exceptions:
                yield from mistakes(part, path)
        case _:
            raise error


def _place(error: BaseException) -> KeyPath:
    for note in getattr(error, "__notes__", ()):
        if type(note) is AttributeValidationNote:
            return (RENAMED.get(note.name, note.name),)
        if type(note) is IterableValidationNote:
            return (note.index,)
    return ()


def _written(path: KeyPath) -> KeyPath:
    """Return the path as it stands in the file, where a step written in its node has no `steps` table."""
    for at, part in enumerate(path):
        if type(part) is Own:
            return path[: at - 1] + path[at + 1 :]
    return path


def _unknown(name: str, cls: type, path: KeyPath) -> Mistake:
    place = _written((*path, name))
    known = known_keys(cls)
    if cls is StepSpec and name in known_keys(NodeSpec):
        cure = "this key belongs to the node, not to its steps"
        return Mistake(place, codes.UNKNOWN_KEY, f"`{name}` is not a key here", cure, True)
    guess = nearest(name, known)
    listed = "known here: " + ", ".join(f"`{key}`" for key in known)
    cure = f"did you mean `{guess}`?" if guess else listed
    message = f"`{name}` is not a key here"
    return Mistake(place, codes.UNKNOWN_KEY, message, cure, True, guess, known=tuple(known))


def known_keys(cls: type) -> list[str]:
    """Return the keys that a table may have, sorted; a node's include those of an inline step."""
    internal = INTERNAL.get(cls, frozenset())
    own = {RENAMED.get(f.name, f.name) for f in attrs.fields(cls) if f.name not in internal}
    return sorted(own | (STEP_KEYS if cls is NodeSpec else set()))


def whose(path: KeyPath) -> tuple[str | None, str | None]:
    """Return the names of the node and the step that contain a key path, each None if absent."""
    inner = path[2:] if path[:1] == ("pipelines",) else path
    if len(inner) < 2 or inner[0] not in TABLES:
        return None, None
    return str(inner[1]), str(inner[3]) if len(inner) > 3 and inner[2] == "steps" else None


class Wrong(Exception):
    """One mistake in the value being structured, or in the value at `subpath` below it.

    `is_key` tells that the key is wrong, not the value; `candidates` are the valid words.
    """

    def __init__(
        self,
        rule: Rule,
        message: str,
        help: str | None = None,
        at: KeyPath = (),
        key: bool = False,
        known: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.rule, self.message, self.help, self.at, self.key = rule, message, help, at, key
        self.known = known
