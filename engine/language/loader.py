"""Source -> Spec: loads TOML into frozen values and reports every mistake at once.

`structuring` checks single values, `stray_expressions` finds `${` where it is not allowed, and `consistency` checks what
spans several keys. After a mistake the wrong part is left out of the data, so that later phases can still report on the
rest of the file; where that removes a name, a placeholder keeps it known. A thing with an invalid name stays under that
name, so that everything below is checked (see `invalid_names`). Positions are computed only for what is reported. Reads no
other file than the sub-pipelines a spec names, through `reader`. Source: docs/language.md, "A document", "Nodes and
steps", "Sub-pipelines", "Diagnostics".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import attrs

from engine.diagnostics import Diagnostic, Diagnostics, Fix, Rule, codes
from engine.diagnostics.fixes import mend_key, mend_value
from engine.language.consistency import across
from engine.language.nesting import DEEPEST, is_file, too_deep
from engine.language.omissions import shifted
from engine.language.spec import Limit, NodeSpec, Spec, StepSpec
from engine.language.stray_expressions import strays, with_strays
from engine.language.structuring import Misnamed, structure
from engine.language.structuring_errors import Mistake, Wrong, mistakes, whose
from engine.language.value_hooks import LANGUAGE
from engine.toml.key_paths import KeyPath
from engine.toml.source import Source, Span, Syntax, parse, read

__all__ = ["load"]

Reader = Callable[[Path], Source]


def load(source: Source, reader: Reader = read) -> tuple[Spec | None, Diagnostics]:
    """Load a spec with its sub-pipelines in other files; the Spec is None if the text is not TOML."""
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
        all_of_it = (error, *error.more)
        return None, [Diagnostic(codes.SYNTAX, e.message, source, e.span) for e in all_of_it]
    spec, found = _document(source, data)
    return _with_files(spec, reader, known, chain, found), found


# -- one document ------------------------------------------------------------------------------


def _document(source: Source, data: dict[str, Any]) -> tuple[Spec, list[Diagnostic]]:
    found = [*_version(source, data), *_nodeless(source, data)]
    spec, wrong = _structured({k: value for k, value in data.items() if k != "engine"})
    found += [_told(source, mistake) for mistake in wrong]
    spec = _placed(spec, source, (), PurePath(source.path).stem)
    found += [d for document in _documents(spec) for d in across(document)]
    return spec, found


def _version(source: Source, data: Mapping[str, Any]) -> Iterator[Diagnostic]:
    version = data.get("engine")
    if version is None:
        message = "`engine`, the version of the language, is missing"
        cure = f"begin with `engine = {LANGUAGE}`"
        yield Diagnostic(codes.MISSING_KEY, message, source, source.key(()), cure)
    elif version != LANGUAGE or type(version) is not int:
        message = (
            f"`engine` must be {LANGUAGE}, the version of the language that this engine supports"
        )
        yield Diagnostic(codes.WRONG_TYPE, message, source, source.value(("engine",)))


def _nodeless(source: Source, data: Mapping[str, Any]) -> Iterator[Diagnostic]:
    inner = data.get("pipelines")
    named = inner.items() if isinstance(inner, dict) else ()
    for path, table in [((), data), *((("pipelines", name), table) for name, table in named)]:
        if isinstance(table, dict) and table.get("nodes", {}) == {}:
            message, cure = "a pipeline needs at least one node", "write `[nodes.NAME]`"
            yield Diagnostic(codes.MISSING_KEY, message, source, source.key(path), cure)


def _structured(data: dict[str, Any]) -> tuple[Spec, list[Mistake]]:
    """Build the Spec of the valid parts of the data, and list every mistake.

    The Spec records what was left out (`omitted_paths`) and what has an invalid name (`misnamed_paths`).
    """
    spec, wrong = _tried(data)
    wrong = found = with_strays(_without_echo(wrong), strays(data))
    meant = [(*m.path[:-1], m.meant) for m in found if m.rule is codes.UNKNOWN_KEY and m.meant]
    broken: set[KeyPath] = set(meant)
    misnamed: set[KeyPath] = set()
    while wrong:
        named = {m.path for m in wrong if m.rule is codes.BAD_NAME}
        gone = [m.path for m in wrong if m.rule is not codes.BAD_NAME]
        mended = _mended(data, gone, named)
        if mended == data and not named:
            return attrs.evolve(structure({}), broken=frozenset({*broken, ()})), found
        data = mended
        broken |= {shifted(broken, path) for path in gone}
        misnamed |= named
        spec, wrong = _tried(data)
    return attrs.evolve(spec, broken=frozenset(broken), misnamed=frozenset(misnamed)), found


def _tried(data: dict[str, Any]) -> tuple[Spec, list[Mistake]]:
    try:
        return structure(data), []
    except (ExceptionGroup, Wrong) as error:
        return Spec(), list(mistakes(error))


def _without_echo(found: list[Mistake]) -> list[Mistake]:
    """Drop errors that only follow from another: a missing key whose misspelt form is reported in the same table."""
    meant = {(*m.path[:-1], m.meant) for m in found if m.rule is codes.UNKNOWN_KEY}
    return [m for m in found if m.rule is not codes.MISSING_KEY or (*m.path, m.meant) not in meant]


def _mended(data: Any, gone: Iterable[KeyPath], named: Set[KeyPath]) -> dict[str, Any]:
    """Return a copy of the data without its wrong parts, with invalid names marked.

    The wrong part of a missing key is the table that lacks it.
    """
    tree: dict[str, Any] = _copy(data, (), named)
    for path in sorted(set(gone), key=_in_file_order, reverse=True):
        _drop(tree, path)
    return tree


def _in_file_order(path: KeyPath) -> list[str]:
    """Return a sort key that orders items of an array by number, so that the last can be dropped first."""
    return [f"{part:09}" if isinstance(part, int) else part for part in path]


def _copy(value: Any, at: KeyPath, named: Set[KeyPath]) -> Any:
    if isinstance(value, list):
        return [_copy(item, (*at, index), named) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    items = [(key, (*at, key), item) for key, item in value.items()]
    return {
        Misnamed(key) if place in named else key: _copy(item, place, named)
        for key, place, item in items
    }


def _drop(tree: Any, path: KeyPath) -> None:
    for part in path[:-1]:
        if not _holds(tree, part):
            return
        tree = tree[part]
    if path and _holds(tree, path[-1]):
        del tree[path[-1]]


def _holds(tree: Any, part: str | int) -> bool:
    if isinstance(tree, dict):
        return part in tree
    return isinstance(tree, list) and isinstance(part, int) and part < len(tree)


def _told(source: Source, mistake: Mistake) -> Diagnostic:
    path = mistake.path
    if mistake.within:
        span = source.within(path, *mistake.within)
    else:
        span = source.key(path) if mistake.key else source.value(path)
    node, step = whose(path)
    fix = _fix(source, mistake, span) if mistake.known else None
    return Diagnostic(
        mistake.rule, mistake.message, source, span, mistake.help, node, step, fix=fix
    )


def _fix(source: Source, mistake: Mistake, span: Span) -> Fix | None:
    if mistake.key:
        return mend_key(source, mistake.path, mistake.known)
    name = source.at(span)[1:-1]
    return mend_value(source, span, name, mistake.known)


def _placed(spec: Spec, source: Source, at: KeyPath, name: str) -> Spec:
    """Return the Spec with its location filled in, also in the pipelines inside it."""
    broken = spec.broken
    return attrs.evolve(
        spec,
        source=source,
        at=at,
        name=spec.pipeline.name or name,
        inputs={**{name: {} for name in _named(broken, "inputs")}, **spec.inputs},
        state={**{name: {"initial": None} for name in _named(broken, "state")}, **spec.state},
        pools={**dict.fromkeys(_named(broken, "pools"), Limit(1)), **spec.pools},
        nodes=_held(spec.nodes, _named(broken, "nodes")),
        finally_=_held(spec.finally_, _named(broken, "finally")),
        pipelines={
            key: _placed(_inside(child, spec, key), source, ("pipelines", key), key)
            for key, child in spec.pipelines.items()
        },
    )


def _held(nodes: Mapping[str, NodeSpec], broken: Iterable[str]) -> dict[str, NodeSpec]:
    """Return the nodes, with a placeholder for each that was left out."""
    held = {name: NodeSpec({name: StepSpec()}, name, single=True) for name in broken}
    return {**nodes, **{name: node for name, node in held.items() if name not in nodes}}


def _named(broken: Iterable[KeyPath], table: str) -> list[str]:
    """Return the names in a table of which parts were left out, sorted."""
    return sorted({str(gone[1]) for gone in broken if gone[:1] == (table,) and len(gone) > 1})


def _inside(child: Spec, spec: Spec, key: str) -> Spec:
    """Return a pipeline of the file with its own omitted and misnamed paths."""
    broken, misnamed = _below(spec.broken, key), _below(spec.misnamed, key)
    return attrs.evolve(child, broken=broken, misnamed=misnamed)


def _below(paths: Iterable[KeyPath], pipeline: str) -> frozenset[KeyPath]:
    return frozenset(path[2:] for path in paths if path[:2] == ("pipelines", pipeline))


def _documents(spec: Spec) -> Iterator[Spec]:
    for document in (spec, *spec.pipelines.values()):
        yield document
        if document.closing is not None:
            yield document.closing


# -- sub-pipelines in other files --------------------------------------------------------------


def _with_files(
    spec: Spec,
    reader: Reader,
    known: dict[Path, Spec],
    chain: tuple[Path, ...],
    found: list[Diagnostic],
) -> Spec:
    """Return the Spec with the files that it names loaded, each once; a recursive file is reported (E204)."""
    here = Path(spec.source.path).resolve()
    files: dict[str, Spec] = {}
    for path, name in _named_files(spec):
        tell = partial(_at_pipeline, spec.source, path)
        try:
            target = (here.parent / name).resolve()
            if target in (*chain, here):
                found.append(tell(codes.PIPELINE_RECURSION, _circle((*chain, here), target)))
            elif len(chain) + 2 > DEEPEST:
                found.append(tell(codes.WRONG_TYPE, *too_deep(name)))
            elif name not in files:
                written = _spelled(Path(spec.source.path).parent / name, target)
                child, other = _included(written, target, reader, known, (*chain, here))
                found += other
                files |= {name: child} if child else {}
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            found.append(tell(codes.UNKNOWN_NAME, f"`{name}` cannot be read: {why}"))
        except ValueError:  # what it says of a null character is another thing in each Python
            found.append(tell(codes.UNKNOWN_NAME, f"`{name}` cannot be read: it is not a path"))
    if not files:
        return spec
    inner = {key: attrs.evolve(child, files=files) for key, child in spec.pipelines.items()}
    return attrs.evolve(spec, files=files, pipelines=inner)


def _named_files(spec: Spec) -> Iterator[tuple[KeyPath, str]]:
    """Yield each step whose pipeline is another file: its key path and the file's name."""
    for document in _documents(spec):
        for name, node in document.nodes.items():
            yield from _named_in(spec, document, name, node)


def _named_in(
    spec: Spec, document: Spec, name: str, node: NodeSpec
) -> Iterator[tuple[KeyPath, str]]:
    for step_name, step in node.steps.items():
        called = step.pipeline
        if called is not None and is_file(called) and called not in spec.pipelines:
            place: KeyPath = (*document.at, document.table, name)
            yield place if node.single else (*place, "steps", step_name), called


def _at_pipeline(
    source: Source, step: KeyPath, rule: Rule, message: str, help: str | None = None
) -> Diagnostic:
    span = source.value((*step, "pipeline"))
    return Diagnostic(rule, message, source, span, help, *whose(step))


def _spelled(path: Path, target: Path) -> Path:
    """Return the path without detours, as long as it leads to the same file."""
    short = Path(os.path.normpath(path))
    return short if short.resolve() == target else path


def _included(
    path: Path, target: Path, reader: Reader, known: dict[Path, Spec], chain: tuple[Path, ...]
) -> tuple[Spec | None, list[Diagnostic]]:
    """Load another file and return its Spec and findings, which name the file as `path`."""
    if target in known:
        return known[target], []
    child, found = _load(reader(path), reader, known, chain)
    if child:
        known[target] = child
    return child, found


def _circle(chain: tuple[Path, ...], target: Path) -> str:
    around = [*chain[chain.index(target) :], target]
    return "pipelines include each other: " + " → ".join(path.name for path in around)
