"""`match`: matches a text against patterns; the first one that matches gives the exit.

The exits that the patterns name are those of the step, so the check knows them: a number is the code itself, names
get the lowest free codes, from 0, in the order in which they first occur.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

from engine.sdk.context import Context, Exit, Failure, Permanent
from engine.sdk.task import InvalidInput, Task
from engine.tasks.schema_helpers import object_schema

__all__ = ["TASK", "find_match_exits", "match_patterns"]

NO_MATCH_CODE = 255
_KINDS = ("equals", "contains", "starts", "ends", "regex")


async def match_patterns(inputs: dict[str, Any], context: Context) -> Exit:
    """Try the patterns in order, and end with the exit of the first that matches."""
    text = inputs["text"].strip() if inputs.get("strip", True) else inputs["text"]
    for at, pattern in enumerate(inputs["patterns"]):
        found = await _match_pattern(pattern, text, inputs.get("ignore_case", False))
        if found is not None:
            code = find_match_exits(inputs).get(pattern["exit"], pattern["exit"])
            return Exit(code, {"pattern": at, "matched": found[0], "groups": found[1]})
    return Exit(NO_MATCH_CODE, {"pattern": None, "matched": None, "groups": {}})


PatternMatch = tuple[str, dict[str, str | None]]


async def _match_pattern(
    pattern: Mapping[str, Any], text: str, ignore_case: bool
) -> PatternMatch | None:
    """Return the matched part of the text, and the named groups; None without a match."""
    [kind] = pattern.keys() & {*_KINDS}
    wanted = pattern[kind]
    if kind == "regex":
        return await _search_in_process(wanted, text, ignore_case)
    one, other = (text.casefold(), wanted.casefold()) if ignore_case else (text, wanted)
    holds = {
        "equals": one == other,
        "contains": other in one,
        "starts": one.startswith(other),
        "ends": one.endswith(other),
    }
    return (wanted, {}) if holds[kind] else None


_SEARCH_SCRIPT = """
import json, re, sys
pattern, text, flags = json.load(sys.stdin)
found = re.search(pattern, text, flags)
json.dump(found and [found[0], found.groupdict()], sys.stdout)
"""


async def _search_in_process(pattern: str, text: str, ignore_case: bool) -> PatternMatch | None:
    """Search in a child process, which can be killed: some expressions and texts take for ever."""
    import trio

    try:
        re.compile(pattern)
    except re.error as error:
        raise Permanent(f"`{pattern}` is not a valid regular expression: {error}") from None
    flags = int(re.MULTILINE | (re.IGNORECASE if ignore_case else 0))
    done = await trio.run_process(
        [sys.executable, "-I", "-S", "-c", _SEARCH_SCRIPT],
        stdin=json.dumps([pattern, text, flags]).encode(),
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    if done.returncode:
        raise Failure(f"`{pattern}` could not be searched for: {done.stderr.decode()[-200:]}")
    found = json.loads(done.stdout)
    return None if found is None else (found[0], found[1])


def find_match_exits(with_: Mapping[str, Any]) -> dict[str, int]:
    """Return the exits that literal patterns name, and `no_match`; none if they are not written out.

    Raises InvalidInput for expressions in the patterns' exits, and for an invalid regular expression.
    """
    patterns = with_.get("patterns")
    if not isinstance(patterns, list):
        if isinstance(patterns, str):
            raise InvalidInput(
                ("patterns",), "the patterns of `match` must be literal: they name its exits"
            )
        return {}
    named = [each.get("exit") for each in patterns if isinstance(each, dict)]
    for at, name in enumerate(named):
        if isinstance(name, str) and "${" in name:
            raise InvalidInput(("patterns", at, "exit"), "the exits of `match` must be literal")
    _validate_patterns(patterns)
    taken = {name for name in named if isinstance(name, int)}
    free = (code for code in range(NO_MATCH_CODE) if code not in taken)
    found = {name: next(free) for name in dict.fromkeys(named) if isinstance(name, str)}
    return {**found, **{str(code): code for code in sorted(taken)}, "no_match": NO_MATCH_CODE}


def _validate_patterns(patterns: list[Any]) -> None:
    """Raise InvalidInput for a literal regular expression that is invalid."""
    for at, pattern in enumerate(patterns):
        wanted = pattern.get("regex") if isinstance(pattern, dict) else None
        if isinstance(wanted, str) and "${" not in wanted:
            try:
                re.compile(wanted)
            except re.error as error:
                raise InvalidInput(
                    ("patterns", at, "regex"), f"this is not a valid regular expression: {error}"
                ) from None


_TEXT = {"type": "string", "minLength": 1}
TASK = Task(
    id="match",
    body=match_patterns,
    find_exits=find_match_exits,
    name="Match",
    description="Compare a text with several patterns. The first pattern that matches decides the exit.",
    input_schema=object_schema(
        {
            "text": {"type": "string", "description": "The text to compare."},
            "patterns": {
                "type": "array",
                "minItems": 1,
                "description": "The patterns, tried in order. If none of them matches, the exit is `no_match` (255).",
                "items": object_schema(
                    {
                        "equals": {**_TEXT, "description": "Matches if the text is equal to this."},
                        "contains": {**_TEXT, "description": "Matches if the text contains this."},
                        "starts": {**_TEXT, "description": "Matches if the text starts with this."},
                        "ends": {**_TEXT, "description": "Matches if the text ends with this."},
                        "regex": {
                            **_TEXT,
                            "description": "Matches if this Python regular expression is found; `^` and `$` match at each line.",
                        },
                        "exit": {
                            "type": ["string", "integer"],
                            "minimum": 0,
                            "maximum": 254,
                            "description": "The exit, as a name or a code. Names get the lowest free codes, beginning with 0.",
                        },
                    },
                    ["exit"],
                    oneOf=[{"required": [kind]} for kind in _KINDS],
                ),
            },
            "ignore_case": {"type": "boolean", "default": False, "description": "Whether to ignore upper and lower case."},
            "strip": {"type": "boolean", "default": True, "description": "Whether to remove white space around the text first."},
        },
        ["text", "patterns"],
    ),
    output_schema=object_schema(
        {
            "pattern": {"type": ["integer", "null"], "description": "The index of the pattern that matched, from 0; null if none did."},
            "matched": {"type": ["string", "null"], "description": "The part of the text that matched; null if none did."},
            "groups": {"type": "object", "description": "The named groups of the regular expression."},
        },
        ["pattern", "matched", "groups"],
    ),
    output_contract="exact",
    exits={"no_match": NO_MATCH_CODE},
    may_request_delay=False,
    example="""\
[nodes.verdict]
task = "match"
with.text = "${review.stdout}"
with.patterns = [
  { contains = "ALL TESTS PASSED", exit = "passed" },
  { regex = "^(FAILED|ERROR)", exit = "failed" },
]
""",
)  # fmt: skip
