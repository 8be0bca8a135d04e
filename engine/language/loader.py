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
from engine.diagnostics.fixes import fix_key, fix_value
from engine.language.consistency import check_consistency
from engine.language.nesting import MAX_NESTING, describe_excess_nesting, is_pipeline_file
from engine.language.omissions import restore_indexes
from engine.language.spec import Limit, NodeSpec, Spec, StepSpec
from engine.language.stray_expressions import find_misplaced, merge_misplaced
from engine.language.structuring import InvalidName, structure_spec
from engine.language.structuring_errors import (
    InvalidValue,
    StructuringError,
    flatten_errors,
    owner_of,
)
from engine.language.value_hooks import LANGUAGE_VERSION
from engine.toml.key_paths import KeyPath
from engine.toml.source import Source, Span, TomlSyntaxError, parse_toml, read_source

__all__ = ["load_spec"]

SourceProvider = Callable[[Path], Source]


def load_spec(
    source: Source, reader: SourceProvider = read_source
) -> tuple[Spec | None, Diagnostics]:
    """Load a spec with its sub-pipelines in other files; the Spec is None if the text is not TOML."""
    spec, found = _load_source(source, reader, {}, ())
    return spec, Diagnostics.collect(found)


def _load_source(
    source: Source, reader: SourceProvider, known: dict[Path, Spec], chain: tuple[Path, ...]
) -> tuple[Spec | None, list[Diagnostic]]:
    if source.undecodable:
        message = "the file is not UTF-8 text"
        help = "save the file as UTF-8"
        return None, [Diagnostic(codes.SYNTAX, message, source, source.undecodable, help=help)]
    try:
        data = parse_toml(source)
    except TomlSyntaxError as error:
        all_of_it = (error, *error.others)
        return None, [Diagnostic(codes.SYNTAX, e.message, source, e.span) for e in all_of_it]
    spec, found = _load_document(source, data)
    return _with_loaded_files(spec, reader, known, chain, found), found


# -- one document ------------------------------------------------------------------------------


def _load_document(source: Source, data: dict[str, Any]) -> tuple[Spec, list[Diagnostic]]:
    found = [*_check_version(source, data), *_check_nodes_present(source, data)]
    spec, wrong = _structure_valid_parts({k: value for k, value in data.items() if k != "engine"})
    found += [_build_diagnostic(source, mistake) for mistake in wrong]
    spec = _with_location(spec, source, (), PurePath(source.path).stem)
    found += [d for document in _iter_documents(spec) for d in check_consistency(document)]
    return spec, found


def _check_version(source: Source, data: Mapping[str, Any]) -> Iterator[Diagnostic]:
    version = data.get("engine")
    if version is None:
        message = "`engine`, the version of the language, is missing"
        advice = f"begin with `engine = {LANGUAGE_VERSION}`"
        yield Diagnostic(codes.MISSING_KEY, message, source, source.key_span(()), advice)
    elif version != LANGUAGE_VERSION or type(version) is not int:
        message = f"`engine` must be {LANGUAGE_VERSION}, the version of the language that this engine supports"
        yield Diagnostic(codes.WRONG_TYPE, message, source, source.value_span(("engine",)))


def _check_nodes_present(source: Source, data: Mapping[str, Any]) -> Iterator[Diagnostic]:
    inner = data.get("pipelines")
    named = inner.items() if isinstance(inner, dict) else ()
    for path, table in [((), data), *((("pipelines", name), table) for name, table in named)]:
        if isinstance(table, dict) and table.get("nodes", {}) == {}:
            message, advice = "a pipeline needs at least one node", "write `[nodes.NAME]`"
            yield Diagnostic(codes.MISSING_KEY, message, source, source.key_span(path), advice)


def _structure_valid_parts(data: dict[str, Any]) -> tuple[Spec, list[StructuringError]]:
    """Build the Spec of the valid parts of the data, and list every mistake.

    The Spec records what was left out (`omitted_paths`) and what has an invalid name (`misnamed_paths`).
    """
    spec, wrong = _try_structure(data)
    wrong = found = merge_misplaced(_without_follow_ups(wrong), find_misplaced(data))
    meant = [
        (*m.path[:-1], m.closest_key)
        for m in found
        if m.rule is codes.UNKNOWN_KEY and m.closest_key
    ]
    broken: set[KeyPath] = set(meant)
    misnamed: set[KeyPath] = set()
    while wrong:
        named = {m.path for m in wrong if m.rule is codes.BAD_NAME}
        gone = [m.path for m in wrong if m.rule is not codes.BAD_NAME]
        cleaned = _without_errors(data, gone, named)
        if cleaned == data and not named:
            return attrs.evolve(structure_spec({}), omitted_paths=frozenset({*broken, ()})), found
        data = cleaned
        broken |= {restore_indexes(broken, path) for path in gone}
        misnamed |= named
        spec, wrong = _try_structure(data)
    return attrs.evolve(
        spec, omitted_paths=frozenset(broken), misnamed_paths=frozenset(misnamed)
    ), found


def _try_structure(data: dict[str, Any]) -> tuple[Spec, list[StructuringError]]:
    try:
        return structure_spec(data), []
    except (ExceptionGroup, InvalidValue) as error:
        return Spec(), list(flatten_errors(error))


def _without_follow_ups(found: list[StructuringError]) -> list[StructuringError]:
    """Drop errors that only follow from another: a missing key whose misspelt form is reported in the same table."""
    meant = {(*m.path[:-1], m.closest_key) for m in found if m.rule is codes.UNKNOWN_KEY}
    return [
        m for m in found if m.rule is not codes.MISSING_KEY or (*m.path, m.closest_key) not in meant
    ]


def _without_errors(data: Any, gone: Iterable[KeyPath], named: Set[KeyPath]) -> dict[str, Any]:
    """Return a copy of the data without its wrong parts, with invalid names marked.

    The wrong part of a missing key is the table that lacks it.
    """
    tree: dict[str, Any] = _copy_marking_names(data, (), named)
    for path in sorted(set(gone), key=_build_sort_key, reverse=True):
        _drop(tree, path)
    return tree


def _build_sort_key(path: KeyPath) -> list[str]:
    """Return a sort key that orders items of an array by number, so that the last can be dropped first."""
    return [f"{part:09}" if isinstance(part, int) else part for part in path]


def _copy_marking_names(value: Any, at: KeyPath, named: Set[KeyPath]) -> Any:
    if isinstance(value, list):
        return [_copy_marking_names(item, (*at, index), named) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    items = [(key, (*at, key), item) for key, item in value.items()]
    return {
        InvalidName(key) if place in named else key: _copy_marking_names(item, place, named)
        for key, place, item in items
    }


def _drop(tree: Any, path: KeyPath) -> None:
    for part in path[:-1]:
        if not _has_part(tree, part):
            return
        tree = tree[part]
    if path and _has_part(tree, path[-1]):
        del tree[path[-1]]


def _has_part(tree: Any, part: str | int) -> bool:
    if isinstance(tree, dict):
        return part in tree
    return isinstance(tree, list) and isinstance(part, int) and part < len(tree)


def _build_diagnostic(source: Source, mistake: StructuringError) -> Diagnostic:
    path = mistake.path
    if mistake.offsets:
        span = source.span_within(path, *mistake.offsets)
    else:
        span = source.key_span(path) if mistake.is_key else source.value_span(path)
    node, step = owner_of(path)
    fix = _build_fix(source, mistake, span) if mistake.candidates else None
    return Diagnostic(
        mistake.rule, mistake.message, source, span, mistake.help, node, step, fix=fix
    )


def _build_fix(source: Source, mistake: StructuringError, span: Span) -> Fix | None:
    if mistake.is_key:
        return fix_key(source, mistake.path, mistake.candidates)
    name = source.text_of(span)[1:-1]
    return fix_value(source, span, name, mistake.candidates)


def _with_location(spec: Spec, source: Source, at: KeyPath, name: str) -> Spec:
    """Return the Spec with its location filled in, also in the pipelines inside it."""
    broken = spec.omitted_paths
    return attrs.evolve(
        spec,
        source=source,
        key_path=at,
        name=spec.pipeline.name or name,
        inputs={**{name: {} for name in _find_omitted_names(broken, "inputs")}, **spec.inputs},
        state={
            **{name: {"initial": None} for name in _find_omitted_names(broken, "state")},
            **spec.state,
        },
        pools={**dict.fromkeys(_find_omitted_names(broken, "pools"), Limit(1)), **spec.pools},
        nodes=_with_placeholders(spec.nodes, _find_omitted_names(broken, "nodes")),
        finally_=_with_placeholders(spec.finally_, _find_omitted_names(broken, "finally")),
        pipelines={
            key: _with_location(_with_omissions(child, spec, key), source, ("pipelines", key), key)
            for key, child in spec.pipelines.items()
        },
    )


def _with_placeholders(nodes: Mapping[str, NodeSpec], broken: Iterable[str]) -> dict[str, NodeSpec]:
    """Return the nodes, with a placeholder for each that was left out."""
    held = {name: NodeSpec({name: StepSpec()}, name, single=True) for name in broken}
    return {**nodes, **{name: node for name, node in held.items() if name not in nodes}}


def _find_omitted_names(broken: Iterable[KeyPath], table: str) -> list[str]:
    """Return the names in a table of which parts were left out, sorted."""
    return sorted({str(gone[1]) for gone in broken if gone[:1] == (table,) and len(gone) > 1})


def _with_omissions(child: Spec, spec: Spec, key: str) -> Spec:
    """Return a pipeline of the file with its own omitted and misnamed paths."""
    broken, misnamed = (
        _select_paths_inside(spec.omitted_paths, key),
        _select_paths_inside(spec.misnamed_paths, key),
    )
    return attrs.evolve(child, omitted_paths=broken, misnamed_paths=misnamed)


def _select_paths_inside(paths: Iterable[KeyPath], pipeline: str) -> frozenset[KeyPath]:
    return frozenset(path[2:] for path in paths if path[:2] == ("pipelines", pipeline))


def _iter_documents(spec: Spec) -> Iterator[Spec]:
    for document in (spec, *spec.pipelines.values()):
        yield document
        if document.finally_part is not None:
            yield document.finally_part


# -- sub-pipelines in other files --------------------------------------------------------------


def _with_loaded_files(
    spec: Spec,
    reader: SourceProvider,
    known: dict[Path, Spec],
    chain: tuple[Path, ...],
    found: list[Diagnostic],
) -> Spec:
    """Return the Spec with the files that it names loaded, each once; a recursive file is reported (E204)."""
    here = Path(spec.source.path).resolve()
    files: dict[str, Spec] = {}
    for path, name in _iter_file_references(spec):
        build_diagnostic = partial(_build_pipeline_diagnostic, spec.source, path)
        try:
            target = (here.parent / name).resolve()
            if target in (*chain, here):
                found.append(
                    build_diagnostic(
                        codes.PIPELINE_RECURSION, _describe_recursion((*chain, here), target)
                    )
                )
            elif len(chain) + 2 > MAX_NESTING:
                found.append(build_diagnostic(codes.WRONG_TYPE, *describe_excess_nesting(name)))
            elif name not in files:
                written = _shorten_path(Path(spec.source.path).parent / name, target)
                child, other = _load_file(written, target, reader, known, (*chain, here))
                found += other
                files |= {name: child} if child else {}
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            found.append(build_diagnostic(codes.UNKNOWN_NAME, f"`{name}` cannot be read: {why}"))
        except ValueError:  # what it says of a null character is another thing in each Python
            found.append(
                build_diagnostic(codes.UNKNOWN_NAME, f"`{name}` cannot be read: it is not a path")
            )
    if not files:
        return spec
    inner = {key: attrs.evolve(child, files=files) for key, child in spec.pipelines.items()}
    return attrs.evolve(spec, files=files, pipelines=inner)


def _iter_file_references(spec: Spec) -> Iterator[tuple[KeyPath, str]]:
    """Yield each step whose pipeline is another file: its key path and the file's name."""
    for document in _iter_documents(spec):
        for name, node in document.nodes.items():
            yield from _iter_node_file_references(spec, document, name, node)


def _iter_node_file_references(
    spec: Spec, document: Spec, name: str, node: NodeSpec
) -> Iterator[tuple[KeyPath, str]]:
    for step_name, step in node.steps.items():
        called = step.pipeline
        if called is not None and is_pipeline_file(called) and called not in spec.pipelines:
            place: KeyPath = (*document.key_path, document.table, name)
            yield place if node.single else (*place, "steps", step_name), called


def _build_pipeline_diagnostic(
    source: Source, step: KeyPath, rule: Rule, message: str, help: str | None = None
) -> Diagnostic:
    span = source.value_span((*step, "pipeline"))
    return Diagnostic(rule, message, source, span, help, *owner_of(step))


def _shorten_path(path: Path, target: Path) -> Path:
    """Return the path without detours, as long as it leads to the same file."""
    short = Path(os.path.normpath(path))
    return short if short.resolve() == target else path


def _load_file(
    path: Path,
    target: Path,
    reader: SourceProvider,
    known: dict[Path, Spec],
    chain: tuple[Path, ...],
) -> tuple[Spec | None, list[Diagnostic]]:
    """Load another file and return its Spec and findings, which name the file as `path`."""
    if target in known:
        return known[target], []
    child, found = _load_source(reader(path), reader, known, chain)
    if child:
        known[target] = child
    return child, found


def _describe_recursion(chain: tuple[Path, ...], target: Path) -> str:
    around = [*chain[chain.index(target) :], target]
    return "pipelines include each other: " + " → ".join(path.name for path in around)
