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
from engine.language.structuring_errors import DERIVED_FIELDS, FIELD_NAMES
from engine.language.value_hooks import LANGUAGE_VERSION

__all__ = ["dump"]


def dump(spec: Spec | Mapping[str, Any]) -> str:
    """Return the TOML text of a spec, or of the tables of one, as importers and scaffolds make them.

    The tables stand in their order, after `engine = 1` where they do not say it: `dump({"nodes": {"a": {"task": "pass"}}})`
    is `engine = 1`, then `[nodes.a]` with `task = "pass"`. The text of a Spec loads to an equal Spec; it has the
    pipelines inside the spec and not those in other files, and of broken nodes the parts that were understood. Tables
    are not checked: a value that TOML cannot hold, such as None, raises TypeError.
    """
    import tomli_w

    data = _CONVERTER.unstructure(spec) if isinstance(spec, Spec) else spec
    return tomli_w.dumps({"engine": LANGUAGE_VERSION, **data})


# -- values with a short and a long form ---------------------------------------------------------


def _unstructure_route(route: RouteSpec) -> str | dict[str, Any]:
    return route.to if route == RouteSpec(route.to) else _UNSTRUCTURE_ROUTE(route)


def _unstructure_retry(clauses: tuple[RetrySpec, ...]) -> Any:
    tables = [_CONVERTER.unstructure(clause) for clause in clauses]
    return tables[0] if len(tables) == 1 else tables


def _unstructure_needs(needs: Mapping[str, NeedSpec]) -> Any:
    if all(need == "success" for need in needs.values()):
        return list(needs)
    return {name: need if isinstance(need, str) else list(need) for name, need in needs.items()}


def _unstructure_node(node: NodeSpec) -> dict[str, Any]:
    table = _UNSTRUCTURE_NODE(node)
    if node.single:
        del table["start"]
        (step,) = table.pop("steps").values()
        table |= step
    return table


def _escape_description(text: str) -> str:
    return text.replace("${", "$${")


# -- the converter -------------------------------------------------------------------------------

_CONVERTER = Converter()


def _register_unstructure(
    kind: type, **hooks: Callable[[Any], Any]
) -> Callable[[Any], dict[str, Any]]:
    """Register and return the function that turns one class into a table.

    `hooks` serve fields with a form of their own.
    """
    fields: dict[str, Any] = {
        field.name: override(
            omit=(field.name in DERIVED_FIELDS.get(kind, ())) or None,
            rename=FIELD_NAMES.get(field.name),
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
_UNSTRUCTURE_ROUTE = _register_unstructure(RouteSpec)
_CONVERTER.register_unstructure_hook(RouteSpec, _unstructure_route)
_register_unstructure(RetrySpec, on=list)
_register_unstructure(StepSpec, retry=_unstructure_retry, description=_escape_description)
_UNSTRUCTURE_NODE = _register_unstructure(
    NodeSpec, needs=_unstructure_needs, description=_escape_description
)
_CONVERTER.register_unstructure_hook(NodeSpec, _unstructure_node)
_register_unstructure(LimitsSpec)
_register_unstructure(PipelineSpec, tasks=list, description=_escape_description)
_register_unstructure(Spec)
