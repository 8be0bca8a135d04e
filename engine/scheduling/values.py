"""Hold the values that the expressions of a run see, and validate inputs and state.

Source: docs/language.md, "A document", "Nodes and steps", "Expressions", "State".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from engine.base.classes import frozen
from engine.base.suggestions import closest_match
from engine.errors import MissingValue
from engine.plan.plan import Plan, StepBody
from engine.schemas.validation import validate_value
from engine.toml.key_paths import format_path

__all__ = ["LayeredScope", "RunValues", "resolve_inputs", "validate_inputs", "validate_state"]


class RunValues:
    """The values of one run: its inputs, the environment, its state, and the outputs of its nodes so far."""

    __slots__ = ("_known",)

    def __init__(
        self,
        inputs: Mapping[str, Any],
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        self._known: dict[str, Any] = {
            "inputs": dict(inputs),
            "env": env or {},
            "secrets": secrets or {},
            "state": {},
        }

    @property
    def state(self) -> Mapping[str, Any]:
        """Return the current state; a write makes a new mapping."""
        found: Mapping[str, Any] = self._known["state"]
        return found

    def set_state(self, values: Mapping[str, Any]) -> None:
        """Set new values of states, all at once."""
        self._known["state"] = {**self._known["state"], **values}

    def set_output(self, node: str, output: Any) -> None:
        """Record the output of a node."""
        self._known[node] = output

    def for_sub_pipeline(self, inputs: Mapping[str, Any]) -> RunValues:
        """Return the values that a sub-pipeline starts with: its inputs, and the same environment."""
        return RunValues(inputs, self._known["env"], self._known["secrets"])

    def build_scope(
        self,
        run: Mapping[str, Any],
        steps: Mapping[str, Any] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> LayeredScope:
        """Build the scope of an expression; `more` are the names that exist only at this place."""
        return LayeredScope(self._known, {"run": run, "steps": steps or {}, **(more or {})})


@frozen(eq=False)
class LayeredScope(Mapping[str, Any]):
    """The names of a run, hidden by the names of one attempt."""

    _known: Mapping[str, Any]
    _own: Mapping[str, Any]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a root name, or `default`."""
        if name in self._own:
            return self._own[name]
        return self._known.get(name, default)

    def __getitem__(self, name: str) -> Any:
        return self._own[name] if name in self._own else self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._known, **self._own})

    def __len__(self) -> int:
        return len({**self._known, **self._own})


def validate_inputs(body: StepBody, given: dict[str, Any]) -> str | None:
    """Validate the inputs of a task; return an error message or None."""
    if body.schema is None:
        return None
    problems = validate_value(body.schema, given)
    return "inputs: " + "; ".join(map(str, problems)) if problems else None


def validate_state(plan: Plan, values: Mapping[str, Any]) -> str | None:
    """Validate new values of a plan's states; return an error message or None."""
    problems = [
        f"`{format_path(('state', name, *problem.path))}`: {problem.message}"
        for name, value in values.items()
        for problem in validate_value(plan.state[name], value)
    ]
    return "; ".join(problems) or None


def resolve_inputs(plan: Plan, given: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Fill in the defaults of a pipeline's inputs, and return them with all errors."""
    problems: list[str] = []
    inputs: dict[str, Any] = {}
    for name, schema in plan.inputs.items():
        if name in given:
            problems += [
                f"input `{name}`: {_describe_location(problem)}"
                for problem in validate_value(schema, given[name])
            ]
            inputs[name] = given[name]
        elif "default" in schema:
            inputs[name] = schema["default"]
        else:
            problems.append(MissingValue(f"input `{name}` is missing", "input", name))
    for name in given:
        if name not in plan.inputs:
            guess = closest_match(name, plan.inputs)
            problems.append(
                f"there is no input `{name}`" + (f", did you mean `{guess}`?" if guess else "")
            )
    return inputs, tuple(problems)


def _describe_location(problem: Any) -> str:
    return str(problem) if problem.path else str(problem.message)
