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
from engine.plan.plan import Body, Edge, Node, Plan
from engine.render.text import clip, printable

__all__ = ["dot", "mermaid"]

Shape = Literal["task", "pipeline", "start", "end"]
Line = Literal["solid", "dashed", "dotted"]
_LONGEST = 48
_DONE = End("succeeded")


# -- what is drawn ---------------------------------------------------------------------------------


@attrs.frozen
class _Box:
    """A box, a start point or an end; `lines` are its text."""

    id: str
    lines: tuple[str, ...]
    shape: Shape = "task"


@attrs.frozen
class _Arrow:
    source: str
    target: str
    label: str = ""
    line: Line = "solid"


@attrs.frozen
class _Cluster:
    """A frame around boxes: a node's machine, with its arrows inside, or a group, without arrows."""

    id: str
    lines: tuple[str, ...]
    inside: tuple[_Box | _Cluster, ...]
    arrows: tuple[_Arrow, ...] = ()


@attrs.frozen
class _Drawing:
    title: str
    inside: tuple[_Box | _Cluster, ...]
    arrows: tuple[_Arrow, ...]


def _draw(plan: Plan) -> _Drawing:
    arrows = [_edge(edge) for node in plan.nodes for edge in node.edges]
    arrows += [arrow for node in plan.nodes if not _framed(node) for arrow in _loops(node)]
    inside = [*_grouped(plan), *_closing(plan)]
    return _Drawing(plan.name, tuple(inside), tuple(arrows))


def _closing(plan: Plan) -> Iterator[_Cluster]:
    """Yield the frame of the nodes in `[finally]`, if there are any."""
    if plan.closing is not None:
        found = _draw(plan.closing)
        frame = _Cluster("finally", ("finally",), found.inside, found.arrows)
        yield attrs.evolve(_apart(frame), id="finally")


def _apart(cluster: _Cluster) -> _Cluster:
    """Return the cluster with a prefix before all ids."""
    return _Cluster(
        f"f{cluster.id}",
        cluster.lines,
        tuple(
            _apart(part) if isinstance(part, _Cluster) else attrs.evolve(part, id=f"f{part.id}")
            for part in cluster.inside
        ),
        tuple(_Arrow(f"f{a.source}", f"f{a.target}", a.label, a.line) for a in cluster.arrows),
    )


def _grouped(plan: Plan) -> Iterator[_Box | _Cluster]:
    """Yield nodes in the order of the file, and each group at the position of its first node."""
    groups: dict[str, list[_Box | _Cluster]] = {}
    top: list[tuple[str, _Box | _Cluster | None]] = []
    for node in plan.nodes:
        drawn = _node(plan, node)
        if not node.group:
            top.append(("", drawn))
        elif node.group in groups:
            groups[node.group].append(drawn)
        else:
            groups[node.group] = [drawn]
            top.append((node.group, None))
    for name, box in top:
        yield box or _Cluster(f"g{list(groups).index(name)}", (name,), tuple(groups[name]))


def _node(plan: Plan, node: Node) -> _Box | _Cluster:
    notes = _notes(plan, node)
    steps = node.machine.steps
    if not _framed(node):
        return _step(f"n{node.index}", node, 0, notes)
    base = f"n{node.index}"
    start = _Box(f"{base}_start", (), "start")
    boxes = [_step(f"{base}_{at}", node, at, ()) for at in range(len(steps))]
    ends = [_Box(_id(base, node.machine, end), (str(end),), "end") for end in _ends(node.machine)]
    arrows = [_Arrow(start.id, f"{base}_{node.machine.start}"), *_routes(base, node.machine)]
    return _Cluster(base, (node.name, *notes), (start, *boxes, *ends), tuple(arrows))


def _framed(node: Node) -> bool:
    """Return whether a node is drawn with its machine.

    That is so for several steps, or if a route of the only step says more than which exits succeed.
    """
    steps = node.machine.steps
    return len(steps) > 1 or any(
        end.label is not None or (end.result == "succeeded") is not (key == "0")
        for key, end in _ended(steps[0])
    )


def _ended(step: Step) -> Iterator[tuple[str, End]]:
    """Yield the ends that routes of a step name, each with its exit, `0` for that of success."""
    for route in step.written():
        key = "0" if step.routes.get(0) is route else route.key
        if isinstance(route.to, End):
            yield key, route.to
        if route.max is not None and isinstance(route.then, End):
            yield key, route.then


def _notes(plan: Plan, node: Node) -> tuple[str, ...]:
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


def _step(id: str, node: Node, at: int, notes: tuple[str, ...]) -> _Box:
    step, body = node.machine.steps[at], node.bodies[at]
    most = 1 + sum(clause.attempts - 1 for clause in step.retry)
    tries = (f"up to {most} attempts",) if most > 1 else ()
    return _Box(
        id,
        (node.name_of(at), _runs(body), *tries, *notes),
        "task" if body.plan is None else "pipeline",
    )


def _runs(body: Body) -> str:
    if body.plan is not None:
        return f"pipeline {body.plan.name}"
    return body.task.id if body.task else ""


def _edge(edge: Edge) -> _Arrow:
    condition = edge.condition
    source, target = f"n{edge.source}", f"n{edge.target}"
    if condition.kind == "success":
        return _Arrow(source, target)
    return _Arrow(source, target, str(condition), "dashed")


def _loops(node: Node) -> Iterator[_Arrow]:
    """Yield the routes of a node's only step to itself."""
    own, step = f"n{node.index}", node.machine.steps[0]
    for route in step.written():
        if route.to == 0:
            yield _Arrow(own, own, _bounded(route), _line(step, route))


def _routes(base: str, machine: Machine) -> Iterator[_Arrow]:
    """Yield every route of the spec, and the default end of each step without a route for exit 0."""
    for at, step in enumerate(machine.steps):
        source = f"{base}_{at}"
        if 0 not in step.routes:
            yield _Arrow(source, _id(base, machine, _DONE), step.label(0))
        for route in step.written():
            yield _Arrow(source, _id(base, machine, route.to), _bounded(route), _line(step, route))
            if route.max is not None:
                yield _Arrow(
                    source, _id(base, machine, route.then), f"{_key(route)}, then", "dotted"
                )


def _ends(machine: Machine) -> list[End]:
    """Return the ends that a machine's routes name, those that succeed last: arrows leave a machine from there."""
    found = {_DONE: None} if any(0 not in step.routes for step in machine.steps) else {}
    for step in machine.steps:
        for route in step.written():
            for target in (route.to, route.then if route.max is not None else None):
                if isinstance(target, End):
                    found[target] = None
    return sorted(found, key=lambda end: end.result == "succeeded")


def _id(base: str, machine: Machine, target: Target) -> str:
    return (
        f"{base}_end{_ends(machine).index(target)}"
        if isinstance(target, End)
        else f"{base}_{target}"
    )


def _key(route: Route) -> str:
    return "any other" if route.key == "*" else route.key


def _bounded(route: Route) -> str:
    parts = [_key(route)]
    parts += [f"max {route.max}"] if route.max is not None else []
    parts += [f"after {format_duration(route.delay)}"] if route.delay else []
    return ", ".join(parts)


def _line(step: Step, route: Route) -> Line:
    return "solid" if step.routes.get(0) is route else "dashed"


# -- Mermaid ---------------------------------------------------------------------------------------

_MERMAID_SHAPES: Mapping[Shape, tuple[str, str]] = {
    "task": ("[", "]"),
    "pipeline": ("[[", "]]"),
    "start": ("((", "))"),
    "end": ("([", "])"),
}
_MERMAID_LINES: Mapping[Line, str] = {"solid": "-->", "dashed": "-.->", "dotted": "-.->"}
_MERMAID_SPECIAL = re.compile(
    r"[^\w .,:/$?!%=+-]|(?<!\w)_|_(?!\w)|^[-+]|(?<=^[0-9])\.|(?<=^[0-9]{2})\."
)
"""Characters that could end a label or be read as Markdown: emphasis, lists."""


def mermaid(plan: Plan) -> str:
    """Render a plan as a Mermaid flowchart; no newline at the end."""
    drawing = _draw(plan)
    lines = ["flowchart TD", *_mermaid_inside(drawing.inside, "  ")]
    lines += [_mermaid_arrow(arrow, "  ") for arrow in drawing.arrows]
    return "\n".join(lines)


def _mermaid_inside(inside: Iterable[_Box | _Cluster], indent: str) -> Iterator[str]:
    for each in inside:
        if isinstance(each, _Box):
            opening, closing = _MERMAID_SHAPES[each.shape]
            yield f"{indent}{each.id}{opening}{_mermaid_text(each.lines or (' ',))}{closing}"
        else:
            yield f"{indent}subgraph {each.id}[{_mermaid_text(each.lines)}]"
            yield from _mermaid_inside(each.inside, indent + "  ")
            yield from (_mermaid_arrow(arrow, indent + "  ") for arrow in each.arrows)
            yield f"{indent}end"


def _mermaid_arrow(arrow: _Arrow, indent: str) -> str:
    label = f"|{_mermaid_text((arrow.label,))}|" if arrow.label else ""
    return f"{indent}{arrow.source} {_MERMAID_LINES[arrow.line]}{label} {arrow.target}"


def _mermaid_text(lines: Iterable[str]) -> str:
    shown = (_MERMAID_SPECIAL.sub(_mermaid_code, _shown(line)) for line in lines)
    return '"' + "<br/>".join(shown) + '"'


def _mermaid_code(found: re.Match[str]) -> str:
    return f"#{ord(found[0])};"


# -- DOT -------------------------------------------------------------------------------------------

_DOT_SHAPES: Mapping[Shape, str] = {
    "task": "",
    "pipeline": ", peripheries=2",
    "start": ", shape=point, width=0.12",
    "end": ', style="rounded,filled", fillcolor="#eeeeee"',
}


def dot(plan: Plan) -> str:
    """Render a plan as a graph for Graphviz' `dot`; no newline at the end."""
    drawing = _draw(plan)
    lines = [
        f"digraph {_dot_text((drawing.title,))} {{",
        "  compound=true",
        '  node [shape=box, fontname="sans-serif"]',
        '  edge [fontname="sans-serif", fontsize=10]',
        '  fontname="sans-serif"',
        *_dot_inside(drawing.inside, "  "),
    ]
    machines = {cluster.id: cluster for cluster in _clusters(drawing.inside)}
    lines += [_dot_arrow(arrow, "  ", machines) for arrow in drawing.arrows]
    return "\n".join([*lines, "}"])


def _clusters(inside: Iterable[_Box | _Cluster]) -> Iterator[_Cluster]:
    for each in inside:
        if isinstance(each, _Cluster):
            yield each
            yield from _clusters(each.inside)


def _dot_inside(inside: Iterable[_Box | _Cluster], indent: str) -> Iterator[str]:
    for each in inside:
        if isinstance(each, _Box):
            yield f"{indent}{each.id} [label={_dot_text(each.lines)}{_DOT_SHAPES[each.shape]}]"
        else:
            yield f"{indent}subgraph cluster_{each.id} {{"
            yield f"{indent}  label={_dot_text(each.lines)}"
            yield from _dot_inside(each.inside, indent + "  ")
            yield from (_dot_arrow(arrow, indent + "  ", {}) for arrow in each.arrows)
            yield f"{indent}}}"


def _dot_arrow(arrow: _Arrow, indent: str, machines: Mapping[str, _Cluster]) -> str:
    """Format an arrow; one from or to a machine connects two of its boxes and is cut at its frame."""
    given = [f"label={_dot_text((arrow.label,))}"] if arrow.label else []
    given += [f"style={arrow.line}"] if arrow.line != "solid" else []
    source, target = arrow.source, arrow.target
    if source in machines:
        given.append(f"ltail=cluster_{source}")
        source = machines[source].inside[-1].id
    if target in machines:
        given.append(f"lhead=cluster_{target}")
        target = machines[target].inside[0].id
    return f"{indent}{source} -> {target}" + (f" [{', '.join(given)}]" if given else "")


def _dot_text(lines: Iterable[str]) -> str:
    shown = (_shown(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(shown) + '"'


def _shown(text: str) -> str:
    return clip(printable(text), _LONGEST)
