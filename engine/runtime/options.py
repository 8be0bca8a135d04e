"""The options of a run, and their validation."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import attrs

from engine.base.classes import frozen
from engine.base.suggestions import closest_match
from engine.record.events import Event
from engine.runtime.driver import RunAttempt
from engine.runtime.journal_writer import Durability
from engine.runtime.questions import Ask

if TYPE_CHECKING:
    from engine.hooks import Hook

__all__ = ["DEFAULT_GRACE", "Options", "parse_options"]

DEFAULT_GRACE = 5.0
"""Seconds that a cancelled attempt has to end by itself."""


def _to_text(path_or_url: str | os.PathLike[str] | None) -> str | None:
    return os.fspath(path_or_url) if isinstance(path_or_url, os.PathLike) else path_or_url


@frozen(kw_only=True)
class Options:
    """The options of a run.

    `store` is the path or URL of the store; without one the run is not stored. `durability` says when events are
    written: `full`, before the run has effects; `batch`, some milliseconds later; `off`, never. `key` is an idempotency
    key: one run for each key and pipeline. `ask` is awaited with each `Question` for a person and returns
    an `Answer`; without it a stored run that only waits for people ends with the status `waiting`.
    `env` and `secrets` take precedence over the process's environment. No two runs of one machine may have the same
    `run_id` at a time: when one is cancelled, all processes with that id are killed. `seed` determines
    jitter, `grace` is in seconds. `on_event` is called with each event as it happens; if it raises,
    that is logged and it is not called again; the same holds for each of `sinks`. `perform` runs bodies in place of the real
    ones, `exact` is for virtual clocks: see `engine.testing`.
    """

    env: Mapping[str, str] = attrs.field(factory=dict)
    secrets: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    run_id: str | None = None
    seed: int | str | None = None
    grace: float = DEFAULT_GRACE
    on_event: Callable[[Event], None] | None = None
    sinks: Sequence[Callable[[Event], None]] = ()
    hooks: Sequence[Hook] = ()
    store: str | None = attrs.field(default=None, converter=_to_text)
    durability: Durability = "full"
    key: str | None = None
    ask: Ask | None = None
    perform: RunAttempt | None = None
    exact: bool = False


def _are_hooks(given: object) -> bool:
    from engine.hooks import Hook

    return isinstance(given, Sequence) and all(isinstance(each, Hook) for each in given)


def parse_options(arguments: Mapping[str, Any]) -> Options:
    """Return the options in keyword arguments.

    Raises TypeError for a name that is not an option, with the closest match, or for a value of the wrong type.
    """
    known = [field.name for field in attrs.fields(Options)]
    for name in arguments:
        if name not in known:
            guess = closest_match(name, known)
            raise TypeError(
                f"there is no option `{name}`" + (f", did you mean `{guess}`?" if guess else "")
            )
    options = Options(**arguments)
    grace: object = options.grace
    if isinstance(grace, bool) or not isinstance(grace, (int, float)) or not 0 <= grace < math.inf:
        raise TypeError("option `grace` must be a number of seconds, 0 or more")
    for name in ("env", "secrets"):
        values: object = getattr(options, name)
        if not isinstance(values, Mapping) or not all(
            isinstance(value, str) for value in values.values()
        ):
            raise TypeError(f"option `{name}` must be a mapping of names to strings")
    if options.run_id is not None and (not isinstance(options.run_id, str) or not options.run_id):
        raise TypeError("option `run_id` must be a string that is not empty")
    if options.durability not in get_args(Durability):
        raise TypeError('option `durability` must be "full", "batch" or "off"')
    for name in ("store", "key"):
        text = getattr(options, name)
        if text is not None and (not isinstance(text, str) or not text):
            raise TypeError(f"option `{name}` must be a string that is not empty")
    if options.on_event is not None and not callable(options.on_event):
        raise TypeError("option `on_event` must be a function of one event")
    if options.hooks != () and not _are_hooks(options.hooks):
        raise TypeError("option `hooks` must be a list of `engine.hooks.Hook`")
    sinks: object = options.sinks
    if not isinstance(sinks, Sequence) or not all(map(callable, sinks)):
        raise TypeError("option `sinks` must be a list of functions of one event")
    return options
