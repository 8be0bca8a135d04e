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

from engine.api import add_project_hooks, analyse
from engine.errors import InputError, JournalError, SpecError
from engine.journal.databases import find_default_store
from engine.journal.records import StoredRun
from engine.journal.store import Store
from engine.plan.fingerprint import fingerprint_nodes
from engine.plan.plan import Plan
from engine.record.history import read_node_names
from engine.record.questions import (
    Answer,
    Question,
    find_open_questions,
    find_question,
    resolve_answer,
)
from engine.sdk.registry import Registry
from engine.toml.source import Source, read_source

if TYPE_CHECKING:
    from engine.record.result import Result
    from engine.runtime.options import Options
    from engine.runtime.preparation import PreparedRun
    from engine.runtime.resumption import ResumeRequest

__all__ = ["Answer", "Question", "answer", "cancel", "cancel_node", "rerun", "resume", "runs"]


def runs(
    store: str | None = None, pipeline: str | None = None, since: float | None = None
) -> list[StoredRun]:
    """Return the runs of a store, latest first.

    `since` is in seconds since 1970.
    """
    with Store(store or find_default_store()) as opened:
        return opened.list_runs(pipeline, since)


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
    from engine.runtime.resumption import ResumeRequest, prepare_resume

    kept, chosen = _load_stored_run(run, store, options)
    _require_valid_answers(kept, store, answers or {})
    wish = ResumeRequest(
        start=start, marks=marks or {}, accepts_changes=accept_change, given_answers=answers or {}
    )
    plan, wish = _compile_current(kept, wish, registry, tasks)
    return _run_blocking(lambda: prepare_resume(plan, kept, add_project_hooks(chosen, plan), wish))


def answer(run: str, name: str, said: Answer, *, store: str | None = None) -> bool:
    """Send an answer to a node or step of a run; return False if no process runs it.

    In that case pass the answer to `resume`. Raises InputError if there is no such question or option.
    """
    with Store(store or find_default_store()) as opened:
        kept = opened.find_run(run)
        question = find_question(find_open_questions(opened.read_events(kept.header.id)), name)
        resolve_answer(question, said)
        if kept.holder is None:
            return False
        data = {"key": question.key, "option": said.option, "feedback": said.feedback}
        opened.send_request(kept.header.id, "answer", data)
        return True


def cancel_node(run: str, node: str, reason: str, *, store: str | None = None) -> None:
    """Ask the process of a run to cancel one node: nodes that wait for it are skipped, the rest continues.

    Raises JournalError if no process runs it, InputError if there is no such node or it is in `[finally]`.
    """
    from engine.runtime.control import validate_cancellable

    with Store(store or find_default_store()) as opened:
        kept = opened.find_run(run)
        header = kept.header
        if kept.holder is None:
            raise JournalError(f"no process runs `{header.id}`: {kept.display_status}")
        text = header.files.get(header.path, "")
        validate_cancellable(node, read_node_names(text, "nodes"), read_node_names(text, "finally"))
        opened.send_request(header.id, "cancel_node", {"node": node, "reason": reason})


def cancel(run: str, reason: str, *, store: str | None = None, **options: Any) -> Result | None:
    """Cancel a run: ask its process and return None, or end it here if no process runs it.

    In the second case child processes that are still alive are ended too. Raises JournalError if the run has ended.
    """
    from engine.runtime.resumption import ResumeRequest, prepare_resume

    kept, chosen = _load_stored_run(run, store, options)
    if kept.status not in ("running", "waiting"):
        raise JournalError(f"run `{kept.header.id}` has ended: {kept.status}")
    with Store(store or find_default_store()) as opened:
        opened.send_request(kept.header.id, "cancel", reason)
    if kept.holder is not None:
        return None
    header = kept.header
    as_it_was = Source(header.path, header.files[header.path])
    plan = _load_plan(as_it_was, None, (), header.files)
    return _run_blocking(
        lambda: prepare_resume(
            plan, kept, add_project_hooks(chosen, plan), ResumeRequest(cancel_reason=reason)
        )
    )


def _require_valid_answers(
    kept: StoredRun, store: str | None, answers: Mapping[str, Answer]
) -> None:
    with Store(store or find_default_store()) as opened:
        asked = find_open_questions(opened.read_events(kept.header.id)) if answers else []
    problems: list[str] = []
    for name, said in answers.items():
        try:
            resolve_answer(find_question(asked, name), said)
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
    from engine.runtime.resumption import ResumeRequest, prepare_rerun

    kept, chosen = _load_stored_run(run, store, options)
    plan, wish = _compile_current(kept, ResumeRequest(start=start, only=only), registry, tasks)
    return _run_blocking(lambda: prepare_rerun(plan, kept, add_project_hooks(chosen, plan), wish))


def _run_blocking(make: Callable[[], PreparedRun]) -> Result:
    from engine.runtime.blocking import block_on_run

    return block_on_run(make)


def _load_stored_run(
    run: str, store: str | None, options: Mapping[str, Any]
) -> tuple[StoredRun, Options]:
    from engine.runtime.options import parse_options

    chosen = parse_options({**options, "store": store or find_default_store()})
    with Store(store or find_default_store()) as opened:
        return opened.find_run(run), chosen


def _compile_current(
    stored: StoredRun, request: ResumeRequest, registry: Registry | None, tasks: Iterable[object]
) -> tuple[Plan, ResumeRequest]:
    """Compile the current spec of a run, and find the nodes that have changed since the run."""
    header = stored.header
    path = Path(header.path)
    as_it_was = Source(header.path, header.files[header.path])
    plan = _load_plan(path if path.exists() else as_it_was, registry, tasks, None)
    if plan.hash == header.hash:
        return plan, request
    then = _load_plan(as_it_was, registry, tasks, header.files)
    before, now = (fingerprint_nodes(each.spec, each.nodes) for each in (then, plan))
    changed = frozenset(name for name in {**before, **now} if before.get(name) != now.get(name))
    return plan, attrs.evolve(request, has_changed_spec=True, changed_nodes=changed)


def _load_plan(
    spec: Path | Source,
    registry: Registry | None,
    tasks: Iterable[object],
    files: Mapping[str, str] | None,
) -> Plan:
    """Compile a spec; with `files`, included files are read from there instead of from disk."""
    reader = read_source if files is None else lambda path: _read_stored_file(files, path)
    plan, found = analyse(spec, registry, tasks=tasks, reader=reader)
    if plan is None:
        raise SpecError(found)
    return plan


def _read_stored_file(files: Mapping[str, str], path: Path) -> Source:
    name = str(path.resolve())
    if name not in files:
        raise FileNotFoundError(2, "No such file or directory", name)
    return Source(str(path), files[name])
