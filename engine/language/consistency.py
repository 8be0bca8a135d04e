"""Checks rules that span several keys of a spec: keys that exclude or need each other (E103, E105).

Every single value is already right, or has been left out. A key that the loader left out counts as written, so that
one mistake is reported once. Source: docs/language.md, "Nodes and steps", "Retry", "Routes", "Fan-out",
"Sub-pipelines".
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.base.classes import frozen
from engine.base.durations import MAX_DURATION
from engine.diagnostics import Diagnostic, Rule, codes
from engine.language.omissions import is_complete, path_in_file
from engine.language.spec import NodeSpec, RetrySpec, RouteSpec, Spec, StepSpec
from engine.language.structuring_errors import owner_of
from engine.toml.key_paths import KeyPath, format_path

__all__ = ["check_consistency"]


_BODIES = ("task", "pipeline")
_BODIES_OF_NODES = (*_BODIES, "steps", "start")
"""The keys that say what a step runs."""


@frozen
class _Reporter:
    """Builds diagnostics about one document."""

    spec: Spec

    def __call__(
        self, rule: Rule, message: str, path: KeyPath, help: str | None = None, *, key: bool = True
    ) -> Diagnostic:
        source, place = self.spec.source, path_in_file(self.spec, path)
        span = source.key_span(place) if key else source.value_span(place)
        if rule is codes.WRONG_TYPE:  # its message names a key, but not of which table
            message = f"`{format_path(place[:-1] if key else place)}`: {message}"
        return Diagnostic(rule, message, source, span, help, *owner_of(place))

    def is_missing(self, table: KeyPath, *keys: str) -> bool:
        """Return whether the table in the file has none of the keys, counting those that the loader left out."""
        return all(is_complete(self.spec, (*table, key)) for key in keys)


def check_consistency(spec: Spec) -> Iterator[Diagnostic]:
    """Yield the diagnostics of a document whose values are each valid but contradict one another."""
    reporter = _Reporter(spec)
    if spec.key_path and spec.pipelines:
        message = "a pipeline inside a file cannot contain pipelines"
        yield reporter(codes.WRONG_TYPE, message, ("pipelines",))
    for name in spec.finished_nodes & spec.nodes.keys():
        message = f"`[nodes]` already has a node `{name}`"
        yield reporter(codes.BAD_NAME, message, (spec.table, name), "give one of them another name")
    for name, node in spec.nodes.items():
        yield from _check_node(reporter, name, node)


def _check_node(reporter: _Reporter, called: str, node: NodeSpec) -> Iterator[Diagnostic]:
    path = (reporter.spec.table, called)
    for key in ("max_parallel", "tolerate") if node.for_each is None else ():
        if getattr(node, key) is not None and reporter.is_missing(path, "for_each"):
            advice = "add `for_each` with the list to run it for"
            yield reporter(codes.WRONG_TYPE, f"`{key}` requires `for_each`", (*path, key), advice)
    for name, step in node.steps.items():
        place: KeyPath = path if node.single else (*path, "steps", name)
        yield from _check_step(reporter, place, step)
        for key, route in step.routes.items():
            if _has_long_form(route):
                yield from _check_route(reporter, (*place, "routes", key), route)
        for index, clause in enumerate(step.retry):
            yield from _check_retry(reporter, (*place, "retry", index), clause)


def _check_step(reporter: _Reporter, path: KeyPath, step: StepSpec) -> Iterator[Diagnostic]:
    bodies = _BODIES_OF_NODES if len(path) == 2 else _BODIES
    if step.task is None and step.pipeline is None and reporter.is_missing(path, *bodies):
        message, advice = f"`{path[-1]}` has no body", "give it a `task` or a `pipeline`"
        yield reporter(codes.MISSING_KEY, message, path, advice)
    if step.task is not None and step.pipeline is not None:
        message = "`task` and `pipeline` exclude each other"
        yield reporter(codes.WRONG_TYPE, message, (*path, "pipeline"))
    named: dict[int, str] = {}
    for name, code in step.exits.items():
        if code in named:
            message = f"`{name}` and `{named[code]}` name the same exit {code}"
            yield reporter(codes.WRONG_TYPE, message, (*path, "exits", name))
        named.setdefault(code, name)


def _has_long_form(route: RouteSpec) -> bool:
    """Return whether a route has more keys than its target: most do not."""
    return not (route.max is None and route.then is None and route.delay is None)


def _check_route(reporter: _Reporter, path: KeyPath, route: RouteSpec) -> Iterator[Diagnostic]:
    ends = route.to.partition(":")[0] in ("done", "fail")
    if route.max is None and route.then is not None and reporter.is_missing(path, "max"):
        advice = "set `max`, how often `to` is taken"
        yield reporter(codes.WRONG_TYPE, "`then` requires `max`", (*path, "then"), advice)
    if ends and route.max is not None:
        yield reporter(
            codes.WRONG_TYPE, "`max` is not allowed on a route that ends the node", (*path, "max")
        )
    if ends and route.delay is not None:
        yield reporter(
            codes.WRONG_TYPE,
            "`delay` is not allowed on a route that ends the node",
            (*path, "delay"),
        )


def _check_retry(reporter: _Reporter, path: KeyPath, clause: RetrySpec) -> Iterator[Diagnostic]:
    endless = clause.max_delay is None and _compute_last_delay(clause) > MAX_DURATION
    if endless and reporter.is_missing(path, "max_delay"):
        message = "the last delay of this retry is longer than a year"
        yield reporter(codes.WRONG_TYPE, message, path, "set `max_delay`", key=False)


def _compute_last_delay(clause: RetrySpec) -> float:
    """Return the delay before the last retry, in seconds; infinity where it overflows."""
    if clause.attempts < 2 or not clause.delay:
        return 0.0
    try:
        return clause.delay * clause.factor ** (clause.attempts - 2)
    except OverflowError:
        return float("inf")
