"""What `structure` raised -> every mistake in a file's data, each with its key path as written.

cattrs gathers what its hooks raise and notes where it was; here that becomes messages and cures, and
which keys a table may have. Source: LANGUAGE.md sections 1, 2 and 16.
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
"""What a node without `steps` may say besides its own keys."""

RENAMED = {"with_": "with", "finally_": "finally"}
"""What fields are called in a file where they cannot be called so in Python."""
INTERNAL = {
    Spec: frozenset(
        {"source", "at", "name", "files", "broken", "misnamed", "table", "before"},
    ),
    NodeSpec: frozenset({"single", "unfolded"}),
}
"""Fields that no key of a file fills."""


TABLES = ("nodes", "finally")
"""The keys of a document that hold nodes."""


class Own(str):
    """The name of the step written in its node's own table."""

    __slots__ = ()


@frozen
class Mistake:
    """A `Wrong` with its whole key path."""

    path: KeyPath
    rule: Rule
    message: str
    help: str | None
    key: bool
    meant: str | None = None
    """For an unknown key: the known one it was likely meant to be."""
    within: tuple[int, int] | None = None
    """Offsets in the string at the path, where not all of it is wrong."""
    known: tuple[str, ...] = ()
    """What the key, or the string that is the value, could have been."""


def mistakes(error: BaseException, path: KeyPath = ()) -> Iterator[Mistake]:
    """Every mistake in a group that `structure` raised, each with its key path."""
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
    """The path as it stands in the file: a step written in its node has no `steps` table."""
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
    """The keys a table may have; a node's are also those of the step written in it."""
    internal = INTERNAL.get(cls, frozenset())
    own = {RENAMED.get(f.name, f.name) for f in attrs.fields(cls) if f.name not in internal}
    return sorted(own | (STEP_KEYS if cls is NodeSpec else set()))


def whose(path: KeyPath) -> tuple[str | None, str | None]:
    """The node and the step that a key path of a file lies in."""
    inner = path[2:] if path[:1] == ("pipelines",) else path
    if len(inner) < 2 or inner[0] not in TABLES:
        return None, None
    return str(inner[1]), str(inner[3]) if len(inner) > 3 and inner[2] == "steps" else None


class Wrong(Exception):
    """One mistake at the value being structured, or `at` keys below it (`key`: the key is wrong,
    not the value); `known` are the words that could stand there."""

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
