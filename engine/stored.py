"""Runs that are kept, from plain Python: take one up again, look at them, ask them to stop.

What `engine resume`, `runs`, `show` and `cancel` do. The store is a path or a URL; by default the
one of `[tool.engine]`, else the file under the user's state directory. Source: LANGUAGE.md sections 14 and 15 (T6).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.api import analyse
from engine.errors import JournalError, SpecError
from engine.journal.dialects import default_store
from engine.journal.records import Header, Kept
from engine.journal.store import Store
from engine.plan import Plan
from engine.registry import Registry
from engine.source import Source

if TYPE_CHECKING:
    from engine.result import Result

__all__ = ["plan_of", "resume", "runs"]


def runs(
    store: str | None = None, pipeline: str | None = None, since: float | None = None
) -> list[Kept]:
    """The runs of a store, latest first."""
    with Store(store or default_store()) as found:
        return found.runs(pipeline, since)


def resume(
    run: str,
    *,
    store: str | None = None,
    registry: Registry | None = None,
    tasks: Iterable[object] = (),
    **options: Any,
) -> Result:
    """Go on with a run whose process died, to its end; blocks as `engine.run` does.

    `run` is its id, or the first characters of it. Raises JournalError if there is no such run, it
    has ended, somebody runs it, or its spec has changed.
    """
    from engine.runtime.blocking import blocking
    from engine.runtime.options import options_of
    from engine.runtime.prepared import prepare_again

    where = store or default_store()
    chosen = options_of({**options, "store": where})
    with Store(where) as found:
        kept = found.run(run)
    plan = plan_of(kept.header, registry, tasks)
    return blocking(lambda: prepare_again(plan, kept, chosen))


def plan_of(header: Header, registry: Registry | None = None, tasks: Iterable[object] = ()) -> Plan:
    """The plan of a run: its spec must still mean what it meant."""
    path = Path(header.path)
    spec = path if path.exists() else _as_it_was(header)
    plan, found = analyse(spec, registry, tasks=tasks)
    if plan is None:
        raise SpecError(found)
    if plan.hash != header.hash:
        raise JournalError(f"`{header.path}` has changed since run `{header.id}` began")
    return plan


def _as_it_was(header: Header) -> Source:
    return Source(header.path, header.files[header.path])
