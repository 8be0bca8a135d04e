"""Check the literal values in a step's `with` and `set` against the schemas they must conform to.

`with` is checked against the task or the sub-pipeline, `set` against the state.
Reports E201, E502, E504.
Source: docs/language.md, "Expressions", "State", "Sub-pipelines".
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
    """Check that `set` names existing states, and that its literal values conform to their schemas."""
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
    """Check the literal values of `with` against the input schemas of a sub-pipeline."""
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
    """Check the keys of `with`, and every value in it that has no expression, against a schema."""
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
    """Describe a problem together with its input, so that the message stands alone."""
    path = problem.path[:-1] if problem.kind == "unknown" else problem.path
    head = f"input `{show(path)}`" if path else "inputs"
    return f"{head} of {whose}: {problem.message}"


def _dynamic(value: Any, path: KeyPath) -> bool:
    """Return whether the value at a path, or a value above it, depends on expressions."""
    for part in path:
        if isinstance(value, str):
            return True
        if isinstance(value, Mapping):
            value = value.get(str(part))
        else:
            value = value[int(part)]
    return isinstance(value, str) and not _literal(value)


def _meant(value: Any) -> Any:
    """Evaluate the literal strings of a value as the task receives them; strings with expressions stay as written."""
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
