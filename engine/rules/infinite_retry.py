"""E301: a machine that is not bounded.

Source: docs/language.md, "Routes".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from engine.base.durations import format_duration
from engine.diagnostics import Diagnostic, Edit, Fix, Note, Rule, Safety
from engine.language.omissions import whole
from engine.plan.machine import Hop
from engine.plan.plan import Node, Plan
from engine.rules.locations import route_path
from engine.toml.source import Source, Span

__all__ = ["RULE", "check"]

_BOUND = "max = 3"

RULE = Rule("E301", "infinite-retry", "steps that can repeat for ever")


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each unbounded route that closes a loop."""
    for index, loop in plan.loops:
        node = plan.nodes[index]
        # What was left out, or written without `max`, may be the bound: the loader has told.
        if _whole(plan, node, loop) and not any(_half(plan, node, hop) for hop in loop):
            yield _finding(plan, node, loop)


def _whole(plan: Plan, node: Node, loop: tuple[Hop, ...]) -> bool:
    """Return whether the start and the routes of the loop are complete in the Spec."""
    routes = [route_path(plan, node, hop.step, hop.route) for hop in loop]
    places = [(*plan.place(node), "start"), *routes]
    return all(whole(plan.spec, place[len(plan.spec.at) :]) for place in places)


def _finding(plan: Plan, node: Node, loop: tuple[Hop, ...]) -> Diagnostic:
    closing = loop[-1]
    hops = (closing, *loop[:-1])
    names = [node.name_of(hop.step) for hop in hops]
    cycle = " → ".join([*names, names[0]])
    by = ", then ".join(_exit(hop) for hop in hops)
    return Diagnostic(
        RULE,
        f"{cycle} can repeat for ever, by {by}",
        plan.spec.source,
        _span(plan, node, closing),
        _cure(plan, node, closing),
        node.name,
        names[0],
        tuple(Note("the loop continues here", _span(plan, node, hop)) for hop in loop[:-1]),
        _fix(plan, node, closing),
    )


def _half(plan: Plan, node: Node, hop: Hop) -> bool:
    step = node.name_of(hop.step)
    written = plan.spec.nodes[node.name].steps[step].routes[hop.route.key]
    return written.max is None and written.then is not None


def _exit(hop: Hop) -> str:
    return f"the `then` of `{hop.route.key}`" if hop.by_then else f"`{hop.route.key}`"


def _span(plan: Plan, node: Node, hop: Hop) -> Span:
    path = route_path(plan, node, hop.step, hop.route)
    return plan.spec.source.value((*path, "then") if hop.by_then else path)


def _fix(plan: Plan, node: Node, hop: Hop) -> Fix | None:
    """Return the fix that bounds the loop; None for a route of a class."""
    source, path = plan.spec.source, route_path(plan, node, hop.step, hop.route)
    if not source.has(path):
        return None  # a route of a class
    if hop.by_then:
        edit = Edit(source.value((*path, "then")), '"fail"')
        return Fix("set `then` to `fail`", (edit,), Safety.UNSAFE)
    span, to = source.value(path), (*path, "to")
    if not source.has(to):
        edit = Edit(span, f"{{ to = {source.at(span)}, {_BOUND} }}")
    else:
        edit = _beside(source, source.key(to), source.value(to))
    return Fix(f"set a bound: `{_BOUND}`", (edit,), Safety.UNSAFE)


_DOTTED = re.compile(r"""(?:(?:[\w-]+|"(?:[^"\\]|\\.)*"|'[^']*')\s*\.\s*)*$""", re.ASCII)


def _beside(source: Source, to: Span, value: Span) -> Edit:
    """Insert the bound after `to` and its value: in the same inline table, or in a line of its own."""
    line = source.line(to.line)
    before = line[: to.column - 1]
    dotted = _DOTTED.search(before)
    assert dotted is not None
    if before[: dotted.start()].strip():
        after = Span(value.end_line, value.end_column, value.end_line, value.end_column)
        return Edit(after, f", {dotted[0]}{_BOUND}")
    end = Span(to.line, len(line) + 1, to.line, len(line) + 1)
    return Edit(end, f"{source.newline}{before}{_BOUND}")


def _cure(plan: Plan, node: Node, hop: Hop) -> str:
    if not plan.spec.source.has(route_path(plan, node, hop.step, hop.route)):
        return "set a bound in the class: a retry, `(step, True)`, and `max_attempts`"
    if hop.by_then:
        return 'end the loop: `then = "fail"`'
    route = hop.route
    assert isinstance(route.to, int)
    key = route.key if re.fullmatch(r"[A-Za-z0-9_-]+", route.key) else json.dumps(route.key)
    delay = f', delay = "{format_duration(route.delay)}"' if route.delay else ""
    to = node.name_of(route.to)
    return f'set a bound: `{key} = {{ to = "{to}", {_BOUND}{delay} }}`'
