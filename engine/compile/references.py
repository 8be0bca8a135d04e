"""Compile templates: check that the names they read exist and are in scope, and find the nodes read.

Reports E201, E505.
Source: docs/language.md, "Edges and joins", "Expressions".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from engine.base.classes import frozen
from engine.base.suggestions import closest_match
from engine.compile.reporter import DocumentDraft
from engine.diagnostics import Fix, codes
from engine.diagnostics.fixes import fix_reference
from engine.expressions.model import BadExpression, EvaluationError, Read, Template
from engine.expressions.templates import parse_condition, parse_template
from engine.language.invalid_names import TemplateParser, is_ambiguous_root
from engine.language.spec import Spec
from engine.toml.key_paths import KeyPath, format_path
from engine.toml.source import Source, Span

__all__ = [
    "TemplateContext",
    "compile_condition",
    "compile_template",
    "find_nodes_read",
    "find_variable_names",
    "is_input_of_type",
]

_GLOBAL_ROOTS = frozenset({"inputs", "state", "run", "env", "secrets"})
_ITEM_ROOTS = ("item", "index")
_RUN_KEYS = ("id", "pipeline")
_STEP_RUN_KEYS = (*_RUN_KEYS, "node", "step", "visit", "attempt")
_RUN_KEYS_BY_TIME = {
    "run": _RUN_KEYS,
    "start": _RUN_KEYS,
    "end": _STEP_RUN_KEYS,
    "attempt": (*_STEP_RUN_KEYS, "key"),
}


@frozen
class TemplateContext:
    """The location of a template, its node, and when it is evaluated, which decides what is in scope.

    A template is evaluated for each attempt, when its node starts or ends, or when the run ends.
    """

    path: KeyPath
    node: str | None
    evaluated_at: Literal["attempt", "start", "end", "run"]
    open_resources: tuple[str, ...] = ()
    """The resources that are open there."""

    @property
    def can_read_steps(self) -> bool:
        """Whether the node's steps can be read there."""
        return self.evaluated_at in ("attempt", "end")


def compile_template(draft: DocumentDraft, place: TemplateContext, value: Any) -> Template:
    """Compile the template of a value such as `with` or `outputs`, and check the names it reads."""
    return _compile_checked(draft, place, value, parse_template)


def compile_condition(draft: DocumentDraft, place: TemplateContext, text: str) -> Template:
    """Compile the template of a `when`; one that reads nothing must evaluate to a boolean."""
    made = _compile_checked(draft, place, text, parse_condition)
    if not (made.reads or made.is_constant) and (wrong := _find_condition_error(made)):
        draft.report(codes.BAD_EXPRESSION, f"this condition {wrong}", place.path)
        return parse_template("")
    return made


def _find_condition_error(made: Template) -> str | None:
    try:
        value = made.evaluate({})
    except EvaluationError as error:
        return f"can never be evaluated: {error}"
    return (
        None
        if isinstance(value, bool)
        else f"is always {json.dumps(value)}, neither true nor false"
    )


def _compile_checked(
    draft: DocumentDraft, place: TemplateContext, value: Any, make: TemplateParser
) -> Template:
    """Compile a template and check its names.

    A template that reads something with an invalid name is not reported for that.
    """
    before = len(draft.diagnostics)
    made = _parse_and_check(draft, place, value, make)
    understood = len(draft.diagnostics) == before and (made.reads or made.is_constant)
    if understood or not draft.spec.misnamed_paths:
        return made
    del draft.diagnostics[before:]
    return _parse_and_check(draft, place, value, draft.with_placeholders(make))


def _parse_and_check(
    draft: DocumentDraft, place: TemplateContext, value: Any, make: TemplateParser
) -> Template:
    """Parse a template and check its reads.

    Invalid strings are reported and left out, so that the rest is still checked.
    """
    try:
        made = make(value)
    except BadExpression:
        made = parse_template(_replace_invalid(draft, place, value, (), make))
    for read in made.reads:
        _check_read(draft, place, read)
    return made


def _replace_invalid(
    draft: DocumentDraft, place: TemplateContext, value: Any, at: KeyPath, make: TemplateParser
) -> Any:
    """Return the value with every invalid template string reported and made empty."""
    if isinstance(value, dict):
        return {k: _replace_invalid(draft, place, v, (*at, k), make) for k, v in value.items()}
    if isinstance(value, list):
        return [_replace_invalid(draft, place, v, (*at, i), make) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value
    try:
        make(value)
    except BadExpression as error:
        span = (error.start, error.end)
        draft.report(
            codes.BAD_EXPRESSION, error.message, (*place.path, *at), error.help, offsets=span
        )
        return ""
    return value


def _check_read(draft: DocumentDraft, place: TemplateContext, read: Read) -> None:
    root, rest = str(read.path[0]), read.path[1:]
    where = (*place.path, *read.key_path)
    if is_ambiguous_root(draft.spec, root):
        draft.ambiguous_nodes.add(place.node)
    elif root == "resources":
        _check_resource(draft, place, where, read)
    elif root == "steps" and not place.can_read_steps:
        message = "`steps` cannot be read here: only a node's own steps and `outputs` can read them"
        draft.report(codes.BAD_EXPRESSION, message, where, offsets=(read.start, read.end))
    elif root in _ITEM_ROOTS:
        _check_item(draft, place, where, read)
    elif root == "steps" and place.node is not None:
        steps = list(draft.spec.nodes[place.node].steps)
        relies = ((*draft.node_path(place.node), "steps", *rest[:1]),)
        _check_known(draft, where, read, rest, steps, "step", relies)
    elif root in ("inputs", "state"):
        relies = ((root, *rest[:1]),)
        known = list(draft.spec.inputs if root == "inputs" else draft.spec.state)
        _check_known(draft, where, read, rest, known, root.removesuffix("s"), relies)
    elif root == "run":
        _check_known(
            draft, where, read, rest, list(_RUN_KEYS_BY_TIME[place.evaluated_at]), "field of `run`"
        )
    elif root in ("env", "secrets"):
        if not rest or not isinstance(rest[0], str):
            message = f"`{root}` cannot be read as a whole: write `{root}.NAME`"
            draft.report(codes.BAD_EXPRESSION, message, where, offsets=(read.start, read.end))
    elif root in draft.spec.finally_ and root not in draft.spec.nodes:
        message = f"`{root}` runs after all other nodes have ended: only its own steps can read its output"
        draft.report(codes.BAD_EXPRESSION, message, where, offsets=(read.start, read.end))
    elif root not in draft.spec.nodes and root not in draft.spec.finished_nodes:
        known = [
            *(name for name in draft.spec.nodes if name != place.node),
            *draft.spec.finished_nodes,
            *_GLOBAL_ROOTS,
            *(["steps"] if place.can_read_steps else []),
        ]
        known += _ITEM_ROOTS if _has_items(draft, place) else ()
        message = f"there is no node `{root}`"
        _report_unknown(
            draft, where, read, root, known, message, (("nodes", root), draft.node_path(root))
        )


def _check_resource(
    draft: DocumentDraft, place: TemplateContext, where: KeyPath, read: Read
) -> None:
    name, within = "".join(map(str, read.path[1:2])), (read.start, read.end)
    if place.path[-1:] != ("with",) or place.node is None or draft.spec.table == "resources":
        message = "`resources` cannot be read here: only the `with` of a node's tasks can read them"
        draft.report(codes.BAD_EXPRESSION, message, where, offsets=within)
    elif not name:
        message = "`resources` cannot be read as a whole: write `resources.NAME`"
        draft.report(codes.BAD_EXPRESSION, message, where, offsets=within)
    elif name not in draft.spec.resources:
        _check_known(draft, where, read, read.path[1:], list(draft.spec.resources), "resource")
    elif name not in place.open_resources:
        advice = f'add it to `{place.node}`: `uses = ["{name}"]`'
        message = f"`{place.node}` does not use resource `{name}`"
        draft.report(codes.UNKNOWN_NAME, message, where, advice, offsets=within)


def _has_items(draft: DocumentDraft, place: TemplateContext) -> bool:
    """Return whether a template is evaluated for an item of a fan-out."""
    if place.node is None or not place.can_read_steps:
        return False
    return draft.spec.nodes[place.node].for_each is not None


def _check_item(draft: DocumentDraft, place: TemplateContext, where: KeyPath, read: Read) -> None:
    if not _has_items(draft, place):
        message = (
            f"`{read.path[0]}` cannot be read here: only the steps and the `outputs` of a node"
        )
        relies = [] if place.node is None else [(*draft.node_path(place.node), "for_each")]
        draft.report(
            codes.BAD_EXPRESSION,
            f"{message} with `for_each` can read it",
            where,
            offsets=(read.start, read.end),
            depends_on=relies,
        )


def _check_known(
    draft: DocumentDraft,
    where: KeyPath,
    read: Read,
    rest: tuple[str | int, ...],
    known: list[str],
    what: str,
    depends_on: tuple[KeyPath, ...] = (),
) -> None:
    if rest and rest[0] not in known:
        message = f"there is no {what} `{rest[0]}`"
        _report_unknown(draft, where, read, str(rest[0]), known, message, depends_on)


def _report_unknown(
    draft: DocumentDraft,
    where: KeyPath,
    read: Read,
    name: str,
    known: list[str],
    message: str,
    depends_on: tuple[KeyPath, ...] = (),
) -> None:
    guess = closest_match(name, known)
    advice = f"did you mean `{guess}`?" if guess else None
    root = None if name == read.path[0] else str(read.path[0])

    def build_fix(source: Source, _: KeyPath, span: Span) -> Fix | None:
        return fix_reference(source, span, root, name, known)

    shown, within = f"{message} (`{format_path(read.path)}`)", (read.start, read.end)
    draft.report(
        codes.UNKNOWN_NAME,
        shown,
        where,
        advice,
        offsets=within,
        depends_on=depends_on,
        make_fix=build_fix,
    )


def is_input_of_type(type_name: str, spec: Spec, read: Read) -> bool:
    """Return whether a read is of an input or state whose schema has this type."""
    root, *rest = read.path
    schemas = {"inputs": spec.inputs, "state": spec.state}.get(str(root), {})
    return len(rest) == 1 and schemas.get(str(rest[0]), {}).get("type") == type_name


def find_nodes_read(draft: DocumentDraft, templates: list[Template]) -> dict[str, bool]:
    """Return the nodes that templates read, in order, each with whether all its reads may be absent."""
    found: dict[str, bool] = {}
    for made in templates:
        for read in made.reads:
            root = str(read.path[0])
            if root in draft.spec.nodes and not is_ambiguous_root(draft.spec, root):
                found[root] = found.get(root, True) and read.may_be_absent
    return found


def find_variable_names(root: str, templates: list[Template]) -> Mapping[str, bool]:
    """Return the names of `env` or `secrets` that templates read, each with whether it is required.

    A name is required if some read of it has no default.
    """
    found: dict[str, bool] = {}
    for name, guarded in _iter_variable_reads(root, templates):
        found[name] = found.get(name, False) or not guarded
    return found


def _iter_variable_reads(root: str, templates: list[Template]) -> Iterator[tuple[str, bool]]:
    for made in templates:
        for read in made.reads:
            if read.path[0] == root and len(read.path) > 1:
                yield str(read.path[1]), read.may_be_absent
