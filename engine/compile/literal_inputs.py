"""Check the literal values in a step's `with` and `set` against the schemas they must conform to.

`with` is checked against the task or the sub-pipeline, `set` against the state.
Reports E201, E502, E504.
Source: docs/language.md, "Expressions", "State", "Sub-pipelines".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from engine.compile.reporter import DocumentDraft
from engine.diagnostics import Fix, codes
from engine.diagnostics.fixes import fix_key
from engine.expressions.templates import parse_template
from engine.language.spec import StepSpec
from engine.plan.plan import Plan
from engine.schemas.validation import SchemaViolation, validate_value
from engine.toml.key_paths import KeyPath, format_path
from engine.toml.source import Source, Span

__all__ = ["check_literal_inputs", "check_literal_state", "check_sub_pipeline_inputs"]


def check_literal_state(draft: DocumentDraft, path: KeyPath, spec: StepSpec) -> None:
    """Check that `set` names existing states, and that its literal values conform to their schemas."""
    for name, value in spec.set.items():
        place = (*path, "set", name)
        if name not in draft.spec.state:
            message, known = f"there is no state `{name}`", list(draft.spec.state)
            relies = [("state", name)]
            draft.report_unknown(
                codes.UNKNOWN_NAME, message, place, name, known, at_key=True, depends_on=relies
            )
        else:
            for problem in validate_value(
                draft.state[name], _evaluate_literals(value), partial(_is_dynamic, value)
            ):
                if problem.kind == "unknown" or not _is_dynamic(value, problem.path):
                    message = f"`{format_path(('state', name, *problem.path))}`: {problem.message}"
                    at = (*place, *problem.path)
                    draft.report(codes.TYPE_MISMATCH, message, at, depends_on=(at,))


def check_sub_pipeline_inputs(
    draft: DocumentDraft, path: KeyPath, spec: StepSpec, plan: Plan
) -> None:
    """Check the literal values of `with` against the input schemas of a sub-pipeline."""
    schema = {
        "type": "object",
        "properties": dict(plan.inputs),
        "required": [name for name, s in plan.inputs.items() if "default" not in s],
        "additionalProperties": False,
    }
    check_literal_inputs(draft, path, spec, schema, f"pipeline `{plan.name}`")


def check_literal_inputs(
    draft: DocumentDraft, path: KeyPath, spec: StepSpec, schema: Mapping[str, Any], owner: str
) -> None:
    """Check the keys of `with`, and every value in it that has no expression, against a schema."""
    for problem in validate_value(
        schema, _evaluate_literals(spec.with_), partial(_is_dynamic, spec.with_)
    ):
        _report_problem(draft, path, spec, problem, owner)


def _report_problem(
    draft: DocumentDraft, path: KeyPath, spec: StepSpec, problem: SchemaViolation, owner: str
) -> None:
    place = (*path, "with", *problem.path)
    missing = tuple((*place, name) for name in problem.name.split("` or `"))
    if problem.kind != "unknown" and _is_dynamic(spec.with_, problem.path):
        return
    described = _describe_problem(problem, owner)
    if problem.kind == "missing":
        at = place if problem.path else (*path, "with") if spec.with_ else path
        message = f"{owner} needs input `{problem.name}`" if not problem.path else described
        draft.report(codes.MISSING_INPUT, message, at, at_key=True, depends_on=missing)
    elif problem.kind == "unknown":
        message = f"{owner} has no input `{problem.name}`" if len(problem.path) == 1 else described

        def build_fix(source: Source, written: KeyPath, _: Span) -> Fix | None:
            return fix_key(source, written, problem.known_keys)

        draft.report(
            codes.UNKNOWN_NAME, message, place, problem.help, at_key=True, make_fix=build_fix
        )
    else:
        draft.report(codes.TYPE_MISMATCH, described, place, depends_on=(place,))


def _describe_problem(problem: SchemaViolation, owner: str) -> str:
    """Describe a problem together with its input, so that the message stands alone."""
    path = problem.path[:-1] if problem.kind == "unknown" else problem.path
    head = f"input `{format_path(path)}`" if path else "inputs"
    return f"{head} of {owner}: {problem.message}"


def _is_dynamic(value: Any, path: KeyPath) -> bool:
    """Return whether the value at a path, or a value above it, depends on expressions."""
    for part in path:
        if isinstance(value, str):
            return True
        if isinstance(value, Mapping):
            value = value.get(str(part))
        else:
            value = value[int(part)]
    return isinstance(value, str) and not _is_literal(value)


def _evaluate_literals(value: Any) -> Any:
    """Evaluate the literal strings of a value as the task receives them; strings with expressions stay as written."""
    if isinstance(value, str):
        return parse_template(value).evaluate({}) if "${" in value and _is_literal(value) else value
    if isinstance(value, Mapping):
        return {key: _evaluate_literals(item) for key, item in value.items()}
    return [_evaluate_literals(item) for item in value] if isinstance(value, list) else value


def _is_literal(value: Any) -> bool:
    if isinstance(value, str):
        return "${" not in value.replace("$${", "")
    if isinstance(value, dict):
        return all(map(_is_literal, value.values()))
    return all(map(_is_literal, value)) if isinstance(value, list) else True
