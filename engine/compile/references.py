"""Compile templates: check that the names they read exist and are in scope, and find the nodes read.

Reports E201, E505.
Source: docs/language.md, "Edges and joins", "Expressions".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from engine.base.classes import frozen
from engine.base.suggestions import nearest
from engine.compile.reporter import Draft
from engine.diagnostics import Fix, codes
from engine.diagnostics.fixes import mend_read
from engine.expressions.model import BadExpression, EvaluationError, Read, Template
from engine.expressions.templates import bare, template
from engine.language.invalid_names import Make, means_either
from engine.language.spec import Spec
from engine.toml.key_paths import KeyPath, show
from engine.toml.source import Source, Span

__all__ = ["Place", "condition", "is_input_of", "names_set", "nodes_read", "values"]

_ALWAYS = frozenset({"inputs", "state", "run", "env", "secrets"})
_OF_ITEMS = ("item", "index")
_RUN = ("id", "pipeline")
_RUN_END = (*_RUN, "node", "step", "visit", "attempt")
_RUN_FIELDS = {"run": _RUN, "start": _RUN, "end": _RUN_END, "attempt": (*_RUN_END, "key")}


@frozen
class Place:
    """The location of a template, its node, and when it is evaluated, which decides what is in scope.

    A template is evaluated for each attempt, when its node starts or ends, or when the run ends.
    """

    path: KeyPath
    node: str | None
    when: Literal["attempt", "start", "end", "run"]
    uses: tuple[str, ...] = ()
    """The resources that are open there."""

    @property
    def steps(self) -> bool:
        """Whether the node's steps can be read there."""
        return self.when in ("attempt", "end")


def values(draft: Draft, place: Place, value: Any) -> Template:
    """Compile the template of a value such as `with` or `outputs`, and check the names it reads."""
    return _checked(draft, place, value, template)


def condition(draft: Draft, place: Place, text: str) -> Template:
    """Compile the template of a `when`; one that reads nothing must evaluate to a boolean."""
    made = _checked(draft, place, text, bare)
    if not (made.reads or made.constant) and (wrong := _no_condition(made)):
        draft.report(codes.BAD_EXPRESSION, f"this condition {wrong}", place.path)
        return template("")
    return made


def _no_condition(made: Template) -> str | None:
    try:
        value = made.evaluate({})
    except EvaluationError as error:
        return f"can never be evaluated: {error}"
    return (
        None
        if isinstance(value, bool)
        else f"is always {json.dumps(value)}, neither true nor false"
    )


def _checked(draft: Draft, place: Place, value: Any, make: Make) -> Template:
    """Compile a template and check its names.

    A template that reads something with an invalid name is not reported for that.
    """
    before = len(draft.found)
    made = _read(draft, place, value, make)
    understood = len(draft.found) == before and (made.reads or made.constant)
    if understood or not draft.spec.misnamed:
        return made
    del draft.found[before:]
    return _read(draft, place, value, draft.stand_ins(make))


def _read(draft: Draft, place: Place, value: Any, make: Make) -> Template:
    """Parse a template and check its reads.

    Invalid strings are reported and left out, so that the rest is still checked.
    """
    try:
        made = make(value)
    except BadExpression:
        made = template(_without_wrong(draft, place, value, (), make))
    for read in made.reads:
        _check(draft, place, read)
    return made


def _without_wrong(draft: Draft, place: Place, value: Any, at: KeyPath, make: Make) -> Any:
    """Return the value with every invalid template string reported and made empty."""
    if isinstance(value, dict):
        return {k: _without_wrong(draft, place, v, (*at, k), make) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_wrong(draft, place, v, (*at, i), make) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value
    try:
        make(value)
    except BadExpression as error:
        span = (error.start, error.end)
        draft.report(
            codes.BAD_EXPRESSION, error.message, (*place.path, *at), error.help, within=span
        )
        return ""
    return value


def _check(draft: Draft, place: Place, read: Read) -> None:
    root, rest = str(read.path[0]), read.path[1:]
    where = (*place.path, *read.at)
    if means_either(draft.spec, root):
        draft.unclear.add(place.node)
    elif root == "resources":
        _check_resource(draft, place, where, read)
    elif root == "steps" and not place.steps:
        message = "`steps` cannot be read here: only a node's own steps and `outputs` can read them"
        draft.report(codes.BAD_EXPRESSION, message, where, within=(read.start, read.end))
    elif root in _OF_ITEMS:
        _check_item(draft, place, where, read)
    elif root == "steps" and place.node is not None:
        steps = list(draft.spec.nodes[place.node].steps)
        relies = ((*draft.node(place.node), "steps", *rest[:1]),)
        _known(draft, where, read, rest, steps, "step", relies)
    elif root in ("inputs", "state"):
        relies = ((root, *rest[:1]),)
        known = list(draft.spec.inputs if root == "inputs" else draft.spec.state)
        _known(draft, where, read, rest, known, root.removesuffix("s"), relies)
    elif root == "run":
        _known(draft, where, read, rest, list(_RUN_FIELDS[place.when]), "field of `run`")
    elif root in ("env", "secrets"):
        if not rest or not isinstance(rest[0], str):
            message = f"`{root}` cannot be read as a whole: write `{root}.NAME`"
            draft.report(codes.BAD_EXPRESSION, message, where, within=(read.start, read.end))
    elif root in draft.spec.finally_ and root not in draft.spec.nodes:
        message = f"`{root}` runs after all other nodes have ended: only its own steps can read its output"
        draft.report(codes.BAD_EXPRESSION, message, where, within=(read.start, read.end))
    elif root not in draft.spec.nodes and root not in draft.spec.before:
        known = [
            *(name for name in draft.spec.nodes if name != place.node),
            *draft.spec.before,
            *_ALWAYS,
            *(["steps"] if place.steps else []),
        ]
        known += _OF_ITEMS if _has_items(draft, place) else ()
        message = f"there is no node `{root}`"
        _unknown(draft, where, read, root, known, message, (("nodes", root), draft.node(root)))


def _check_resource(draft: Draft, place: Place, where: KeyPath, read: Read) -> None:
    name, within = "".join(map(str, read.path[1:2])), (read.start, read.end)
    if place.path[-1:] != ("with",) or place.node is None or draft.spec.table == "resources":
        message = "`resources` cannot be read here: only the `with` of a node's tasks can read them"
        draft.report(codes.BAD_EXPRESSION, message, where, within=within)
    elif not name:
        message = "`resources` cannot be read as a whole: write `resources.NAME`"
        draft.report(codes.BAD_EXPRESSION, message, where, within=within)
    elif name not in draft.spec.resources:
        _known(draft, where, read, read.path[1:], list(draft.spec.resources), "resource")
    elif name not in place.uses:
        cure = f'add it to `{place.node}`: `uses = ["{name}"]`'
        message = f"`{place.node}` does not use resource `{name}`"
        draft.report(codes.UNKNOWN_NAME, message, where, cure, within=within)


def _has_items(draft: Draft, place: Place) -> bool:
    """Return whether a template is evaluated for an item of a fan-out."""
    if place.node is None or not place.steps:
        return False
    return draft.spec.nodes[place.node].for_each is not None


def _check_item(draft: Draft, place: Place, where: KeyPath, read: Read) -> None:
    if not _has_items(draft, place):
        message = (
            f"`{read.path[0]}` cannot be read here: only the steps and the `outputs` of a node"
        )
        relies = [] if place.node is None else [(*draft.node(place.node), "for_each")]
        draft.report(
            codes.BAD_EXPRESSION,
            f"{message} with `for_each` can read it",
            where,
            within=(read.start, read.end),
            relies=relies,
        )


def _known(
    draft: Draft,
    where: KeyPath,
    read: Read,
    rest: tuple[str | int, ...],
    known: list[str],
    what: str,
    relies: tuple[KeyPath, ...] = (),
) -> None:
    if rest and rest[0] not in known:
        message = f"there is no {what} `{rest[0]}`"
        _unknown(draft, where, read, str(rest[0]), known, message, relies)


def _unknown(
    draft: Draft,
    where: KeyPath,
    read: Read,
    name: str,
    known: list[str],
    message: str,
    relies: tuple[KeyPath, ...] = (),
) -> None:
    guess = nearest(name, known)
    cure = f"did you mean `{guess}`?" if guess else None
    root = None if name == read.path[0] else str(read.path[0])

    def mend(source: Source, _: KeyPath, span: Span) -> Fix | None:
        return mend_read(source, span, root, name, known)

    told, within = f"{message} (`{show(read.path)}`)", (read.start, read.end)
    draft.report(codes.UNKNOWN_NAME, told, where, cure, within=within, relies=relies, mend=mend)


def is_input_of(kind: str, spec: Spec, read: Read) -> bool:
    """Return whether a read is of an input or state whose schema has this type."""
    root, *rest = read.path
    schemas = {"inputs": spec.inputs, "state": spec.state}.get(str(root), {})
    return len(rest) == 1 and schemas.get(str(rest[0]), {}).get("type") == kind


def nodes_read(draft: Draft, templates: list[Template]) -> dict[str, bool]:
    """Return the nodes that templates read, in order, each with whether all its reads may be absent."""
    found: dict[str, bool] = {}
    for made in templates:
        for read in made.reads:
            root = str(read.path[0])
            if root in draft.spec.nodes and not means_either(draft.spec, root):
                found[root] = found.get(root, True) and read.guarded
    return found


def names_set(root: str, templates: list[Template]) -> Mapping[str, bool]:
    """Return the names of `env` or `secrets` that templates read, each with whether it is required.

    A name is required if some read of it has no default.
    """
    found: dict[str, bool] = {}
    for name, guarded in _named(root, templates):
        found[name] = found.get(name, False) or not guarded
    return found


def _named(root: str, templates: list[Template]) -> Iterator[tuple[str, bool]]:
    for made in templates:
        for read in made.reads:
            if read.path[0] == root and len(read.path) > 1:
                yield str(read.path[1]), read.guarded
