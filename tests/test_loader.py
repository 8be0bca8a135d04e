"""What `load` says of a file: code, place and cure, all mistakes at once, and never a traceback."""

from __future__ import annotations

import base64
import copy
import json
import pathlib
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.api import check
from engine.loader import load
from engine.registry import Registry
from engine.source import Source
from engine.spec import Spec
from tests.kit import registry
from tests.marks import Found, marked, shown
from tests.strategies import cases
from tests.test_language import FULL, near_misses
from tests.test_source import CORPUS, needs_corpus

NODE = 'nodes.a = { task = "shell" }\n'
STEPS = 'start = "s"\nsteps = { s = { task = "shell" } }\n'


def loaded(text: str, path: str = "case.toml", **files: str) -> tuple[Spec | None, list[Found]]:
    """The Spec of a text and its findings; `files` are those beside it, by stem."""

    def reader(path: pathlib.Path) -> Source:
        if path.stem not in files:
            raise FileNotFoundError(2, "No such file or directory")
        return Source(path, files[path.stem])

    source, _ = marked(text)
    spec, found = load(Source(path, source), reader)
    return spec, [shown(diagnostic) for diagnostic in found]


def says(text: str, *expected: tuple[str, ...]) -> None:
    """The findings about a text are those of its marks, in order: (code, message[, help])."""
    _, marks = marked(text)
    _, found = loaded(text)
    assert [(f.span, f.code, f.message) for f in found] == [
        (mark, code, message) for mark, (code, message, *_) in zip(marks, expected, strict=True)
    ]
    for finding, (_, _, *cure) in zip(found, expected, strict=True):
        assert not cure or finding.help == cure[0]


# --------------------------------------------------------------------------------- one mistake


WRONG = {
    "not TOML": ('engine = 1\n«x» y', "E101", "expected `=` after a key, found `y`"),
    "version": ('engine = «2»\n' + NODE, "E103", "`engine` must be 1, the version of the language this engine speaks"),
    "version a float": ("engine = «1.0»\n" + NODE, "E103", "`engine` must be 1, the version of the language this engine speaks"),
}
