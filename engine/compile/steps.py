"""Compile a step's exits, routes and retries: names become the machine's numbers.

Reports E1xx, E2xx.
Source: docs/language.md, "Outcomes", "Retry", "Routes".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial

from engine.base.classes import frozen
from engine.compile.reporter import DocumentDraft
from engine.diagnostics import codes
from engine.language.spec import RetrySpec, RouteSpec, StepSpec
from engine.language.structuring_errors import InvalidValue
from engine.language.value_hooks import ENGINE_OUTCOMES, NAME_PATTERN, check_exit_name
from engine.plan.machine import Clause, End, OutcomeCode, Route, Step, Target, Verdict
from engine.sdk.task import InvalidInput, Task
from engine.toml.key_paths import KeyPath

__all__ = ["StepExits", "compile_step", "resolve_declared_exits", "resolve_exits"]

_RESERVED_OUTCOMES: Mapping[str | int, OutcomeCode] = {
    "error": "error",
    "timeout": "timeout",
    "interrupted": "interrupted",
}
_UNSUPPORTED_OUTCOMES = ENGINE_OUTCOMES - set(_RESERVED_OUTCOMES)
_match_code = re.compile(r"0|[1-9][0-9]{0,2}").fullmatch
_VERDICTS: Mapping[str, Verdict] = {"done": "succeeded", "fail": "failed"}


@frozen
class StepExits:
    """The exits that a step can have.

    `aliases` maps every valid name to its code and `names` each code to its name; `codes` are the possible codes,
    None if any is possible.
    """

    aliases: Mapping[str, int]
    names: Mapping[int, str]
    codes: frozenset[int] | None


def resolve_exits(
    draft: DocumentDraft, path: KeyPath, spec: StepSpec, declared: Mapping[str, int], is_open: bool
) -> StepExits:
    """Resolve the exits of a step: those its task declares, and those it names itself.

    The step's own name for a code takes precedence over the task's.
    """
    aliases = dict(declared)
    for name, code in spec.exits.items():
        place = (*path, "exits", name)
        if declared.get(name, code) != code:
            message = f"`{name}` is exit {declared[name]} of this task, not {code}"
            draft.report(codes.WRONG_TYPE, message, place)
        aliases[name] = code
    names = {code: name for name, code in reversed(list(declared.items()))}
    names |= {code: name for name, code in spec.exits.items()}
    return StepExits(aliases, names, None if is_open else frozenset(aliases.values()))


def resolve_declared_exits(
    draft: DocumentDraft, path: KeyPath, spec: StepSpec, task: Task
) -> Mapping[str, int]:
    """Return the exits of a task, which may depend on its `with`; empty if they cannot be determined."""
    if task.needs_person:
        return _find_option_exits(draft, path, spec)
    if task.find_exits is None:
        return task.exits
    try:
        return task.find_exits(spec.with_)
    except InvalidInput as wrong:
        place = (*path, "with", *wrong.path)
        draft.report(codes.WRONG_TYPE, wrong.message, place, wrong.help)
        return {}


def _find_option_exits(draft: DocumentDraft, path: KeyPath, spec: StepSpec) -> dict[str, int]:
    """Return the exits of a step that asks a person: its options, numbered from 0.

    Empty if the options are not literal.
    """
    options = spec.with_.get("options")
    if "${" in str(options):
        message = f"the options of `{spec.task}` must be literal: they are its exits"
        draft.report(codes.WRONG_TYPE, message, (*path, "with", "options"))
    if (
        "${" in str(options)
        or not isinstance(options, list)
        or not all(isinstance(each, str) for each in options)
    ):
        return {}
    for at, option in enumerate(options):
        try:
            check_exit_name(option)
        except InvalidValue as wrong:
            place = (*path, "with", "options", at)
            message = f"each option names an exit: {wrong.message}"
            draft.report(codes.BAD_NAME, message, place, wrong.help)
            return {}
    return {option: code for code, option in enumerate(options) if code < 256}


def compile_step(
    draft: DocumentDraft,
    path: KeyPath,
    name: str | None,
    spec: StepSpec,
    exits: StepExits,
    can_time_out: bool,
    routes_interrupts: bool,
    next_counter: int,
) -> tuple[Step, int]:
    """Compile a step of the machine, and return it with the next free counter.

    Its bounded routes take counters from `next_counter` on.
    """
    routes: dict[OutcomeCode, Route] = {}
    default: Route | None = None
    written: dict[OutcomeCode, str] = {}
    for key, route_spec in spec.routes.items():
        place = (*path, "routes", key)
        outcome = (
            None if key == "*" else _resolve_outcome(draft, path, exits, key, place, at_key=True)
        )
        route = _compile_route(draft, path, place, key, route_spec, next_counter)
        if route is None:
            continue
        next_counter += route.max is not None
        if key == "*":
            default = route
        if outcome is None:
            continue
        if outcome in written:
            message = f"`{key}` and `{written[outcome]}` are the same exit {outcome}"
            draft.report(codes.WRONG_TYPE, message, place, at_key=True)
        written[outcome] = key
        routes[outcome] = route
    retry = tuple(
        _compile_retry(draft, path, exits, index, clause, routes)
        for index, clause in enumerate(spec.retry)
    )
    tables = (exits.codes, exits.names, exits.aliases, routes, default, retry)
    return Step(name, *tables, can_time_out, routes_interrupts), next_counter


def _resolve_outcome(
    draft: DocumentDraft,
    path: KeyPath,
    exits: StepExits,
    text: str | int,
    place: KeyPath,
    *,
    at_key: bool = False,
) -> OutcomeCode | None:
    """Resolve a name or number to an outcome of the step at `path`.

    If there is none, report an error and return None.
    """
    if text in _RESERVED_OUTCOMES:
        return _RESERVED_OUTCOMES[text]
    if text in _UNSUPPORTED_OUTCOMES:
        message = f"`{text}` is not supported yet: this version runs on one machine"
        draft.report(codes.NOT_SUPPORTED, message, place, at_key=at_key)
        return None
    if isinstance(text, str) and text in exits.aliases:
        return exits.aliases[text]
    number = text if isinstance(text, int) else _parse_exit_code(text)
    if number is not None and (exits.codes is None or number in exits.codes):
        return number
    known = [*exits.aliases, *map(str, _RESERVED_OUTCOMES)]
    what = f"exit {number}" if number is not None else f"`{text}`"
    message = f"this step has no {what}"
    relies = (*path, "exits") if number is not None else (*path, "exits", str(text))
    draft.report_unknown(
        codes.UNKNOWN_EXIT, message, place, str(text), known, at_key=at_key, depends_on=[relies]
    )
    return None


def _parse_exit_code(text: str) -> int | None:
    return int(text) if _match_code(text) and int(text) < 256 else None


def _compile_route(
    draft: DocumentDraft, path: KeyPath, place: KeyPath, key: str, spec: RouteSpec, counter: int
) -> Route | None:
    node = str(path[1])
    steps = list(draft.spec.nodes[node].steps)
    to = _resolve_target(draft, node, steps, spec.to, (*place, "to"))
    end = "fail" if spec.then is None else spec.then
    then = _resolve_target(draft, node, steps, end, (*place, "then"))
    if to is None or then is None:
        return None
    taken = counter if spec.max is not None else -1
    return Route(key, to, spec.max, then, spec.delay or 0.0, taken)


def _resolve_target(
    draft: DocumentDraft, node: str, steps: Sequence[str], text: str, place: KeyPath
) -> Target | None:
    """Resolve a route's target to a step index or an end.

    If there is none, report an error and return None.
    """
    word, colon, label = text.partition(":")
    if word in _VERDICTS:
        if colon and not re.fullmatch(NAME_PATTERN, label):
            message, advice = f"`{label}` is not a label", "letters, digits and `_`, no digit first"
            draft.report(codes.BAD_NAME, message, place, advice)
        return End(_VERDICTS[word], label or None)
    if text in steps:
        return steps.index(text)
    message = f"there is no step `{text}` in this node"
    relies, known = (
        [(*draft.node_path(node), "steps", text)],
        list(dict.fromkeys([*steps, *_VERDICTS])),
    )
    draft.report_unknown(codes.UNKNOWN_NAME, message, place, text, known, depends_on=relies)
    return None


def _compile_retry(
    draft: DocumentDraft,
    path: KeyPath,
    exits: StepExits,
    index: int,
    spec: RetrySpec,
    routes: Mapping[OutcomeCode, Route],
) -> Clause:
    clause = partial(
        Clause,
        attempts=spec.attempts,
        delay=spec.delay,
        factor=spec.factor,
        max_delay=spec.max_delay,
        jitter=spec.jitter,
    )
    if spec.on is None:
        return clause(matches_all=True, excluded=frozenset({*routes, "interrupted"}))
    place = (*path, "retry", index, "on")
    listed = {
        outcome
        for at, text in enumerate(spec.on)
        if text != "*"
        and (outcome := _resolve_outcome(draft, path, exits, text, (*place, at))) is not None
    }
    return clause(on=frozenset(listed), matches_all="*" in spec.on)
