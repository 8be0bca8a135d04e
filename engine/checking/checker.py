"""Check a spec as a whole: load, compile, run the rules, suppress, select.

Source: docs/language.md, "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.base.gc_pause import without_collecting
from engine.checking.selection import Settings, chosen
from engine.checking.suppressions import silence
from engine.compile.compiler import outline
from engine.diagnostics import Diagnostics
from engine.language.loader import load
from engine.plan.plan import Plan
from engine.rules import RULES
from engine.sdk.registry import Registry
from engine.toml.source import Source, read

__all__ = ["Reader", "check", "examine"]

Reader = Callable[[Path], Source]
"""Gives the text of a file that a spec includes."""


def examine(
    source: Source, registry: Registry, settings: Settings, reader: Reader = read
) -> tuple[Plan | None, Diagnostics]:
    """Return the plan, as far as the spec can be compiled, and all diagnostics.

    The plan is None for a text that is not a spec.
    """
    with without_collecting():
        spec, of_loading = load(source, reader)
        if spec is None:
            return None, of_loading
        plan, of_compiling = outline(spec, registry)
        of_rules = check(plan)
        reported = silence(source, [*of_loading, *of_compiling, *of_rules])
        return plan, chosen(reported, settings)


def check(plan: Plan) -> Diagnostics:
    """Return the diagnostics of all rules, for each pipeline once, in order."""
    return Diagnostics.of(
        found for part in plan.within() for _, rule in RULES for found in rule(part)
    )
