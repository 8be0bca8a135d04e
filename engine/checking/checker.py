"""Check a spec as a whole: load, compile, run the rules, suppress, select.

Source: docs/language.md, "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.base.gc_pause import gc_paused
from engine.checking.selection import Settings, select_diagnostics
from engine.checking.suppressions import apply_suppressions
from engine.compile.compiler import compile_partial
from engine.diagnostics import Diagnostics
from engine.language.loader import load_spec
from engine.plan.plan import Plan
from engine.rules import RULES
from engine.sdk.registry import Registry
from engine.toml.source import Source, read_source

__all__ = ["Reader", "check_plan", "examine"]

Reader = Callable[[Path], Source]
"""Gives the text of a file that a spec includes."""


def examine(
    source: Source, registry: Registry, settings: Settings, reader: Reader = read_source
) -> tuple[Plan | None, Diagnostics]:
    """Return the plan, as far as the spec can be compiled, and all diagnostics.

    The plan is None for a text that is not a spec.
    """
    with gc_paused():
        spec, of_loading = load_spec(source, reader)
        if spec is None:
            return None, of_loading
        plan, of_compiling = compile_partial(spec, registry)
        of_rules = check_plan(plan)
        reported = apply_suppressions(source, [*of_loading, *of_compiling, *of_rules])
        return plan, select_diagnostics(reported, settings)


def check_plan(plan: Plan) -> Diagnostics:
    """Return the diagnostics of all rules, for each pipeline once, in order."""
    return Diagnostics.collect(
        found for part in plan.walk_plans() for _, rule in RULES for found in rule(part)
    )
