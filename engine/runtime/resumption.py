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

from engine.base.suggestions import nearest, no_node
from engine.errors import InputError, JournalError
from engine.journal.records import Kept
from engine.journal.store import Store
from engine.plan.plan import Plan
from engine.record.events import Event
from engine.record.questions import Answer
from engine.runtime.journal_writer import Place
from engine.runtime.options import Options
from engine.runtime.preparation import Prepared, header_of, prepare
from engine.scheduling.carry_over import ends, latest, node_of, taken

__all__ = ["Wish", "prepare_again", "prepare_rerun"]


@attrs.frozen(kw_only=True)
class Wish:
    """A request to resume a run, or to do part of it again.

    `start` is done again with all its descendants, `only` alone; `marks` gives the last attempts of nodes
    another exit, by name or number. `changed_nodes` are those whose meaning differs from when the run began;
    `accepts_changes` permits them.
    """

    start: str | None = None
    only: str | None = None
    marks: Mapping[str, str] = attrs.field(factory=dict)
    answers: Mapping[str, Answer] = attrs.field(factory=dict)
    """The answers of people, by the node or step that asks."""
    cancel: str | None = None
    """The reason for cancelling the run at once; then secrets need not be set."""
    changed: frozenset[str] = frozenset()
    accept: bool = False
    another: bool = False
    """Whether the spec as a whole has another meaning."""

    @property
    def plain(self) -> bool:
        """Whether the run goes on with nothing done again."""
        return not (self.start or self.only or self.marks or self.another)


def prepare_again(plan: Plan, kept: Kept, options: Options, wish: Wish) -> Prepared:
    """Prepare a run of `options.store` to be resumed, and acquire its lease.

    Raises InputError as `prepare` does. Raises JournalError if the run has ended and nothing of it is to be done again, if
    another process executes it, or if what has run in it now has another meaning.
    """
    header, where = kept.header, options.store
    assert where is not None
    options = attrs.evolve(options, run_id=header.id, key=header.key)
    if wish.cancel is not None:
        absent = {name: f"<secret {name}>" for name in plan.secrets}
        options = attrs.evolve(options, secrets={**absent, **options.secrets})
    prepared = _prepared(plan, kept, options)
    with Store(where) as store:
        epoch = store.acquire(header.id)
        events = store.events(header.id)
        place = Place(where, header.id, epoch, len(events))
        with ExitStack() as undo:
            undo.callback(store.release, header.id, epoch)
            if wish.plain:
                _check_open(kept, events)
                own, known = latest(events)
                undo.pop_all()
                return attrs.evolve(
                    prepared,
                    before=tuple(own),
                    place=place,
                    known=known,
                    since=_since(events, own),
                    elapsed=_elapsed(events),
                    answers=wish.answers,
                    cancelled=wish.cancel,
                    part=_parts(events),
                )
            _check_unchanged(plan, kept, events, wish)
            more = _takeover(plan, events, wish)
            last = place.last + len(more)
            store.reopen(header_of(prepared, header.origin), epoch, last, more)
            undo.pop_all()
    place = attrs.evolve(place, last=last)
    known, part = latest(more)[1], _parts([*events, *more])
    return attrs.evolve(prepared, place=place, known=known, since=more[0].time, part=part)


def prepare_rerun(plan: Plan, kept: Kept, options: Options, wish: Wish) -> Prepared:
    """Prepare a new run of a plan with the inputs of an earlier one, whose successes are carried over.

    Raises InputError as `prepare` does, and for unknown nodes.
    """
    assert options.store is not None
    prepared = _prepared(plan, kept, options)
    with Store(options.store) as store:
        events = store.events(kept.header.id)
        wish = attrs.evolve(wish, changed=wish.changed | _unsucceeded(events))
        more = [attrs.evolve(event, time=0.0) for event in _takeover(plan, events, wish)]
        header = header_of(prepared, kept.header.id)
        epoch = store.create(header)
        with ExitStack() as undo:
            undo.callback(store.release, header.id, epoch)
            store.append(header.id, epoch, len(more), more)
            undo.pop_all()
    place = Place(options.store, header.id, epoch, len(more))
    return attrs.evolve(prepared, place=place, known=latest(more)[1], part=_parts(more))


def _prepared(plan: Plan, kept: Kept, options: Options) -> Prepared:
    header = kept.header
    inputs = {name: value for name, value in header.inputs.items() if name in plan.inputs}
    seed = header.seed if options.seed is None else options.seed
    env = {**header.env, **options.env}
    return prepare(plan, inputs, attrs.evolve(options, env=env, seed=seed))


def _since(events: Sequence[Event], own: Sequence[Event]) -> float:
    """Return the time at which the latest part of a run began."""
    return own[0].time if own else (events[-1].time if events else 0.0)


def _elapsed(events: Sequence[Event]) -> float:
    """Return the seconds since a run began to wait for people; 0 if it does not wait."""
    last = events[-1] if events else None
    if last is None or last.kind != "run_waiting":
        return 0.0
    return max(0.0, time.time() - float(last.data["at"]))


def _parts(events: Iterable[Event]) -> int:
    """Return how often a run with these events was started again."""
    return sum(event.kind == "taken_over" for event in events)


def _check_open(kept: Kept, events: Sequence[Event]) -> None:
    if events and events[-1].kind == "run_ended":
        raise JournalError(
            f"run `{kept.header.id}` has ended: {kept.status}; name a node to run part of it again, "
            "or use rerun"
        )


def _check_unchanged(plan: Plan, kept: Kept, events: Sequence[Event], wish: Wish) -> None:
    begun = {node_of(event.path) for event in events if event.kind == "attempt_started"}
    wrong = sorted((begun & wish.changed) - _behind(plan, wish.start))
    if wrong and not wish.accept:
        names = ", ".join(f"`{name}`" for name in wrong)
        raise JournalError(
            f"the spec of run `{kept.header.id}` has changed in parts that have already run: {names}"
        )


def _unsucceeded(events: Iterable[Event]) -> frozenset[str]:
    """Return the nodes that ran and did not succeed."""
    found: dict[str, str] = {}
    for event in events:
        name = node_of(event.path)
        if event.kind == "attempt_started":
            found[name] = "running"
        elif event.kind == "node_settled" and event.path == name and name in found:
            found[name] = event.data["result"]
    return frozenset(name for name, result in found.items() if result != "succeeded")


def _takeover(plan: Plan, events: Sequence[Event], wish: Wish) -> list[Event]:
    ended = ends(events)
    time = events[-1].time if events else 0.0
    _check_names(plan, [*filter(None, (wish.start, wish.only)), *wish.marks])
    again = _behind(plan, wish.start)
    if not wish.accept:
        again |= _behind(plan, *(wish.changed & plan.index.keys()))
    only = None
    if wish.only is not None:
        again = {wish.only}
        only = {node_of(key) for key in ended} | {wish.only}
    marks = {
        _last(ended, node): _code(plan, ended, node, exit) for node, exit in wish.marks.items()
    }
    again -= wish.marks.keys()
    again |= {*plan.closing_names}  # what ends a run is done at each end
    return list(taken(ended, again, marks, only, time, _why(wish)))


def _why(wish: Wish) -> str:
    if wish.marks:
        return "marked " + ", ".join(f"{node}={exit}" for node, exit in wish.marks.items())
    if wish.start or wish.only:
        return f"from {wish.start}" if wish.start else f"only {wish.only}"
    return "the spec has changed" if wish.another else "again"


def _behind(plan: Plan, *roots: str | None) -> set[str]:
    """Return these nodes and all their descendants."""
    return {
        plan.nodes[at].name
        for at in plan.behind([name for name in roots if name and name in plan.index])
    }


def _check_names(plan: Plan, names: Iterable[str]) -> None:
    if problems := tuple(no_node(name, plan.index) for name in names if name not in plan.index):
        raise InputError(problems)


def _last(ended: Mapping[str, Event], node: str) -> str:
    """Return the key of a node's last attempt."""
    keys = [key for key in ended if node_of(key) == node and key.count("/") == 2]
    if not keys:
        raise InputError((f"`{node}` has no ended attempt to mark",))
    return keys[-1]


def _code(plan: Plan, ended: Mapping[str, Event], node: str, exit: str) -> int:
    """Return the code of an exit of a node's last step, by name or number."""
    name = _last(ended, node).split("/")[1]
    own = plan.nodes[plan.index[node]]
    steps = dict(zip(own.step_names, own.machine.steps, strict=True))
    aliases = steps[name].aliases if name in steps else {}
    if exit in aliases:
        return aliases[exit]
    if exit.isdigit() and int(exit) < 256:
        return int(exit)
    guess = nearest(exit, aliases)
    cure = f", did you mean `{guess}`?" if guess else ""
    raise InputError((f"`{node}` has no exit `{exit}`{cure}",))
