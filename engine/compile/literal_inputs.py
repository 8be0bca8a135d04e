"""Does what is literal in a step's `with` fit the task, or the sub-pipeline, that it is given to;
and what is literal in its `set` the state?

Source: LANGUAGE.md sections 9 and 11 (E201, E502, E504).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from engine.compile.reporter import Draft
from engine.diagnostics import Fix, codes
from engine.diagnostics.fixes import mend_key
from engine.expressions.templates import template
from engine.language.spec import StepSpec
from engine.plan.plan import Plan
from engine.schemas.validation import Problem, misfits
from engine.toml.key_paths import KeyPath, show
from engine.toml.source import Source, Span

__all__ = ["fits", "fits_child", "fits_state"]


def fits_state(draft: Draft, path: KeyPath, spec: StepSpec) -> None:
    """`set` names states that are there, and what is literal in it fits their schemas."""
    for name, value in spec.set.items():
        place = (*path, "set", name)
        if name not in draft.spec.state:
            message, known = f"there is no state `{name}`", list(draft.spec.state)
            relies = [("state", name)]
            draft.unknown(codes.UNKNOWN_NAME, message, place, name, known, key=True, relies=relies)
        else:
            for problem in misfits(draft.state[name], _meant(value), partial(_dynamic, value)):
                if problem.kind == "unknown" or not _dynamic(value, problem.path):
                    message = f"`{show(('state', name, *problem.path))}`: {problem.message}"
                    at = (*place, *problem.path)
                    draft.report(codes.TYPE_MISMATCH, message, at, relies=(at,))


def fits_child(draft: Draft, path: KeyPath, spec: StepSpec, plan: Plan) -> None:
    """The same for a sub-pipeline, whose inputs are schemas of their own."""
    schema = {
        "type": "object",
        "properties": dict(plan.inputs),
        "required": [name for name, s in plan.inputs.items() if "default" not in s],
        "additionalProperties": False,
    }
    fits(draft, path, spec, schema, f"pipeline `{plan.name}`")


def fits(
    draft: Draft, path: KeyPath, spec: StepSpec, schema: Mapping[str, Any], whose: str
) -> None:
    """What is literal in `with` is checked now: the keys, and every value without an expression."""
    for problem in misfits(schema, _meant(spec.with_), partial(_dynamic, spec.with_)):
        _misfit(draft, path, spec, problem, whose)


def _misfit(draft: Draft, path: KeyPath, spec: StepSpec, problem: Problem, whose: str) -> None:
    place = (*path, "with", *problem.path)
    missing = tuple((*place, name) for name in problem.name.split("` or `"))
    if problem.kind != "unknown" and _dynamic(spec.with_, problem.path):
        return
    told = _told(problem, whose)
    if problem.kind == "missing":
        at = place if problem.path else (*path, "with") if spec.with_ else path
        message = f"{whose} needs input `{problem.name}`" if not problem.path else told
        draft.report(codes.MISSING_INPUT, message, at, key=True, relies=missing)
    elif problem.kind == "unknown":
        message = f"{whose} has no input `{problem.name}`" if len(problem.path) == 1 else told

        def mend(source: Source, written: KeyPath, _: Span) -> Fix | None:
            return mend_key(source, written, problem.known)

        draft.report(codes.UNKNOWN_NAME, message, place, problem.help, key=True, mend=mend)
    else:
        draft.report(codes.TYPE_MISMATCH, told, place, relies=(place,))


def _told(problem: Problem, whose: str) -> str:
    """The problem with the input it is about, so that the message stands alone."""
    path = problem.path[:-1] if problem.kind == "unknown" else problem.path
    head = f"input `{show(path)}`" if path else "inputs"
    return f"{head} of {whose}: {problem.message}"


def _dynamic(value: Any, path: KeyPath) -> bool:
    """Whether the value at a path, or one above it, depends on expressions."""
    for part in path:
        if isinstance(value, str):
            return True
        if isinstance(value, Mapping):
            value = value.get(str(part))
        else:
            value = value[int(part)]
    return isinstance(value, str) and not _literal(value)


def _meant(value: Any) -> Any:
    """A value with its literal texts as the task will see them; those with expressions stay as written."""
    if isinstance(value, str):
        return template(value).evaluate({}) if "${" in value and _literal(value) else value
    if isinstance(value, Mapping):
        return {key: _meant(item) for key, item in value.items()}
    return [_meant(item) for item in value] if isinstance(value, list) else value


def _literal(value: Any) -> bool:
    if isinstance(value, str):
        return "${" not in value.replace("$${", "")
    if isinstance(value, dict):
        return all(map(_literal, value.values()))
    return all(map(_literal, value)) if isinstance(value, list) else True
