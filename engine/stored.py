"""Resume, rerun, list, answer and cancel stored runs from plain Python.

The same as `engine resume`, `runs`, `show` and `cancel`. The store is a path or a URL; the default is the one of
`[tool.engine]`, else the file in the user's state directory.
Source: docs/language.md, "Engines that die".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from engine.api import analyse, with_hooks
from engine.errors import InputError, JournalError, SpecError
from engine.journal.databases import default_store
from engine.journal.records import Kept
from engine.journal.store import Store
from engine.plan.fingerprint import of_nodes
from engine.plan.plan import Plan
from engine.record.history import node_names
from engine.record.questions import Answer, Question, answered, found, open_questions
from engine.sdk.registry import Registry
from engine.toml.source import Source, read

if TYPE_CHECKING:
    from engine.record.result import Result
    from engine.runtime.options import Options
    from engine.runtime.preparation import Prepared
    from engine.runtime.resumption import Wish

__all__ = ["Answer", "Question", "answer", "cancel", "cancel_node", "rerun", "resume", "runs"]


def runs(
    store: str | None = None, pipeline: str | None = None, since: float | None = None
) -> list[Kept]:
    """Return the runs of a store, latest first.

    `since` is in seconds since 1970.
    """
    with Store(store or default_store()) as opened:
        return opened.runs(pipeline, since)


def resume(
    run: str,
    *,
    store: str | None = None,
    start: str | None = None,
    marks: Mapping[str, str] | None = None,
    accept_change: bool = False,
    answers: Mapping[str, Answer] | None = None,
    registry: Registry | None = None,
    tasks: Iterable[object] = (),
    **options: Any,
) -> Result:
    """Resume a run whose process died, and run it to its end; blocks as `engine.run` does.

    `run` is the run's id or the first characters of it. With `start` that node and its descendants run again, also in a
    run that has ended. `marks` replaces the exits of the last attempts of nodes; `answers` are the answers of
    people, by the node or step that asks. With `accept_change` attempts stand although their nodes have changed since.
    Raises JournalError if there is no such run, it has ended, another process runs it, or its spec has changed;
    InputError for an answer to no open question.
    """
    from engine.runtime.resumption import Wish, prepare_again

    kept, chosen = _found(run, store, options)
    _check_answers(kept, store, answers or {})
    wish = Wish(start=start, marks=marks or {}, accept=accept_change, answers=answers or {})
    plan, wish = _compared(kept, wish, registry, tasks)
    return _blocking(lambda: prepare_again(plan, kept, with_hooks(chosen, plan), wish))


def answer(run: str, name: str, said: Answer, *, store: str | None = None) -> bool:
    """Send an answer to a node or step of a run; return False if no process runs it.

    In that case pass the answer to `resume`. Raises InputError if there is no such question or option.
    """
    with Store(store or default_store()) as opened:
        kept = opened.run(run)
        question = found(open_questions(opened.events(kept.header.id)), name)
        answered(question, said)
        if kept.holder is None:
            return False
        data = {"key": question.key, "option": said.option, "feedback": said.feedback}
        opened.ask(kept.header.id, "answer", data)
        return True


def cancel_node(run: str, node: str, reason: str, *, store: str | None = None) -> None:
    """Ask the process of a run to cancel one node: nodes that wait for it are skipped, the rest continues.

    Raises JournalError if no process runs it, InputError if there is no such node or it is in `[finally]`.
    """
    from engine.runtime.control import check_node

    with Store(store or default_store()) as opened:
        kept = opened.run(run)
        header = kept.header
        if kept.holder is None:
            raise JournalError(f"no process runs `{header.id}`: {kept.shown}")
        text = header.files.get(header.path, "")
        check_node(node, node_names(text, "nodes"), node_names(text, "finally"))
        opened.ask(header.id, "cancel_node", {"node": node, "reason": reason})


def cancel(run: str, reason: str, *, store: str | None = None, **options: Any) -> Result | None:
    """Cancel a run: ask its process and return None, or end it here if no process runs it.

    In the second case child processes that are still alive are ended too. Raises JournalError if the run has ended.
    """
    from engine.runtime.resumption import Wish, prepare_again

    kept, chosen = _found(run, store, options)
    if kept.status not in ("running", "waiting"):
        raise JournalError(f"run `{kept.header.id}` has ended: {kept.status}")
    with Store(store or default_store()) as opened:
        opened.ask(kept.header.id, "cancel", reason)
    if kept.holder is not None:
        return None
    header = kept.header
    as_it_was = Source(header.path, header.files[header.path])
    plan = _plan(as_it_was, None, (), header.files)
    return _blocking(
        lambda: prepare_again(plan, kept, with_hooks(chosen, plan), Wish(cancel=reason))
    )


def _check_answers(kept: Kept, store: str | None, answers: Mapping[str, Answer]) -> None:
    with Store(store or default_store()) as opened:
        asked = open_questions(opened.events(kept.header.id)) if answers else []
    problems: list[str] = []
    for name, said in answers.items():
        try:
            answered(found(asked, name), said)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(tuple(problems))


def rerun(
    run: str,
    *,
    store: str | None = None,
    start: str | None = None,
    only: str | None = None,
    registry: Registry | None = None,
    tasks: Iterable[object] = (),
    **options: Any,
) -> Result:
    """Start a new run with the inputs of an earlier one; blocks.

    The new run carries over each success whose meaning has not changed. With `start` that node and its descendants run again,
    with `only` that node alone. Raises as `resume` does.
    """
    from engine.runtime.resumption import Wish, prepare_rerun

    kept, chosen = _found(run, store, options)
    plan, wish = _compared(kept, Wish(start=start, only=only), registry, tasks)
    return _blocking(lambda: prepare_rerun(plan, kept, with_hooks(chosen, plan), wish))


def _blocking(make: Callable[[], Prepared]) -> Result:
    from engine.runtime.blocking import blocking

    return blocking(make)


def _found(run: str, store: str | None, options: Mapping[str, Any]) -> tuple[Kept, Options]:
    from engine.runtime.options import options_of

    chosen = options_of({**options, "store": store or default_store()})
    with Store(store or default_store()) as opened:
        return opened.run(run), chosen


def _compared(
    kept: Kept, wish: Wish, registry: Registry | None, tasks: Iterable[object]
) -> tuple[Plan, Wish]:
    """Compile the current spec of a run, and find the nodes that have changed since the run."""
    header = kept.header
    path = Path(header.path)
    as_it_was = Source(header.path, header.files[header.path])
    plan = _plan(path if path.exists() else as_it_was, registry, tasks, None)
    if plan.hash == header.hash:
        return plan, wish
    then = _plan(as_it_was, registry, tasks, header.files)
    before, now = (of_nodes(each.spec, each.nodes) for each in (then, plan))
    changed = frozenset(name for name in {**before, **now} if before.get(name) != now.get(name))
    return plan, attrs.evolve(wish, another=True, changed=changed)


def _plan(
    spec: Path | Source,
    registry: Registry | None,
    tasks: Iterable[object],
    files: Mapping[str, str] | None,
) -> Plan:
    """Compile a spec; with `files`, included files are read from there instead of from disk."""
    reader = read if files is None else lambda path: _in(files, path)
    plan, found = analyse(spec, registry, tasks=tasks, reader=reader)
    if plan is None:
        raise SpecError(found)
    return plan


def _in(files: Mapping[str, str], path: Path) -> Source:
    name = str(path.resolve())
    if name not in files:
        raise FileNotFoundError(2, "No such file or directory", name)
    return Source(str(path), files[name])
