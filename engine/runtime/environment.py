"""The environment variables and the secrets of a run: collect them, and check that they are set.

Each is a value of the caller's mapping, else the variable of its name in the process's environment.

Source: docs/language.md, "Expressions", "Details".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from engine.errors import MissingValue
from engine.expressions.model import Template
from engine.plan.plan import Plan
from engine.runtime.redaction import MIN_SECRET_LENGTH
from engine.toml.key_paths import KeyPath

__all__ = ["collect_variables", "find_first_use", "validate_lengths"]


def collect_variables(
    plan: Plan, root: str, mappings: Iterable[Mapping[str, str]], kind: str
) -> tuple[dict[str, str], list[str]]:
    """Return the values of `env` or `secrets` that a plan reads, and errors for missing names.

    A value comes from the first mapping that has its name; a name without a value is an error only if the plan requires
    it.
    """
    sources = list(mappings)
    found: dict[str, str] = {}
    problems: list[str] = []
    names: Mapping[str, bool] = getattr(plan, root)
    for name, needed in names.items():
        value = next((source[name] for source in sources if name in source), None)
        if value is not None:
            found[name] = value
        elif needed:
            where = find_first_use(plan, root, name)
            read = f", which {where} reads" if where else ""
            problems.append(MissingValue(f"{kind} `{name}` is not set{read}", kind, name))
    return found, problems


def validate_lengths(secrets: Mapping[str, str]) -> list[str]:
    """Return an error for each secret that is too short to be hidden; an empty one is allowed."""
    return [
        f"secret `{name}` is too short to be hidden: use at least {MIN_SECRET_LENGTH} characters"
        for name, value in secrets.items()
        if 0 < len(value) < MIN_SECRET_LENGTH
    ]


def find_first_use(plan: Plan, root: str, name: str) -> str | None:
    """Return `file:line` of the first template that reads `root.name`, sub-pipelines included, or None."""
    for part in plan.walk_plans():
        source = part.spec.source
        for path, template in _iter_templates(part):
            for read in template.reads:
                if read.path[:2] == (root, name):
                    span = source.span_within((*path, *read.key_path), read.start, read.end)
                    return f"{source.path}:{span.line}"
    return None


def _iter_templates(plan: Plan) -> Iterator[tuple[KeyPath, Template]]:
    """Yield each template of a plan with its key path."""
    for node in plan.nodes:
        for at, key, made in node.templates():
            step = None if at is None else node.name_of(at)
            yield (*plan.key_path_of(node, step), key), made
    if plan.outputs is not None:
        yield (*plan.spec.key_path, "outputs"), plan.outputs
