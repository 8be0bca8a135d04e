"""What spans several keys of a spec: keys that exclude or need each other (E103, E105).

Source: LANGUAGE.md sections 2 to 5.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from engine import codes
from engine.diagnostics import Diagnostic, Rule
from engine.durations import LONGEST
from engine.source import KeyPath
from engine.spec import NodeSpec, RetrySpec, RouteSpec, Spec, StepSpec
from engine.structure import whose

__all__ = ["across"]


@attrs.frozen
class _Tell:
    """Makes findings about a document."""

    spec: Spec

    def __call__(
        self, rule: Rule, message: str, path: KeyPath, help: str | None = None, *, key: bool = True
    ) -> Diagnostic:
        source, place = self.spec.source, (*self.spec.at, *path)
        span = source.key(place) if key else source.value(place)
        return Diagnostic(rule, message, source, span, help, *whose(place))


def across(spec: Spec) -> Iterator[Diagnostic]:
    """What is wrong with a document though each of its values is right; nodes that already have a
    mistake are passed over."""
    tell = _Tell(spec)
    if spec.at and spec.pipelines:
        message = "a pipeline inside a file holds no further ones"
        yield tell(codes.WRONG_TYPE, message, ("pipelines",))
    for name, node in spec.nodes.items():
        if name not in spec.broken:
            yield from _node(tell, ("nodes", name), node)


def _node(tell: _Tell, path: KeyPath, node: NodeSpec) -> Iterator[Diagnostic]:
    for name, step in node.steps.items():
        place = path if node.single else (*path, "steps", name)
        yield from _step(tell, place, step)
        for key, route in step.routes.items():
            yield from _route(tell, (*place, "routes", key), route)
        for index, clause in enumerate(step.retry):
            yield from _retry(tell, (*place, "retry", index), clause)


def _step(tell: _Tell, path: KeyPath, step: StepSpec) -> Iterator[Diagnostic]:
    if step.task is None and step.pipeline is None:
        message, cure = f"`{path[-1]}` has no body", "give it a `task` or a `pipeline`"
        yield tell(codes.MISSING_KEY, message, path, cure)
    if step.task is not None and step.pipeline is not None:
        message = "`task` and `pipeline` exclude each other"
        yield tell(codes.WRONG_TYPE, message, (*path, "pipeline"))
    named: dict[int, str] = {}
    for name, code in step.exits.items():
        if code in named:
            message = f"`{name}` and `{named[code]}` name the same exit {code}"
            yield tell(codes.WRONG_TYPE, message, (*path, "exits", name))
        named.setdefault(code, name)


def _route(tell: _Tell, path: KeyPath, route: RouteSpec) -> Iterator[Diagnostic]:
    ends = route.to.partition(":")[0] in ("done", "fail")
    if route.max is None and route.then is not None:
        cure = "say with `max` how often `to` is taken"
        yield tell(codes.WRONG_TYPE, "`then` without `max`", (*path, "then"), cure)
    if ends and route.max is not None:
        yield tell(codes.WRONG_TYPE, "`max` on a route that ends the node", (*path, "max"))
    if ends and route.delay is not None:
        yield tell(codes.WRONG_TYPE, "`delay` on a route that ends the node", (*path, "delay"))


def _retry(tell: _Tell, path: KeyPath, clause: RetrySpec) -> Iterator[Diagnostic]:
    if clause.max_delay is None and _longest(clause) > LONGEST:
        message = "the last delay of this retry is longer than a year"
        place = path if tell.spec.source.has((*tell.spec.at, *path)) else path[:-1]
        yield tell(codes.WRONG_TYPE, message, place, "set `max_delay`", key=False)


def _longest(clause: RetrySpec) -> float:
    """Seconds before the last retry."""
    if clause.attempts < 2 or not clause.delay:
        return 0.0
    try:
        return clause.delay * clause.factor ** (clause.attempts - 2)
    except OverflowError:
        return float("inf")
