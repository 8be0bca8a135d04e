"""E301: a machine that is not bounded.

Source: docs/language.md, "Routes".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from engine.base.durations import format_duration
from engine.diagnostics import Diagnostic, Edit, Fix, RelatedSpan, Rule, Safety
from engine.language.omissions import is_complete
from engine.plan.machine import LoopEdge
from engine.plan.plan import Node, Plan
from engine.rules.locations import find_route_path
from engine.toml.source import Source, Span

__all__ = ["RULE", "check"]

_SUGGESTED_BOUND = "max = 3"

RULE = Rule("E301", "infinite-retry", "steps that can repeat for ever")


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each unbounded route that closes a loop."""
    for index, loop in plan.loops:
        node = plan.nodes[index]
        # What was left out, or written without `max`, may be the bound: the loader has reported it.
        if _is_complete(plan, node, loop) and not any(
            _has_then_without_max(plan, node, hop) for hop in loop
        ):
            yield _build_diagnostic(plan, node, loop)


def _is_complete(plan: Plan, node: Node, loop: tuple[LoopEdge, ...]) -> bool:
    """Return whether the start and the routes of the loop are complete in the Spec."""
    routes = [find_route_path(plan, node, hop.step, hop.route) for hop in loop]
    places = [(*plan.key_path_of(node), "start"), *routes]
    return all(is_complete(plan.spec, place[len(plan.spec.key_path) :]) for place in places)


def _build_diagnostic(plan: Plan, node: Node, loop: tuple[LoopEdge, ...]) -> Diagnostic:
    closing = loop[-1]
    hops = (closing, *loop[:-1])
    names = [node.name_of(hop.step) for hop in hops]
    cycle = " → ".join([*names, names[0]])
    by = ", then ".join(_describe_exit(hop) for hop in hops)
    return Diagnostic(
        RULE,
        f"{cycle} can repeat for ever, by {by}",
        plan.spec.source,
        _find_span(plan, node, closing),
        _build_help(plan, node, closing),
        node.name,
        names[0],
        tuple(
            RelatedSpan("the loop continues here", _find_span(plan, node, hop)) for hop in loop[:-1]
        ),
        _build_fix(plan, node, closing),
    )


def _has_then_without_max(plan: Plan, node: Node, hop: LoopEdge) -> bool:
    step = node.name_of(hop.step)
    written = plan.spec.nodes[node.name].steps[step].routes[hop.route.key]
    return written.max is None and written.then is not None


def _describe_exit(hop: LoopEdge) -> str:
    return f"the `then` of `{hop.route.key}`" if hop.is_by_then else f"`{hop.route.key}`"


def _find_span(plan: Plan, node: Node, hop: LoopEdge) -> Span:
    path = find_route_path(plan, node, hop.step, hop.route)
    return plan.spec.source.value_span((*path, "then") if hop.is_by_then else path)


def _build_fix(plan: Plan, node: Node, hop: LoopEdge) -> Fix | None:
    """Return the fix that bounds the loop; None for a route of a class."""
    source, path = plan.spec.source, find_route_path(plan, node, hop.step, hop.route)
    if not source.has_path(path):
        return None  # a route of a class
    if hop.is_by_then:
        edit = Edit(source.value_span((*path, "then")), '"fail"')
        return Fix("set `then` to `fail`", (edit,), Safety.UNSAFE)
    span, to = source.value_span(path), (*path, "to")
    if not source.has_path(to):
        edit = Edit(span, f"{{ to = {source.text_of(span)}, {_SUGGESTED_BOUND} }}")
    else:
        edit = _insert_bound(source, source.key_span(to), source.value_span(to))
    return Fix(f"set a bound: `{_SUGGESTED_BOUND}`", (edit,), Safety.UNSAFE)


_DOTTED_PREFIX = re.compile(r"""(?:(?:[\w-]+|"(?:[^"\\]|\\.)*"|'[^']*')\s*\.\s*)*$""", re.ASCII)


def _insert_bound(source: Source, to: Span, value: Span) -> Edit:
    """Insert the bound after `to` and its value: in the same inline table, or in a line of its own."""
    line = source.line_text(to.line)
    before = line[: to.column - 1]
    dotted = _DOTTED_PREFIX.search(before)
    assert dotted is not None
    if before[: dotted.start()].strip():
        after = Span(value.end_line, value.end_column, value.end_line, value.end_column)
        return Edit(after, f", {dotted[0]}{_SUGGESTED_BOUND}")
    end = Span(to.line, len(line) + 1, to.line, len(line) + 1)
    return Edit(end, f"{source.newline}{before}{_SUGGESTED_BOUND}")


def _build_help(plan: Plan, node: Node, hop: LoopEdge) -> str:
    if not plan.spec.source.has_path(find_route_path(plan, node, hop.step, hop.route)):
        return "set a bound in the class: a retry, `(step, True)`, and `max_attempts`"
    if hop.is_by_then:
        return 'end the loop: `then = "fail"`'
    route = hop.route
    assert isinstance(route.to, int)
    key = route.key if re.fullmatch(r"[A-Za-z0-9_-]+", route.key) else json.dumps(route.key)
    delay = f', delay = "{format_duration(route.delay)}"' if route.delay else ""
    to = node.name_of(route.to)
    return f'set a bound: `{key} = {{ to = "{to}", {_SUGGESTED_BOUND}{delay} }}`'
