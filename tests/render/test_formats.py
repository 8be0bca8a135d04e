"""Formats of `engine check`: each against the shape that its readers ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as Sarif

from engine.api import check
from engine.cli.commands.check import FORMAT_NAMES as OFFERED
from engine.diagnostics import (
    Diagnostic,
    Diagnostics,
    Edit,
    Fix,
    RelatedSpan,
    Rule,
    Severity,
    codes,
)
from engine.render.formats import FORMATS, CheckReport, render_report
from engine.toml.source import Source, Span

FIXTURES = Path(__file__).parents[1] / "fixtures"
NO_SURROGATES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
spans = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(0, 2), st.integers(0, 9)).map(
    lambda at: Span(at[0], at[1], at[0] + at[2], at[1] + at[3])
)


@st.composite
def findings(draw: st.DrawFn) -> Diagnostic:
    source = Source(draw(st.sampled_from(["a.toml", "b c/é,:%.toml"])), "x = 1\n\n\n")
    return Diagnostic(
        draw(st.sampled_from([*codes.CODES, Rule("W999", "odd", "it has no page")])),
        draw(NO_SURROGATES) + "x",
        source,
        draw(spans),
        draw(st.none() | NO_SURROGATES),
        notes=tuple(
            RelatedSpan(draw(NO_SURROGATES), draw(spans)) for _ in range(draw(st.integers(0, 2)))
        ),
        fix=draw(
            st.none()
            | st.builds(Fix, NO_SURROGATES, st.tuples(st.builds(Edit, spans, NO_SURROGATES)))
        ),
        level=draw(st.none() | st.sampled_from(Severity)),
    )


reports = st.builds(
    CheckReport,
    st.lists(findings(), max_size=4).map(Diagnostics.collect),
    st.just(("a.toml", "sound.toml")),
    st.lists(st.tuples(st.sampled_from(["no.toml", "a.toml"]), NO_SURROGATES), max_size=2).map(
        tuple
    ),
)


@pytest.fixture(scope="module")
def real() -> CheckReport:
    """What is found in all wrong fixtures."""
    paths = sorted((FIXTURES / "err").glob("*.toml"))
    found = Diagnostics.collect(each for path in paths for each in check(path))
    return CheckReport(found, tuple(map(str, paths)), (("no.toml", "it is not there"),))


def test_every_format_is_offered_and_writes(real: CheckReport) -> None:
    assert tuple(FORMATS) == OFFERED
    for name in FORMATS:
        assert render_report(name, real)
        assert not render_report(name, real).endswith("\n")


# -- JSON --------------------------------------------------------------------------------------


@given(reports)
def test_json_lines_are_the_json_list(report: CheckReport) -> None:
    lines = render_report("jsonl", report).splitlines()
    assert [json.loads(line) for line in lines] == json.loads(render_report("json", report))


# -- SARIF -------------------------------------------------------------------------------------


def test_real_findings_are_valid_sarif(real: CheckReport) -> None:
    Sarif.model_validate_json(render_report("sarif", real))


@given(reports)
def test_sarif_is_valid_and_says_what_was_found(report: CheckReport) -> None:
    text = render_report("sarif", report)
    Sarif.model_validate_json(text)
    [run] = json.loads(text)["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    assert run["invocations"][0]["executionSuccessful"] is not bool(report.unreadable)
    for each, result in zip(report.diagnostics, run["results"], strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == each.rule.code
        assert result["level"] == each.severity
        assert result["message"]["text"].startswith(each.message)
        region = result["locations"][0]["physicalLocation"]["region"]
        assert tuple(region.values()) == (
            each.span.line, each.span.column, each.span.end_line, each.span.end_column,
        )  # fmt: skip
        related = result.get("relatedLocations", [])
        assert [place["message"]["text"] for place in related] == [n.message for n in each.notes]
        fixes = result.get("fixes", [])
        written = [
            replacement["insertedContent"]["text"]
            for fix in fixes
            for change in fix["artifactChanges"]
            for replacement in change["replacements"]
        ]
        assert written == [edit.text for edit in (each.fix.edits if each.fix else ())]


def test_sarif_has_the_page_of_a_rule_and_a_uri(tmp_path: Path) -> None:
    path = tmp_path / "a b.toml"
    text = render_report("sarif", CheckReport(check(Source(path, "engine = 1")), (str(path),)))
    [run] = json.loads(text)["runs"]
    assert run["tool"]["driver"]["rules"][0]["help"]["markdown"].startswith("# E105 missing-key\n")
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == path.as_uri()


# -- GitHub ------------------------------------------------------------------------------------


def read_command(line: str) -> tuple[str, dict[str, str], str]:
    """A workflow command as the runner reads it."""
    found = re.fullmatch("::([a-z]+) (.*?)::(.*)", line)
    assert found
    pairs = (pair.split("=", 1) for pair in found[2].split(","))
    return found[1], {key: unescaped(text) for key, text in pairs}, unescaped(found[3])


def unescaped(text: str) -> str:
    for code, character in (("%3A", ":"), ("%2C", ","), ("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
        text = text.replace(code, character)
    return text


@given(reports)
def test_a_runner_reads_of_github_commands_what_was_found(report: CheckReport) -> None:
    lines = (
        render_report("github", report).split("\n")
        if report.diagnostics or report.unreadable
        else []
    )
    assert len(lines) == len(report.diagnostics) + len(report.unreadable)
    for each, line in zip(report.diagnostics, lines, strict=False):
        name, place, message = read_command(line)
        assert name == ("notice" if each.severity is Severity.NOTE else each.severity)
        assert place["file"] == str(each.source.path)
        assert place["title"] == f"{each.rule.code} {each.rule.name}"
        assert message.startswith(each.message)
        assert (place["line"], place["endLine"]) == (str(each.span.line), str(each.span.end_line))
        assert ("col" in place) == (each.span.line == each.span.end_line)


# -- JUnit -------------------------------------------------------------------------------------

SHAPE = {
    "testsuites": ({"name", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": ({"name", "tests", "failures", "errors"}, {"testcase"}),
    "testcase": ({"name", "classname"}, {"failure", "error"}),
    "failure": ({"type", "message"}, set()),
    "error": ({"type", "message"}, set()),
}
"""Attributes and children that Jenkins' junit-10.xsd allows, as far as they are written."""


def elements(text: str) -> Iterator[Xml.Element]:
    return Xml.fromstring(text).iter()


@given(reports)
def test_junit_has_the_shape_and_the_counts(report: CheckReport) -> None:
    text = render_report("junit", report)
    for each in elements(text):
        attributes, children = SHAPE[each.tag]
        assert set(each.attrib) == attributes
        assert {child.tag for child in each} <= children
        if each.tag.startswith("testsuite"):
            for counted, tag in (
                ("tests", "testcase"),
                ("failures", "failure"),
                ("errors", "error"),
            ):
                assert each.get(counted) == str(len(list(each.iter(tag))))
    tags = [each.tag for each in elements(text)]
    assert tags.count("failure") == sum(e.severity is not Severity.NOTE for e in report.diagnostics)
    assert tags.count("error") == len(report.unreadable)
    paths = {str(each.source.path) for each in report.diagnostics} | {
        path for path, _ in report.unreadable
    }
    assert tags.count("testsuite") == len({*report.files, *paths})
    assert text.isascii()


# -- for people --------------------------------------------------------------------------------


def test_people_are_told_what_can_be_mended() -> None:
    source = Source("a.toml", 'engine = 1\n[nodes.a]\ntask = "slep"\nrotes = {}\n')
    text = render_report("human", CheckReport(check(source), ("a.toml",)))
    assert text.splitlines()[-2] == "can be fixed: 2 with `--fix`"
