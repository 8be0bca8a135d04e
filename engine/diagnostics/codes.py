"""Defines the rules of reading and compiling a spec; their codes and names are stable for ever.

The loader finds E1xx; the compiler finds E2xx and the E5xx that stand here; the suppressions find W702. Rules over a
whole plan stand in `engine.rules`. E502 is found by both (literals by the compiler, references by a rule) and its place
among the rules is there, so `CODES` leaves it out. Source: docs/language.md, "Diagnostics".
"""

from __future__ import annotations

from engine.diagnostics import Rule

__all__ = [
    "BAD_EXPRESSION",
    "BAD_NAME",
    "BROKEN_TASK",
    "CODES",
    "DEPENDENCY_CYCLE",
    "MISSING_INPUT",
    "MISSING_KEY",
    "NOT_SUPPORTED",
    "PIPELINE_RECURSION",
    "POOL_DEADLOCK",
    "SYNTAX",
    "TYPE_MISMATCH",
    "UNKNOWN_EXIT",
    "UNKNOWN_KEY",
    "UNKNOWN_NAME",
    "UNUSED_IGNORE",
    "WRONG_TYPE",
]

SYNTAX = Rule("E101", "syntax", "the file is not valid TOML 1.0, or not UTF-8")
UNKNOWN_KEY = Rule("E102", "unknown-key", "a key that the language does not have")
WRONG_TYPE = Rule(
    "E103",
    "wrong-type",
    "a value of the wrong type or out of range, or keys that exclude each other",
)
BAD_NAME = Rule("E104", "bad-name", "a name that is not an identifier, or is reserved")
MISSING_KEY = Rule("E105", "missing-key", "a required key is missing")
NOT_SUPPORTED = Rule(
    "E106", "not-supported", "a part of the language that this version does not run yet"
)
UNKNOWN_NAME = Rule("E201", "unknown-name", "a name that is not defined")
DEPENDENCY_CYCLE = Rule("E202", "dependency-cycle", "nodes that wait for each other")
UNKNOWN_EXIT = Rule("E203", "unknown-exit", "an exit or label that can never occur")
PIPELINE_RECURSION = Rule("E204", "pipeline-recursion", "a pipeline that contains itself")
POOL_DEADLOCK = Rule("E205", "pool-deadlock", "a sub-pipeline that can wait for ever for a pool")
BROKEN_TASK = Rule(
    "E206", "broken-task", "several tasks with the same id, or a task that cannot be loaded"
)
TYPE_MISMATCH = Rule("E502", "type-mismatch", "a value or reference that does not fit the schema")
MISSING_INPUT = Rule(
    "E504", "missing-input", "a required input of a task or sub-pipeline is not given"
)
BAD_EXPRESSION = Rule(
    "E505", "bad-expression", "an expression that is not valid, or not allowed at this place"
)
UNUSED_IGNORE = Rule(
    "W702",
    "unused-ignore",
    "an ignore comment that suppresses nothing, gives no reason or names no rule",
)

CODES = (
    SYNTAX,
    UNKNOWN_KEY,
    WRONG_TYPE,
    BAD_NAME,
    MISSING_KEY,
    NOT_SUPPORTED,
    UNKNOWN_NAME,
    DEPENDENCY_CYCLE,
    UNKNOWN_EXIT,
    PIPELINE_RECURSION,
    POOL_DEADLOCK,
    BROKEN_TASK,
    MISSING_INPUT,
    BAD_EXPRESSION,
    UNUSED_IGNORE,
)
"""The rules that this module alone lists, in the order of their codes."""
