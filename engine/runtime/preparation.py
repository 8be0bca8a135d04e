"""Prepare a run: collect and validate all that it needs before it begins or resumes.

Source: docs/language.md, "A document", "Engines that die".
"""

from __future__ import annotations

import os
import secrets as random_source
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import attrs

from engine.base.classes import frozen
from engine.errors import EngineError, InputError
from engine.journal.records import Header
from engine.journal.store import Store
from engine.plan.plan import Plan
from engine.record.events import Event
from engine.record.questions import Answer
from engine.runtime.environment import collect_variables, validate_lengths
from engine.runtime.journal_writer import JournalTarget
from engine.runtime.options import Options
from engine.runtime.redaction import Redactor
from engine.scheduling.carry_over import CarriedOver
from engine.scheduling.values import RunValues, resolve_inputs
from engine.version import __version__

__all__ = ["PreparedRun", "build_header", "prepare", "store_run"]


@frozen
class PreparedRun:
    """A run whose inputs, environment and secrets are complete and valid."""

    plan: Plan
    values: RunValues
    options: Options
    run_id: str
    redactor: Redactor
    has_secrets: bool
    """Whether there is a secret to keep out of what the run reports."""
    seed: int | str
    events: Sequence[Event] = ()
    """The events that the journal already has."""
    carried_over: CarriedOver = attrs.field(factory=CarriedOver)
    """Attempts that need not be run, since their outcome is carried over."""
    start_time: float = 0.0
    """The run's time in seconds at which it begins: the end of its earlier part, or 0."""
    waited: float = 0.0
    """Seconds for which the run has waited for people since then."""
    given_answers: Mapping[str, Answer] = attrs.field(factory=dict)
    """Answers that were given before their questions, by node or step."""
    cancel_reason: str | None = None
    """The reason for cancelling the run before anything of it runs, or None."""
    restarts: int = 0
    """The number of times that the run was started again and carried over earlier outcomes."""
    journal_target: JournalTarget | None = None
    """The place where the events are written; None for a run that is not stored."""


def prepare(plan: Plan, raw_inputs: Mapping[str, Any] | None, options: Options) -> PreparedRun:
    """Validate all that a run needs before its first attempt, and return the prepared run.

    Raises InputError, which lists every input that does not match and every name that is not set; TypeError for what is
    not a Plan; EngineError for a plan with unbounded loops.
    """
    if not isinstance(plan, Plan):
        raise TypeError(
            f"expected a Plan, found `{type(plan).__name__}`: make it with `engine.load_plan`"
        )
    if plan.loops or any(part.loops for part in plan.parts):
        raise EngineError(f"the plan of `{plan.name}` has unbounded loops: check it first")
    raw_inputs = {} if raw_inputs is None else raw_inputs
    if not isinstance(raw_inputs, Mapping):
        raise InputError(
            (f"inputs must be a mapping of names to values, not `{type(raw_inputs).__name__}`",)
        )
    inputs, problems = resolve_inputs(plan, raw_inputs)
    env, missing = collect_variables(plan, "env", (options.env, os.environ), "environment variable")
    hidden, unset = collect_variables(plan, "secrets", (options.secrets, os.environ), "secret")
    wrong = (*problems, *missing, *unset, *validate_lengths(hidden))
    if wrong:
        raise InputError(wrong)
    run_id = options.run_id or random_source.token_hex(8)
    redactor = Redactor(hidden.values())
    # The run reads the values that are stored: otherwise a resumed run would read others.
    values = RunValues(redactor.redact_value(inputs), env, hidden)
    return PreparedRun(
        plan,
        values,
        options,
        run_id,
        redactor,
        any(hidden.values()),
        options.seed if options.seed is not None else run_id,
    )


def store_run(prepared: PreparedRun) -> PreparedRun:
    """Create the run in its store, which is left open, and return the run with its journal target.

    Raises DuplicateKey and PipelineBusy as `Store.create` does.
    """
    options = prepared.options
    assert options.store is not None
    header = build_header(prepared)
    alone = prepared.plan.overlap != "allow"
    store = Store(options.store, options.durability == "full")
    with ExitStack() as undo:
        undo.callback(store.close)
        place = JournalTarget(
            options.store, header.id, store.create(header, exclusive=alone), open_store=store
        )
        undo.pop_all()
    return attrs.evolve(prepared, journal_target=place)


def build_header(prepared: PreparedRun, origin: str | None = None) -> Header:
    """Build the header that the store has of a run before its first event."""
    plan = prepared.plan
    known = prepared.values.build_scope({})
    return Header(
        id=prepared.run_id,
        pipeline=plan.name,
        path=plan.path,
        hash=plan.hash,
        files=plan.files,
        inputs=known["inputs"],
        env=known["env"],
        seed=prepared.seed,
        engine=__version__,
        key=prepared.options.key,
        origin=origin,
    )
