"""Draw a plan as Mermaid or DOT: nodes, their edges, and the machines of nodes with several steps.

A plan is turned into one drawing, which each format writes. Solid arrows are the way of success,
dashed ones are taken on another condition or exit, dotted ones show where a route leads when its
`max` is used up. Ids are numbers, so that no name can be a keyword.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import attrs

from engine.base.durations import format_duration
from engine.plan.machine import End, Machine, Route, Step, Target
from engine.plan.plan import Edge, Node, Plan, StepBody
from engine.render.text import clip_text, escape_unprintable

__all__ = ["render_dot", "render_mermaid"]

BoxShape = Literal["task", "pipeline", "start", "end"]
LineStyle = Literal["solid", "dashed", "dotted"]
_MAX_LABEL_WIDTH = 48
_DONE = End("succeeded")


# -- the drawing -----------------------------------------------------------------------------------


@attrs.frozen
class _Box:
    """A box, a start point or an end; `lines` are its text."""

    id: str
    lines: tuple[str, ...]
    shape: BoxShape = "task"


@attrs.frozen
class _Arrow:
    source: str
    target: str
    label: str = ""
    line: LineStyle = "solid"


@attrs.frozen
class _Cluster:
    """A frame around boxes: a node's machine, with its arrows inside, or a group, without arrows."""

    id: str
    lines: tuple[str, ...]
    contents: tuple[_Box | _Cluster, ...]
    arrows: tuple[_Arrow, ...] = ()


@attrs.frozen
class _Drawing:
    title: str
    contents: tuple[_Box | _Cluster, ...]
    arrows: tuple[_Arrow, ...]


def _build_drawing(plan: Plan) -> _Drawing:
    arrows = [_draw_edge(edge) for node in plan.nodes for edge in node.edges]
    arrows += [
        arrow for node in plan.nodes if not _needs_frame(node) for arrow in _draw_loops(node)
    ]
    inside = [*_iter_nodes_and_groups(plan), *_iter_finally_clusters(plan)]
    return _Drawing(plan.name, tuple(inside), tuple(arrows))


def _iter_finally_clusters(plan: Plan) -> Iterator[_Cluster]:
    """Yield the frame of the nodes in `[finally]`, if there are any."""
    if plan.finally_plan is not None:
        found = _build_drawing(plan.finally_plan)
        frame = _Cluster("finally", ("finally",), found.contents, found.arrows)
        yield attrs.evolve(_with_prefix(frame), id="finally")


def _with_prefix(cluster: _Cluster) -> _Cluster:
    """Return the cluster with a prefix before all ids."""
    return _Cluster(
        f"f{cluster.id}",
        cluster.lines,
        tuple(
            _with_prefix(part)
            if isinstance(part, _Cluster)
            else attrs.evolve(part, id=f"f{part.id}")
            for part in cluster.contents
        ),
        tuple(_Arrow(f"f{a.source}", f"f{a.target}", a.label, a.line) for a in cluster.arrows),
    )


def _iter_nodes_and_groups(plan: Plan) -> Iterator[_Box | _Cluster]:
    """Yield nodes in the order of the file, and each group at the position of its first node."""
    groups: dict[str, list[_Box | _Cluster]] = {}
    top: list[tuple[str, _Box | _Cluster | None]] = []
    for node in plan.nodes:
        drawn = _draw_node(plan, node)
        if not node.group:
            top.append(("", drawn))
        elif node.group in groups:
            groups[node.group].append(drawn)
        else:
            groups[node.group] = [drawn]
            top.append((node.group, None))
    for name, box in top:
        yield box or _Cluster(f"g{list(groups).index(name)}", (name,), tuple(groups[name]))


def _draw_node(plan: Plan, node: Node) -> _Box | _Cluster:
    notes = _describe_conditions(plan, node)
    steps = node.machine.steps
    if not _needs_frame(node):
        return _draw_step(f"n{node.index}", node, 0, notes)
    base = f"n{node.index}"
    start = _Box(f"{base}_start", (), "start")
    boxes = [_draw_step(f"{base}_{at}", node, at, ()) for at in range(len(steps))]
    ends = [
        _Box(_build_target_id(base, node.machine, end), (str(end),), "end")
        for end in _list_ends(node.machine)
    ]
    arrows = [_Arrow(start.id, f"{base}_{node.machine.start}"), *_draw_routes(base, node.machine)]
    return _Cluster(base, (node.name, *notes), (start, *boxes, *ends), tuple(arrows))


def _needs_frame(node: Node) -> bool:
    """Return whether a node is drawn with its machine.

    That is so for several steps, or if a route of the only step says more than which exits succeed.
    """
    steps = node.machine.steps
    return len(steps) > 1 or any(
        end.label is not None or (end.result == "succeeded") is not (key == "0")
        for key, end in _iter_ends(steps[0])
    )


def _iter_ends(step: Step) -> Iterator[tuple[str, End]]:
    """Yield the ends that routes of a step name, each with its exit, `0` for that of success."""
    for route in step.iter_routes():
        key = "0" if step.routes.get(0) is route else route.key
        if isinstance(route.to, End):
            yield key, route.to
        if route.max is not None and isinstance(route.then, End):
            yield key, route.then


def _describe_conditions(plan: Plan, node: Node) -> tuple[str, ...]:
    """Describe the conditions that decide whether and how often a node runs."""
    spec = plan.spec.nodes[node.name]
    found = [f"when {spec.when}"] if spec.when else []
    if isinstance(spec.for_each, str):
        found.append(f"for each of {spec.for_each}")
    elif spec.for_each is not None:
        found.append(f"for each of {len(spec.for_each)} items")
    if node.join == "any":
        found.append("any of its needs")
    return tuple(found)


def _draw_step(id: str, node: Node, index: int, notes: tuple[str, ...]) -> _Box:
    step, body = node.machine.steps[index], node.bodies[index]
    most = 1 + sum(clause.attempts - 1 for clause in step.retry)
    tries = (f"up to {most} attempts",) if most > 1 else ()
    return _Box(
        id,
        (node.name_of(index), _describe_body(body), *tries, *notes),
        "task" if body.plan is None else "pipeline",
    )


def _describe_body(body: StepBody) -> str:
    if body.plan is not None:
        return f"pipeline {body.plan.name}"
    return body.task.id if body.task else ""


def _draw_edge(edge: Edge) -> _Arrow:
    condition = edge.condition
    source, target = f"n{edge.source}", f"n{edge.target}"
    if condition.kind == "success":
        return _Arrow(source, target)
    return _Arrow(source, target, str(condition), "dashed")


def _draw_loops(node: Node) -> Iterator[_Arrow]:
    """Yield the routes of a node's only step to itself."""
    own, step = f"n{node.index}", node.machine.steps[0]
    for route in step.iter_routes():
        if route.to == 0:
            yield _Arrow(own, own, _format_route_label(route), _choose_line_style(step, route))


def _draw_routes(base: str, machine: Machine) -> Iterator[_Arrow]:
    """Yield every route of the spec, and the default end of each step without a route for exit 0."""
    for at, step in enumerate(machine.steps):
        source = f"{base}_{at}"
        if 0 not in step.routes:
            yield _Arrow(source, _build_target_id(base, machine, _DONE), step.describe_outcome(0))
        for route in step.iter_routes():
            yield _Arrow(
                source,
                _build_target_id(base, machine, route.to),
                _format_route_label(route),
                _choose_line_style(step, route),
            )
            if route.max is not None:
                yield _Arrow(
                    source,
                    _build_target_id(base, machine, route.then),
                    f"{_format_route_key(route)}, then",
                    "dotted",
                )


def _list_ends(machine: Machine) -> list[End]:
    """Return the ends that a machine's routes name, those that succeed last: arrows leave a machine from there."""
    found = {_DONE: None} if any(0 not in step.routes for step in machine.steps) else {}
    for step in machine.steps:
        for route in step.iter_routes():
            for target in (route.to, route.then if route.max is not None else None):
                if isinstance(target, End):
                    found[target] = None
    return sorted(found, key=lambda end: end.result == "succeeded")


def _build_target_id(base: str, machine: Machine, target: Target) -> str:
    return (
        f"{base}_end{_list_ends(machine).index(target)}"
        if isinstance(target, End)
        else f"{base}_{target}"
    )


def _format_route_key(route: Route) -> str:
    return "any other" if route.key == "*" else route.key


def _format_route_label(route: Route) -> str:
    parts = [_format_route_key(route)]
    parts += [f"max {route.max}"] if route.max is not None else []
    parts += [f"after {format_duration(route.delay)}"] if route.delay else []
    return ", ".join(parts)


def _choose_line_style(step: Step, route: Route) -> LineStyle:
    return "solid" if step.routes.get(0) is route else "dashed"


# -- Mermaid ---------------------------------------------------------------------------------------

_MERMAID_SHAPES: Mapping[BoxShape, tuple[str, str]] = {
    "task": ("[", "]"),
    "pipeline": ("[[", "]]"),
    "start": ("((", "))"),
    "end": ("([", "])"),
}
_MERMAID_LINES: Mapping[LineStyle, str] = {"solid": "-->", "dashed": "-.->", "dotted": "-.->"}
_MERMAID_SPECIAL = re.compile(
    r"[^\w .,:/$?!%=+-]|(?<!\w)_|_(?!\w)|^[-+]|(?<=^[0-9])\.|(?<=^[0-9]{2})\."
)
"""Characters that could end a label or be read as Markdown: emphasis, lists."""


def render_mermaid(plan: Plan) -> str:
    """Render a plan as a Mermaid flowchart; no newline at the end."""
    drawing = _build_drawing(plan)
    lines = ["flowchart TD", *_iter_mermaid_lines(drawing.contents, "  ")]
    lines += [_format_mermaid_arrow(arrow, "  ") for arrow in drawing.arrows]
    return "\n".join(lines)


def _iter_mermaid_lines(inside: Iterable[_Box | _Cluster], indent: str) -> Iterator[str]:
    for each in inside:
        if isinstance(each, _Box):
            opening, closing = _MERMAID_SHAPES[each.shape]
            yield f"{indent}{each.id}{opening}{_quote_mermaid(each.lines or (' ',))}{closing}"
        else:
            yield f"{indent}subgraph {each.id}[{_quote_mermaid(each.lines)}]"
            yield from _iter_mermaid_lines(each.contents, indent + "  ")
            yield from (_format_mermaid_arrow(arrow, indent + "  ") for arrow in each.arrows)
            yield f"{indent}end"


def _format_mermaid_arrow(arrow: _Arrow, indent: str) -> str:
    label = f"|{_quote_mermaid((arrow.label,))}|" if arrow.label else ""
    return f"{indent}{arrow.source} {_MERMAID_LINES[arrow.line]}{label} {arrow.target}"


def _quote_mermaid(lines: Iterable[str]) -> str:
    shown = (_MERMAID_SPECIAL.sub(_escape_mermaid, _escape_label(line)) for line in lines)
    return '"' + "<br/>".join(shown) + '"'


def _escape_mermaid(match: re.Match[str]) -> str:
    return f"#{ord(match[0])};"


# -- DOT -------------------------------------------------------------------------------------------

_DOT_SHAPES: Mapping[BoxShape, str] = {
    "task": "",
    "pipeline": ", peripheries=2",
    "start": ", shape=point, width=0.12",
    "end": ', style="rounded,filled", fillcolor="#eeeeee"',
}


def render_dot(plan: Plan) -> str:
    """Render a plan as a graph for Graphviz' `dot`; no newline at the end."""
    drawing = _build_drawing(plan)
    lines = [
        f"digraph {_quote_dot((drawing.title,))} {{",
        "  compound=true",
        '  node [shape=box, fontname="sans-serif"]',
        '  edge [fontname="sans-serif", fontsize=10]',
        '  fontname="sans-serif"',
        *_iter_dot_lines(drawing.contents, "  "),
    ]
    machines = {cluster.id: cluster for cluster in _iter_clusters(drawing.contents)}
    lines += [_format_dot_arrow(arrow, "  ", machines) for arrow in drawing.arrows]
    return "\n".join([*lines, "}"])


def _iter_clusters(inside: Iterable[_Box | _Cluster]) -> Iterator[_Cluster]:
    for each in inside:
        if isinstance(each, _Cluster):
            yield each
            yield from _iter_clusters(each.contents)


def _iter_dot_lines(inside: Iterable[_Box | _Cluster], indent: str) -> Iterator[str]:
    for each in inside:
        if isinstance(each, _Box):
            yield f"{indent}{each.id} [label={_quote_dot(each.lines)}{_DOT_SHAPES[each.shape]}]"
        else:
            yield f"{indent}subgraph cluster_{each.id} {{"
            yield f"{indent}  label={_quote_dot(each.lines)}"
            yield from _iter_dot_lines(each.contents, indent + "  ")
            yield from (_format_dot_arrow(arrow, indent + "  ", {}) for arrow in each.arrows)
            yield f"{indent}}}"


def _format_dot_arrow(arrow: _Arrow, indent: str, machines: Mapping[str, _Cluster]) -> str:
    """Format an arrow; one from or to a machine connects two of its boxes and is cut at its frame."""
    given = [f"label={_quote_dot((arrow.label,))}"] if arrow.label else []
    given += [f"style={arrow.line}"] if arrow.line != "solid" else []
    source, target = arrow.source, arrow.target
    if source in machines:
        given.append(f"ltail=cluster_{source}")
        source = machines[source].contents[-1].id
    if target in machines:
        given.append(f"lhead=cluster_{target}")
        target = machines[target].contents[0].id
    return f"{indent}{source} -> {target}" + (f" [{', '.join(given)}]" if given else "")


def _quote_dot(lines: Iterable[str]) -> str:
    shown = (_escape_label(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(shown) + '"'


def _escape_label(text: str) -> str:
    return clip_text(escape_unprintable(text), _MAX_LABEL_WIDTH)
