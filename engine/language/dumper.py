"""Spec -> TOML text, the inverse of the loader: loading the text gives an equal Spec.

Defaults are left out, short forms are used where they exist, a node's only step is written in the node's own table, and
nodes keep their order. Comments and layout are not part of a Spec. Source: docs/language.md, "A document", "Nodes and
steps", "Retry", "Routes", "Edges and joins".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from cattrs import Converter
from cattrs.gen import make_dict_unstructure_fn, override

from engine.base.durations import format_duration
from engine.language.spec import (
    Delay,
    Duration,
    LimitsSpec,
    NeedSpec,
    NodeSpec,
    PipelineSpec,
    RetrySpec,
    RouteSpec,
    Spec,
    StepSpec,
)
from engine.language.structuring_errors import INTERNAL, RENAMED
from engine.language.value_hooks import LANGUAGE

__all__ = ["dump"]


def dump(spec: Spec | Mapping[str, Any]) -> str:
    """The TOML text of a spec, or of the tables of one, as importers and scaffolds make them.

    The tables stand in their order, after `engine = 1` where they do not say it: `dump({"nodes": {"a": {"task": "pass"}}})` is
    `engine = 1`, then `[nodes.a]` with `task = "pass"`. What the text of a Spec loads to is equal to it; it has the pipelines inside
    the spec and not those in other files, and of broken nodes what was understood. Tables are not checked: a
    value that TOML cannot hold, such as None, raises TypeError.
    """
    import tomli_w

    data = _CONVERTER.unstructure(spec) if isinstance(spec, Spec) else spec
    return tomli_w.dumps({"engine": LANGUAGE, **data})


# -- what has a short and a long form ------------------------------------------------------------


def _route(route: RouteSpec) -> str | dict[str, Any]:
    return route.to if route == RouteSpec(route.to) else _ROUTE(route)


def _retry(clauses: tuple[RetrySpec, ...]) -> Any:
    tables = [_CONVERTER.unstructure(clause) for clause in clauses]
    return tables[0] if len(tables) == 1 else tables


def _needs(needs: Mapping[str, NeedSpec]) -> Any:
    if all(need == "success" for need in needs.values()):
        return list(needs)
    return {name: need if isinstance(need, str) else list(need) for name, need in needs.items()}


def _node(node: NodeSpec) -> dict[str, Any]:
    table = _NODE(node)
    if node.single:
        del table["start"]
        (step,) = table.pop("steps").values()
        table |= step
    return table


def _description(text: str) -> str:
    return text.replace("${", "$${")


# -- the converter -------------------------------------------------------------------------------

_CONVERTER = Converter()


def _writer(kind: type, **hooks: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    """Register and return the function that turns one class into a table; `hooks` serve fields with a form of their own."""
    fields: dict[str, Any] = {
        field.name: override(
            omit=(field.name in INTERNAL.get(kind, ())) or None,
            rename=RENAMED.get(field.name),
            unstruct_hook=hooks.get(field.name),
        )
        for field in attrs.fields(kind)
    }
    made: Callable[[Any], dict[str, Any]]
    made = make_dict_unstructure_fn(
        kind,
        _CONVERTER,
        _cattrs_omit_if_default=True,
        **fields,
    )
    _CONVERTER.register_unstructure_hook(kind, made)
    return made


_CONVERTER.register_unstructure_hook(Duration, format_duration)
_CONVERTER.register_unstructure_hook(Delay, format_duration)
_ROUTE = _writer(RouteSpec)
_CONVERTER.register_unstructure_hook(RouteSpec, _route)
_writer(RetrySpec, on=list)
_writer(StepSpec, retry=_retry, description=_description)
_NODE = _writer(NodeSpec, needs=_needs, description=_description)
_CONVERTER.register_unstructure_hook(NodeSpec, _node)
_writer(LimitsSpec)
_writer(PipelineSpec, tasks=list, description=_description)
_writer(Spec)
