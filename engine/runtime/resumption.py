"""Prepare stored runs to be resumed or run again.

A run goes on where its journal ends as long as the meaning of its spec is unchanged. With another spec, from
a node on, or with an attempt marked, it starts again and carries over all that need not be done
again; so does a new run that reuses an earlier one. Source: docs/language.md, "Engines that die".
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack

import attrs

from engine.base.suggestions import closest_match, unknown_node_message
from engine.errors import InputError, JournalError
from engine.journal.records import StoredRun
from engine.journal.store import Store
from engine.plan.plan import Plan
from engine.record.events import Event
from engine.record.questions import Answer
from engine.runtime.journal_writer import JournalTarget
from engine.runtime.options import Options
from engine.runtime.preparation import PreparedRun, build_header, prepare
from engine.scheduling.carry_over import (
    carry_over_events,
    main_node_of,
    recorded_ends,
    since_last_restart,
)

__all__ = ["ResumeRequest", "prepare_rerun", "prepare_resume"]


@attrs.frozen(kw_only=True)
class ResumeRequest:
    """A request to resume a run, or to do part of it again.

    `start` is done again with all its descendants, `only` alone; `marks` gives the last attempts of nodes
    another exit, by name or number. `changed_nodes` are those whose meaning differs from when the run began;
    `accepts_changes` permits them.
    """

    start: str | None = None
    only: str | None = None
    marks: Mapping[str, str] = attrs.field(factory=dict)
    given_answers: Mapping[str, Answer] = attrs.field(factory=dict)
    """The answers of people, by the node or step that asks."""
    cancel_reason: str | None = None
    """The reason for cancelling the run at once; then secrets need not be set."""
    changed_nodes: frozenset[str] = frozenset()
    accepts_changes: bool = False
    has_changed_spec: bool = False
    """Whether the spec as a whole has another meaning."""

    @property
    def is_plain_resume(self) -> bool:
        """Whether the run goes on with nothing done again."""
        return not (self.start or self.only or self.marks or self.has_changed_spec)


def prepare_resume(
    plan: Plan, stored: StoredRun, options: Options, request: ResumeRequest
) -> PreparedRun:
    """Prepare a run of `options.store` to be resumed, and acquire its lease.

    Raises InputError as `prepare` does. Raises JournalError if the run has ended and nothing of it is to be done again, if
    another process executes it, or if what has run in it now has another meaning.
    """
    header, where = stored.header, options.store
    assert where is not None
    options = attrs.evolve(options, run_id=header.id, key=header.key)
    if request.cancel_reason is not None:
        absent = {name: f"<secret {name}>" for name in plan.secrets}
        options = attrs.evolve(options, secrets={**absent, **options.secrets})
    prepared = _prepare_stored(plan, stored, options)
    with Store(where) as store:
        epoch = store.acquire(header.id)
        events = store.read_events(header.id)
        place = JournalTarget(where, header.id, epoch, len(events))
        with ExitStack() as undo:
            undo.callback(store.release, header.id, epoch)
            if request.is_plain_resume:
                _require_unfinished(stored, events)
                own, known = since_last_restart(events)
                undo.pop_all()
                return attrs.evolve(
                    prepared,
                    events=tuple(own),
                    journal_target=place,
                    carried_over=known,
                    start_time=_find_part_start(events, own),
                    waited=_compute_waited_seconds(events),
                    given_answers=request.given_answers,
                    cancel_reason=request.cancel_reason,
                    restarts=_count_restarts(events),
                )
            _require_unchanged(plan, stored, events, request)
            more = _carry_over(plan, events, request)
            last = place.last_event + len(more)
            store.reopen(build_header(prepared, header.origin), epoch, last, more)
            undo.pop_all()
    place = attrs.evolve(place, last_event=last)
    known, part = since_last_restart(more)[1], _count_restarts([*events, *more])
    return attrs.evolve(
        prepared, journal_target=place, carried_over=known, start_time=more[0].time, restarts=part
    )


def prepare_rerun(
    plan: Plan, stored: StoredRun, options: Options, request: ResumeRequest
) -> PreparedRun:
    """Prepare a new run of a plan with the inputs of an earlier one, whose successes are carried over.

    Raises InputError as `prepare` does, and for unknown nodes.
    """
    assert options.store is not None
    prepared = _prepare_stored(plan, stored, options)
    with Store(options.store) as store:
        events = store.read_events(stored.header.id)
        request = attrs.evolve(
            request, changed_nodes=request.changed_nodes | _find_nodes_without_success(events)
        )
        more = [attrs.evolve(event, time=0.0) for event in _carry_over(plan, events, request)]
        header = build_header(prepared, stored.header.id)
        epoch = store.create(header)
        with ExitStack() as undo:
            undo.callback(store.release, header.id, epoch)
            store.append(header.id, epoch, len(more), more)
            undo.pop_all()
    place = JournalTarget(options.store, header.id, epoch, len(more))
    return attrs.evolve(
        prepared,
        journal_target=place,
        carried_over=since_last_restart(more)[1],
        restarts=_count_restarts(more),
    )


def _prepare_stored(plan: Plan, stored: StoredRun, options: Options) -> PreparedRun:
    header = stored.header
    inputs = {name: value for name, value in header.inputs.items() if name in plan.inputs}
    seed = header.seed if options.seed is None else options.seed
    env = {**header.env, **options.env}
    return prepare(plan, inputs, attrs.evolve(options, env=env, seed=seed))


def _find_part_start(events: Sequence[Event], own_events: Sequence[Event]) -> float:
    """Return the time at which the latest part of a run began."""
    return own_events[0].time if own_events else (events[-1].time if events else 0.0)


def _compute_waited_seconds(events: Sequence[Event]) -> float:
    """Return the seconds since a run began to wait for people; 0 if it does not wait."""
    last = events[-1] if events else None
    if last is None or last.kind != "run_waiting":
        return 0.0
    return max(0.0, time.time() - float(last.data["at"]))


def _count_restarts(events: Iterable[Event]) -> int:
    """Return how often a run with these events was started again."""
    return sum(event.kind == "taken_over" for event in events)


def _require_unfinished(stored: StoredRun, events: Sequence[Event]) -> None:
    if events and events[-1].kind == "run_ended":
        raise JournalError(
            f"run `{stored.header.id}` has ended: {stored.status}; name a node to run part of it again, "
            "or use rerun"
        )


def _require_unchanged(
    plan: Plan, stored: StoredRun, events: Sequence[Event], request: ResumeRequest
) -> None:
    begun = {main_node_of(event.path) for event in events if event.kind == "attempt_started"}
    wrong = sorted((begun & request.changed_nodes) - _find_descendants(plan, request.start))
    if wrong and not request.accepts_changes:
        names = ", ".join(f"`{name}`" for name in wrong)
        raise JournalError(
            f"the spec of run `{stored.header.id}` has changed in parts that have already run: {names}"
        )


def _find_nodes_without_success(events: Iterable[Event]) -> frozenset[str]:
    """Return the nodes that ran and did not succeed."""
    found: dict[str, str] = {}
    for event in events:
        name = main_node_of(event.path)
        if event.kind == "attempt_started":
            found[name] = "running"
        elif event.kind == "node_settled" and event.path == name and name in found:
            found[name] = event.data["result"]
    return frozenset(name for name, result in found.items() if result != "succeeded")


def _carry_over(plan: Plan, events: Sequence[Event], request: ResumeRequest) -> list[Event]:
    ended = recorded_ends(events)
    time = events[-1].time if events else 0.0
    _validate_names(plan, [*filter(None, (request.start, request.only)), *request.marks])
    again = _find_descendants(plan, request.start)
    if not request.accepts_changes:
        again |= _find_descendants(plan, *(request.changed_nodes & plan.index.keys()))
    only = None
    if request.only is not None:
        again = {request.only}
        only = {main_node_of(key) for key in ended} | {request.only}
    marks = {
        _find_last_attempt_key(ended, node): _resolve_exit_code(plan, ended, node, exit)
        for node, exit in request.marks.items()
    }
    again -= request.marks.keys()
    again |= {*plan.finally_names}  # what ends a run is done at each end
    return list(carry_over_events(ended, again, marks, only, time, _describe_reason(request)))


def _describe_reason(request: ResumeRequest) -> str:
    if request.marks:
        return "marked " + ", ".join(f"{node}={exit}" for node, exit in request.marks.items())
    if request.start or request.only:
        return f"from {request.start}" if request.start else f"only {request.only}"
    return "the spec has changed" if request.has_changed_spec else "again"


def _find_descendants(plan: Plan, *roots: str | None) -> set[str]:
    """Return these nodes and all their descendants."""
    return {
        plan.nodes[at].name
        for at in plan.descendants([name for name in roots if name and name in plan.index])
    }


def _validate_names(plan: Plan, names: Iterable[str]) -> None:
    if problems := tuple(
        unknown_node_message(name, plan.index) for name in names if name not in plan.index
    ):
        raise InputError(problems)


def _find_last_attempt_key(ends: Mapping[str, Event], node: str) -> str:
    """Return the key of a node's last attempt."""
    keys = [key for key in ends if main_node_of(key) == node and key.count("/") == 2]
    if not keys:
        raise InputError((f"`{node}` has no ended attempt to mark",))
    return keys[-1]


def _resolve_exit_code(plan: Plan, ends: Mapping[str, Event], node: str, exit: str) -> int:
    """Return the code of an exit of a node's last step, by name or number."""
    name = _find_last_attempt_key(ends, node).split("/")[1]
    own = plan.nodes[plan.index[node]]
    steps = dict(zip(own.step_names, own.machine.steps, strict=True))
    aliases = steps[name].aliases if name in steps else {}
    if exit in aliases:
        return aliases[exit]
    if exit.isdigit() and int(exit) < 256:
        return int(exit)
    guess = closest_match(exit, aliases)
    advice = f", did you mean `{guess}`?" if guess else ""
    raise InputError((f"`{node}` has no exit `{exit}`{advice}",))
