"""Source -> Spec: TOML into frozen values, every mistake at once.

`structure` says what each value must be; what spans several keys is looked at here. After a mistake the data is mended by leaving
the wrong part out, so that later phases can still report the rest of the file. Positions are looked up only for what is
reported. Reads no other file than the sub-pipelines a spec names, through `reader`. Source: LANGUAGE.md sections 1 to 5, 16.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

import attrs

from engine import codes
from engine.diagnostics import Diagnostic, Diagnostics, Rule
from engine.durations import LONGEST
from engine.source import KeyPath, Source, Syntax, parse, read
from engine.spec import NodeSpec, RetrySpec, RouteSpec, Spec, StepSpec
from engine.structure import Mistake, Wrong, mistakes, structure

__all__ = ["LANGUAGE", "is_file", "load"]

LANGUAGE = 1
"""The version of the language that this engine speaks."""

Reader = Callable[[Path], Source]


def is_file(pipeline: str) -> bool:
    """Whether a step's `pipeline` is a path rather than a name in the same file."""
    return "/" in pipeline or pipeline.endswith(".toml")


def load(source: Source, reader: Reader = read) -> tuple[Spec | None, Diagnostics]:
    """Everything a file says, sub-pipelines in other files included; None if not even a part of it can be understood."""
    spec, found = _load(source, reader, {}, ())
    return spec, Diagnostics.of(found)


def _load(
    source: Source, reader: Reader, known: dict[Path, Spec], chain: tuple[Path, ...]
) -> tuple[Spec | None, list[Diagnostic]]:
    if source.undecodable:
        message = "the file is not UTF-8 text"
        return None, [Diagnostic(codes.SYNTAX, message, source, source.undecodable)]
    try:
        data = parse(source)
    except Syntax as error:
        return None, [Diagnostic(codes.SYNTAX, error.message, source, error.span)]
    spec, found = _document(source, data)
    return _with_files(spec, reader, known, chain, found), found


# -- one document ----------------------------------------------------------------------------------------------


def _document(source: Source, data: dict[str, Any]) -> tuple[Spec, list[Diagnostic]]:
    found = list(_version(source, data))
    body = {key: value for key, value in data.items() if key != "engine"}
    spec, wrong = _structured(body)
    found += [_told(source, mistake) for mistake in wrong]
    name = PurePath(source.path).stem
    spec = _placed(spec, source, (), name, frozenset(_nodes_of(wrong)))
    found += [d for document in _documents(spec) for d in _across(document)]
    return spec, found


def _version(source: Source, data: Mapping[str, Any]) -> Iterator[Diagnostic]:
    version = data.get("engine")
    if version is None:
        message = "`engine`, the version of the language, is missing"
        yield Diagnostic(codes.MISSING_KEY, message, source, source.key(()), f"begin with `engine = {LANGUAGE}`")
    elif version != LANGUAGE or type(version) is not int:
        message = f"`engine` must be {LANGUAGE}, the version of the language that this engine speaks"
        yield Diagnostic(codes.WRONG_TYPE, message, source, source.value(("engine",)))


def _structured(data: dict[str, Any]) -> tuple[Spec, list[Mistake]]:
    """The Spec of what is right in the data, and all that is wrong."""
    try:
        return structure(data), []
    except (ExceptionGroup, Wrong) as error:
        found = _without_echo(list(mistakes(error)))
    wrong = found
    while wrong:
        mended = _mended(data, wrong)
        if mended == data:
            break
        data = mended
        try:
            return structure(data), found
        except (ExceptionGroup, Wrong) as error:
            wrong = list(mistakes(error))
    return structure({}), found


def _without_echo(found: list[Mistake]) -> list[Mistake]:
    """A missing key says nothing new where an unknown one in its table was meant to be it."""
    meant = {(*m.path[:-1], m.meant) for m in found if m.rule is codes.UNKNOWN_KEY}
    return [m for m in found if m.rule is not codes.MISSING_KEY or (*m.path, m.meant) not in meant]


def _mended(data: dict[str, Any], wrong: list[Mistake]) -> dict[str, Any]:
    """A copy without the wrong parts (of which a missing key's is the table that lacks it)."""
    tree = _copy(data)
    for path in sorted({m.path for m in wrong}, key=lambda path: [str(part) for part in path], reverse=True):
        _drop(tree, path)
    return tree


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list) else value


def _drop(tree: Any, path: KeyPath) -> None:
    for part in path[:-1]:
        if not (isinstance(tree, dict) and part in tree) and not (
            isinstance(tree, list) and isinstance(part, int) and part < len(tree)
        ):
            return
        tree = tree[part]
    if isinstance(tree, dict):
        tree.pop(path[-1], None)
    elif isinstance(tree, list) and isinstance(path[-1], int) and path[-1] < len(tree):
        del tree[path[-1]]


def _told(source: Source, mistake: Mistake) -> Diagnostic:
    span = source.key(mistake.path) if mistake.key else source.value(mistake.path)
    node, step = _whose(mistake.path)
    return Diagnostic(mistake.rule, mistake.message, source, span, mistake.help, node, step)


def _whose(path: KeyPath) -> tuple[str | None, str | None]:
    inner = path[2:] if path[:1] == ("pipelines",) else path
    if len(inner) < 2 or inner[0] != "nodes":
        return None, None
    return str(inner[1]), str(inner[3]) if len(inner) > 3 and inner[2] == "steps" else None


def _nodes_of(wrong: list[Mistake]) -> Iterator[str]:
    """Nodes about which later phases would only echo what is already said: `NAME`, or `PIPELINE/NAME`."""
    for mistake in wrong:
        node, _ = _whose(mistake.path)
        if node:
            yield f"{mistake.path[1]}/{node}" if mistake.path[0] == "pipelines" else node


def _placed(spec: Spec, source: Source, at: KeyPath, name: str, broken: frozenset[str]) -> Spec:
    """The Spec with its place filled in, and that of the pipelines inside it."""
    inner = {
        key: _placed(
            child, source, ("pipelines", key), key, frozenset(b[len(key) + 1 :] for b in broken if b.startswith(f"{key}/"))
        )
        for key, child in spec.pipelines.items()
    }
    return attrs.evolve(
        spec, source=source, at=at, name=spec.pipeline.name or name, pipelines=inner, broken=broken
    )


def _documents(spec: Spec) -> Iterator[Spec]:
    yield spec
    yield from spec.pipelines.values()


# -- what spans several keys -----------------------------------------------------------------------------------


def _across(spec: Spec) -> Iterator[Diagnostic]:
    """Keys that exclude or need each other."""

    def wrong(rule: Rule, message: str, path: KeyPath, help: str | None = None, key: bool = True) -> Diagnostic:
        place = (*spec.at, *path)
        span = spec.source.key(place) if key else spec.source.value(place)
        node, step = _whose(place)
        return Diagnostic(rule, message, spec.source, span, help, node, step)

    if spec.at and spec.pipelines:
        yield wrong(codes.WRONG_TYPE, "a pipeline inside a file holds no further ones", ("pipelines",))
    if not spec.nodes and not spec.broken:
        yield wrong(codes.MISSING_KEY, "a pipeline needs at least one node", (), "write `[nodes.NAME]` with a `task`")
    for name, node in spec.nodes.items():
        if name not in spec.broken:
            yield from _across_node(("nodes", name), node, wrong)


Tell = Callable[..., Diagnostic]


def _across_node(path: KeyPath, node: NodeSpec, wrong: Tell) -> Iterator[Diagnostic]:
    if not node.steps:
        yield wrong(codes.MISSING_KEY, "`steps` is empty", (*path, "steps"))
    for name, step in node.steps.items():
        place = path if node.single else (*path, "steps", name)
        yield from _across_step(place, step, wrong)
        for key, route in step.routes.items():
            yield from _across_route((*place, "routes", key), route, wrong)
        for index, clause in enumerate(step.retry):
            yield from _across_retry((*place, "retry"), index, clause, wrong)


def _across_step(path: KeyPath, step: StepSpec, wrong: Tell) -> Iterator[Diagnostic]:
    if step.task is None and step.pipeline is None:
        yield wrong(codes.MISSING_KEY, f"`{path[-1]}` has no body", path, "give it a `task` or a `pipeline`")
    if step.task is not None and step.pipeline is not None:
        yield wrong(codes.WRONG_TYPE, "`task` and `pipeline` exclude each other", (*path, "pipeline"))
    named: dict[int, str] = {}
    for name, code in step.exits.items():
        if code in named:
            message = f"`{name}` and `{named[code]}` name the same exit {code}"
            yield wrong(codes.WRONG_TYPE, message, (*path, "exits", name))
        named.setdefault(code, name)


def _across_route(path: KeyPath, route: RouteSpec, wrong: Tell) -> Iterator[Diagnostic]:
    ends = route.to.partition(":")[0] in ("done", "fail")
    if route.max is None and route.then is not None:
        yield wrong(codes.WRONG_TYPE, "`then` without `max`", (*path, "then"), "say with `max` how often `to` is taken")
    if ends and route.max is not None:
        yield wrong(codes.WRONG_TYPE, "`max` on a route that ends the node", (*path, "max"))
    if ends and route.delay is not None:
        yield wrong(codes.WRONG_TYPE, "`delay` on a route that ends the node", (*path, "delay"))


def _across_retry(path: KeyPath, index: int, clause: RetrySpec, wrong: Tell) -> Iterator[Diagnostic]:
    if clause.max_delay is not None or clause.attempts < 3:
        return
    try:
        longest = clause.delay * clause.factor ** (clause.attempts - 2)
    except OverflowError:
        longest = float("inf") if clause.delay else 0.0
    if longest > LONGEST:
        message = "the last delay of this retry is longer than a year"
        yield wrong(codes.WRONG_TYPE, message, path, "set `max_delay`", key=False)


# -- sub-pipelines in other files ------------------------------------------------------------------------------


def _with_files(
    spec: Spec, reader: Reader, known: dict[Path, Spec], chain: tuple[Path, ...], found: list[Diagnostic]
) -> Spec:
    """The Spec with the files it names loaded; a file is loaded once, an inclusion of itself is E204."""
    here = Path(spec.source.path).resolve()
    files: dict[str, Spec] = {}
    for document, path, name in _named_files(spec):
        span = spec.source.value((*path, "pipeline"))
        target = (here.parent / name).resolve()
        node, step = _whose(path)
        if target in (*chain, here):
            found.append(_recursion(document, (*chain, here), target, span, node, step))
        elif name not in files:
            child, other = _included(target, reader, known, (*chain, here))
            found += other if isinstance(other, list) else []
            if isinstance(other, str):
                message = f"`{name}` cannot be read: {other}"
                found.append(Diagnostic(codes.UNKNOWN_NAME, message, spec.source, span, None, node, step))
            if child:
                files[name] = child
    if not files:
        return spec
    inner = {key: attrs.evolve(child, files=files) for key, child in spec.pipelines.items()}
    return attrs.evolve(spec, files=files, pipelines=inner)


def _named_files(spec: Spec) -> Iterator[tuple[Spec, KeyPath, str]]:
    for document in _documents(spec):
        for name, node in document.nodes.items():
            for step_name, step in node.steps.items():
                if step.pipeline is not None and is_file(step.pipeline):
                    place: KeyPath = (*document.at, "nodes", name)
                    yield document, place if node.single else (*place, "steps", step_name), step.pipeline


def _included(
    target: Path, reader: Reader, known: dict[Path, Spec], chain: tuple[Path, ...]
) -> tuple[Spec | None, list[Diagnostic] | str]:
    """The Spec of another file with its findings, or why it cannot be read."""
    if target in known:
        return known[target], []
    try:
        source = reader(target)
    except OSError as error:
        return None, (error.strerror or str(error)).lower()
    child, found = _load(source, reader, known, chain)
    if child:
        known[target] = child
    return child, found


def _recursion(
    spec: Spec, chain: tuple[Path, ...], target: Path, span: Any, node: str | None, step: str | None
) -> Diagnostic:
    round_trip = [*chain[chain.index(target) :], target]
    message = "pipelines include each other: " + " → ".join(path.name for path in round_trip)
    return Diagnostic(codes.PIPELINE_RECURSION, message, spec.source, span, None, node, step)
