"""`frozen` and `define` make what attrs makes: equality, hash and text of two like classes are the same."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from engine.base.classes import define, frozen


def made(decorate: Any, **options: Any) -> Any:
    class Pair:
        one: int
        other: Any = attrs.field(default=(), eq=False)
        hidden: str = attrs.field(default="x", repr=False)

    return decorate(Pair, **options) if not options else decorate(**options)(Pair)


VALUES = [(1,), (1, 2), (2,), (1, (), "y")]


@pytest.mark.parametrize(
    ("ours", "theirs"), [(frozen, attrs.frozen), (define, attrs.define)], ids=["frozen", "define"]
)
@pytest.mark.parametrize("options", [{}, {"eq": False}, {"slots": False}, {"repr": False}])
def test_it_is_what_attrs_makes(ours: Any, theirs: Any, options: dict[str, Any]) -> None:
    one, other = made(ours, **options), made(theirs, **options)
    for left in VALUES:
        for right in VALUES:
            assert (one(*left) == one(*right)) == (other(*left) == other(*right))
        assert one(*left) != other(*left)
        if options.get("repr", True):
            assert repr(one(*left)) == repr(other(*left))
    assert (one.__hash__ is None) == (other.__hash__ is None)
    if other.__hash__ is not None and options.get("eq", True):
        assert len({*map(hash, (one(1), one(1, 2)))}) == 1
        assert len({one(1), one(2)}) == 2


def test_what_holds_itself_has_a_text() -> None:
    held: list[Any] = []
    value = made(frozen)(1, held)
    held.append(value)
    assert repr(value).endswith("Pair(one=1, other=[...])")


def test_what_a_class_says_itself_is_left() -> None:
    @frozen
    class Own:
        one: int

        def __repr__(self) -> str:
            return "own"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

    assert (repr(Own(1)), Own(1) == Own(2), hash(Own(1))) == ("own", True, 7)
