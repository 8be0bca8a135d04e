"""The specs of `specs/`: each is sound, runs for real, and does what its comment says."""

from __future__ import annotations

import ast
import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.record.questions import Answer
from engine.render import diagnostics as render
from engine.stored import Question
from engine.testing.scripts import parse_script
from engine.testing.simulation import simulate
from tests.support import model_server

ROOT = Path(__file__).parents[2]
SPECS = ROOT / "specs"
FILES = sorted(SPECS.rglob("*.toml"))
AS_WRITTEN = ROOT / "tests" / "fixtures" / "err" / "multi_step_as_written.toml"


def script_of(name: str) -> Path:
    return SPECS / "scripts" / f"{name}.json"


def simulated(name: str, **inputs: Any) -> engine.Result:
    plan = engine.load_plan(SPECS / f"{name}.toml")
    script = parse_script(json.loads(script_of(Path(name).name).read_text()), plan)
    return simulate(plan, script, inputs)


def really(name: str, **inputs: Any) -> engine.Result:
    return engine.run(SPECS / f"{name}.toml", inputs)


def ends(result: engine.Result) -> dict[str, tuple[str, str | None]]:
    return {name: (node.result, node.label) for name, node in result.nodes.items()}


def walked(result: engine.Result, node: str) -> list[tuple[str, Any]]:
    return [(attempt.step, attempt.outcome) for attempt in result.nodes[node].attempts]


# -- all of them -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_is_sound(path: Path) -> None:
    assert render.render_concise(engine.check(path)) == ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_says_what_it_shows_and_how_to_run_it(path: Path) -> None:
    comment = path.read_text().partition("\nengine = 1")[0]
    name = path.relative_to(ROOT).as_posix()
    assert all(line.startswith("#") for line in comment.splitlines())
    assert f"engine check {name}" in comment
    assert f"engine run {name}" in comment
    assert "# Shows: " in comment


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_has_a_script(path: Path) -> None:
    plan = engine.load_plan(path)
    assert parse_script(json.loads(script_of(path.stem).read_text()), plan)


# -- quickstart ------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "pack").mkdir()
    (tmp_path / "one.py").write_text(
        "import json\n\n\ndef told():\n    '''Said.'''\n    return json\n"
    )
    (tmp_path / "pack" / "two.py").write_text(
        "# a comment\nclass Two:\n    def silent(self):\n        pass\n"
    )
    return tmp_path


def test_the_census_counts_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = really("quickstart", undocumented=10_000, longest=10_000)
    paths = list(Path("engine").rglob("*.py"))
    trees = [ast.parse(path.read_text()) for path in paths]
    classes = sum(isinstance(node, ast.ClassDef) for tree in trees for node in ast.walk(tree))
    assert result.status == "succeeded"
    assert result.nodes["gate"].label == "passed"
    assert result.nodes["advice"].result == "skipped"
    assert result.nodes["files"].output["count"] == len(paths)
    assert result.nodes["functions"].output["classes"] == classes
    assert result.outputs["verdict"] == "good enough"


def test_the_census_names_what_nobody_described(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tree.parent))
    result = really("quickstart", folder=str(tree))
    assert result.status == "succeeded"
    assert result.nodes["gate"].label == "warn"
    assert result.nodes["lines"].output == {"code": 7, "comment": 1, "blank": 2, "total": 10}
    assert result.nodes["advice"].output == {"places": [f"{tree}/pack/two.py:3 silent"]}
    assert f"folder     {tree} at no revision" in result.outputs["report"]
    assert f"describe   {tree}/pack/two.py:3 silent" in result.outputs["report"]


def test_the_census_fails_for_a_function_that_is_too_long(tree: Path) -> None:
    result = really("quickstart", folder=str(tree), longest=2)
    assert result.status == "failed"
    assert ends(result)["gate"] == ("failed", "too_long")
    assert ends(result)["report"] == ("skipped", None)


def test_the_census_of_nothing_says_so(tmp_path: Path) -> None:
    result = really("quickstart", folder=str(tmp_path))
    assert result.status == "failed"
    assert ends(result)["files"] == ("failed", "nothing_to_count")


def test_the_census_retries_a_half_saved_file_and_does_without_git() -> None:
    result = simulated("quickstart")
    assert result.status == "succeeded"
    assert walked(result, "functions") == [("functions", "error"), ("functions", 0)]
    assert ends(result)["revision"] == ("failed", "128")
    assert ends(result)["unversioned"] == ("succeeded", "success")
    assert ends(result)["gate"] == ("succeeded", "warn")


# -- api_call --------------------------------------------------------------------------------------


class Scripted(BaseHTTPRequestHandler):
    """Answers each path from its own list; the last answer repeats."""

    answers: dict[str, list[tuple[int, dict[str, str], bytes]]]
    posted: list[Any]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        answers = self.answers.get(path, [(404, {}, b"")])
        status, headers, body = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@contextmanager
def serving(
    answers: dict[str, list[tuple[int, dict[str, str], bytes]]], posted: list[Any] | None = None
) -> Iterator[str]:
    told = [] if posted is None else posted
    handler = type("Handler", (Scripted,), {"answers": answers, "posted": told})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_the_api_call_waits_as_it_is_asked_and_gets_its_answer() -> None:
    answers = [(429, {"Retry-After": "1"}, b""), (503, {}, b""), (200, {}, b'{"hits": 3}')]
    with serving({"/search": answers}) as base:
        result = really("api_call", base=base, topic="bees")
    first, second, _ = result.nodes["search"].attempts
    assert walked(result, "search") == [("search", 6), ("search", 5), ("search", 0)]
    assert first.ended is not None
    assert second.started - first.ended >= 1.0
    assert result.outputs == {"answer": {"fresh": {"hits": 3}, "stale": None}}
    assert result.nodes["archive"].result == "skipped"


def test_the_api_call_falls_back_when_the_server_stays_down() -> None:
    answers = {"/search": [(503, {}, b"")], "/archive/bees": [(200, {}, b'{"hits": 2}')]}
    with serving(answers) as base:
        result = really("api_call", base=base, topic="bees")
    assert result.status == "succeeded"
    assert ends(result)["search"] == ("failed", "server_error")
    assert len(result.nodes["search"].attempts) == 3
    assert result.outputs == {"answer": {"fresh": None, "stale": {"hits": 2}}}


def test_the_api_call_has_no_fallback_for_a_wrong_request() -> None:
    with serving({}) as base:
        result = really("api_call", base=base, topic="bees")
    assert result.status == "failed"
    assert walked(result, "search") == [("search", 4)] * len(result.nodes["search"].attempts)
    assert result.nodes["archive"].result == "skipped"


def test_each_clause_of_the_api_call_counts_its_own_retries() -> None:
    result = simulated("api_call", base="http://api.invalid", topic="bees")
    assert walked(result, "search") == [("search", each) for each in (6, 5, "timeout", 5)]
    assert ends(result)["answer"] == ("succeeded", "success")


# -- data_processing -------------------------------------------------------------------------------


def test_the_figures_are_those_of_the_file() -> None:
    result = really("data_processing")
    assert result.status == "succeeded"
    assert ends(result)["rows"] == ("succeeded", "partial")
    assert ends(result)["outliers"] == ("succeeded", "found")
    assert result.outputs["summary"] == {
        "total": 2907.5,
        "regions": {"north": 317.5, "south": 190.0, "west": 2400.0},
        "north": 317.5 / 2907.5,
        "odd_lines": [5],
        "odd_orders": ["A-1006"],
    }


def test_a_file_of_nothing_has_no_figures(tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text("order,region,amount\n")
    result = really("data_processing", file=str(tmp_path / "none.csv"))
    assert result.status == "failed"
    assert ends(result)["rows"] == ("failed", "empty")
    assert {node.result for node in result.nodes.values()} == {"failed", "skipped"}


def test_one_odd_thing_is_enough_for_a_look() -> None:
    result = simulated("data_processing")
    assert ends(result)["outliers"] == ("succeeded", "success")
    assert ends(result)["look"] == ("succeeded", "success")


# -- file_job --------------------------------------------------------------------------------------


def test_the_file_is_verified_and_gone() -> None:
    result = really("file_job", text="grüße")
    written = result.nodes["written"].output
    assert result.status == "succeeded"
    assert ends(result)["compare"] == ("succeeded", "same")
    assert result.outputs == {"verified": True, "sha256": written["sha256"]}
    assert not Path(written["path"]).parent.exists()


def test_a_copy_that_differs_fails_and_is_cleaned_up_all_the_same() -> None:
    result = simulated("file_job", text="x")
    assert result.status == "failed"
    assert walked(result, "copy") == [("copy", 1), ("copy", 0)]
    assert ends(result)["compare"] == ("failed", "different")
    assert ends(result)["verified"] == ("skipped", None)
    assert ends(result)["cleanup"] == ("succeeded", "success")


# -- multi_step ------------------------------------------------------------------------------------


def test_the_letter_gets_shorter_until_it_passes() -> None:
    result = really("multi_step")
    assert result.status == "succeeded"
    assert [step for step, outcome in walked(result, "letter") if outcome == 1] == ["review"] * 2
    assert result.outputs["words"] == 9


def test_the_letter_that_never_passes_ends_at_the_bound() -> None:
    result = really("multi_step", most=3)
    assert result.status == "failed"
    assert ends(result)["letter"] == ("failed", "too_long")
    assert result.nodes["letter"].reason.kind == "exhausted"
    assert len(result.nodes["letter"].attempts) == 1 + 2 * 4


def test_the_letter_passes_the_third_review() -> None:
    result = simulated("multi_step")
    assert [step for step, _ in walked(result, "letter")] == [
        *("prepare", "process", "review", "process", "review", "process", "review", "finalize")
    ]


def test_as_it_was_written_it_would_never_end() -> None:
    found = engine.check(AS_WRITTEN)
    assert [(each.rule.code, each.rule.name) for each in found] == [("E301", "infinite-retry")]
    assert "review → process → review" in found[0].message


# -- code_generation -------------------------------------------------------------------------------


def test_the_program_is_right_at_the_third_try() -> None:
    result = really("code_generation")
    assert result.status == "succeeded"
    assert walked(result, "program") == [
        *(("generate", 0), ("code_execution", 1), ("generate", 0), ("code_execution", 1)),
        *(("generate", 0), ("code_execution", 0)),
    ]
    assert result.outputs["comment"].startswith("after: AssertionError")


def test_the_program_that_never_passes_is_given_up() -> None:
    result = really("code_generation", test="raise SystemExit(1)")
    assert result.status == "failed"
    assert ends(result)["program"] == ("failed", "gave_up")
    assert len(result.nodes["program"].attempts) == 2 * 5


def test_a_program_that_hangs_is_sent_back_once() -> None:
    result = simulated("code_generation")
    assert walked(result, "program") == [
        *(("generate", 0), ("code_execution", "timeout"), ("generate", "error"), ("generate", 0)),
        *(("code_execution", 1), ("generate", 0), ("code_execution", 0)),
    ]
    assert ends(result)["program"] == ("succeeded", "passed")


# -- sub_pipeline ----------------------------------------------------------------------------------


def test_both_texts_are_measured_by_the_same_pipeline() -> None:
    result = really("sub_pipeline", left="three\nlines\nhere", right="one")
    assert result.status == "succeeded"
    assert result.outputs == {
        "longer": "left",
        "left": {"lines": 3, "bytes": 16},
        "right": {"lines": 1, "bytes": 3},
    }


def test_the_part_runs_by_itself() -> None:
    assert really("parts/measure", text="abc").outputs == {"lines": 1, "bytes": 3}
    assert simulated("parts/measure", text="abc").outputs == {"lines": 3, "bytes": 42}


def test_a_measurement_that_fails_is_done_again() -> None:
    result = simulated("sub_pipeline", left="a", right="bb")
    assert walked(result, "left") == [("left", 1), ("left", 0)]
    assert result.outputs["longer"] == "right"


# -- bisect ----------------------------------------------------------------------------------------


def test_the_first_broken_version_is_found() -> None:
    for first_bad in (1, 42, 100):
        result = really("bisect", first_bad=first_bad)
        assert result.outputs["told"]["first_bad"] == first_bad
        assert result.state["good"] == first_bad - 1

    assert simulated("bisect").state["asked"] == [50, 25, 37, 43, 40, 41, 42]


# -- limits ----------------------------------------------------------------------------------------


def test_the_limits_hold_for_real() -> None:
    result = really("limits")
    assert result.status == "succeeded"
    assert ends(result)["forecast"] == ("succeeded", "without")
    assert ends(result)["newsletter"] == ("failed", "timeout")
    assert result.nodes["newsletter"].reason.kind == "deadline"


def test_places_are_given_by_priority() -> None:
    result = simulated("limits")
    first = {name: node.attempts[0].started for name, node in result.nodes.items()}
    assert first["alerts"] == first["orders"] == 0
    assert first["customers"] == pytest.approx(0.1)
    assert first["history"] == pytest.approx(0.2)
    assert walked(result, "forecast") == [("forecast", "timeout"), ("forecast", 0)]


# -- fan_out ---------------------------------------------------------------------------------------


def test_the_files_that_can_be_read_are_counted() -> None:
    result = really("fan_out")
    assert result.status == "succeeded"
    assert [item.result for item in result.nodes["count"].items or ()] == [
        *("succeeded", "succeeded", "failed")
    ]
    lines = [(ROOT / name).read_text().count("\n") for name in ("README.md", "CHANGES.md")]
    assert result.outputs == {"lines": lines}


def test_with_too_few_files_somebody_is_sorry() -> None:
    result = really("fan_out", files=["no/such/file"])
    assert ends(result) == {
        "count": ("failed", "failure"),
        "sum_up": ("skipped", None),
        "sorry": ("succeeded", "success"),
    }
    assert result.outputs == {"lines": "none"}


# -- review_and_publish ----------------------------------------------------------------------------


def answering(*said: tuple[str, str | None]) -> tuple[Any, list[Any]]:
    """A person, and what they were asked."""
    left, asked = list(said), []

    async def ask(question: Question) -> Answer:
        asked.append(question)
        return Answer(*left.pop(0))

    return ask, asked


def test_nothing_is_published_that_nobody_approved(tmp_path: Path) -> None:
    ask, asked = answering(("revise", "and wasps?"), ("approve", None))
    spec = SPECS / "review_and_publish.toml"
    inputs = {"topic": "bees", "log": str(tmp_path / "decisions.jsonl")}
    result = engine.run(spec, inputs | {"to": str(tmp_path / "published.md")}, ask=ask)
    assert result.status == "succeeded"
    assert "draft 2" in (tmp_path / "published.md").read_text()
    assert "and wasps?" in (tmp_path / "published.md").read_text()
    assert [question.show.count("draft 1") for question in asked] == [1, 0]
    ask, _ = answering(("reject", "no"))
    result = engine.run(spec, inputs | {"to": str(tmp_path / "other.md")}, ask=ask)
    assert ends(result)["article"] == ("failed", "rejected")
    assert not (tmp_path / "other.md").exists()
    rows = [json.loads(line) for line in (tmp_path / "decisions.jsonl").read_text().splitlines()]
    assert [row["size"] > 0 for row in rows] == [True, False]


# -- pages -----------------------------------------------------------------------------------------


def test_pages_become_a_report(tmp_path: Path) -> None:
    (tmp_path / "pages.toml").write_text((SPECS / "pages.toml").read_text())
    answers = {
        f"/page/{at}": [
            (200, {}, json.dumps({"id": at, "title": f"T{at}", "words": 90 * at}).encode())
        ]
        for at in (1, 2)
    }
    with serving(answers) as base:
        result = engine.run(tmp_path / "pages.toml", {"base": base, "report": "report.md"})
    report = "# Long pages\n\n- T2: 180 words\n\n1 could not be had.\n"
    assert (result.status, result.message) == ("succeeded", "")
    assert (tmp_path / "report.md").read_text().split() == report.split()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pages.toml", "report.md"]


# -- agent -----------------------------------------------------------------------------------------


def test_the_agent_calculates() -> None:
    calls = model_server.tools(
        ("calculate", {"expression": "6 * 7"}), ("orders", {"region": "south"})
    )
    with model_server.serving(calls, model_server.text("It is 42.")) as server:
        result = really("agent", base=server.url, model="m")
    assert (result.status, result.outputs["answer"]) == ("succeeded", "It is 42.")
    told = server.asked[1]["messages"]
    assert [each["role"] for each in told] == ["system", "user", "assistant", "tool", "tool"]
    assert told[-2]["content"] == "42"
    assert "A-1002" in told[-1]["content"]
    assert "A-1001" not in told[-1]["content"]


def test_an_agent_that_never_answers_is_given_up() -> None:
    with model_server.serving(model_server.tools(("calculate", {"expression": "1/0"}))) as server:
        result = really("agent", base=server.url, model="m")
    assert ends(result)["agent"] == ("failed", "turns")
    assert len(server.asked) == 6
    assert "ZeroDivisionError" in server.asked[1]["messages"][-1]["content"]


# -- nightly ---------------------------------------------------------------------------------------


def test_the_nightly_job_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = really("nightly")
    assert (result.status, result.nodes["load"].output["stdout"]) == ("succeeded", "7")
    result = really("nightly", broken=True)
    assert (result.status, result.nodes["tell"].output) == (
        "failed",
        {"rows": "", "hash": "nothing was packed"},
    )
    assert [*tmp_path.iterdir()] == []


# -- task_tree -------------------------------------------------------------------------------------


def test_the_task_tree_waits_for_all_and_tells() -> None:
    posted: list[Any] = []
    answers = {
        "/orders": [(500, {}, b""), (200, {}, b"[1]")],
        "/stock": [(200, {}, b"7")],
        "/notify": [(200, {}, b"")],
    }
    with serving(answers, posted) as base:
        result = really("task_tree", base=base)
    assert result.status == "succeeded"
    assert posted == [{"message": "done", "found": {"orders": [1], "stock": 7, "weather": None}}]
    with serving({"/orders": [(500, {}, b"")], "/stock": [(200, {}, b"7")]}) as base:
        result = really("task_tree", base=base)
    assert (result.status, result.nodes["notify"].result) == ("failed", "skipped")


# -- coding_workflow -------------------------------------------------------------------------------

WRONG = "def fibonacci(n):\n    return n\n"
RIGHT = "def fibonacci(n):\n    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)\n"


def code(text: str) -> Any:
    return model_server.text(json.dumps({"code": text}))


def test_the_coding_workflow_goes_back_to_whoever_was_wrong() -> None:
    ask, asked = answering(("approve", None), ("approve", "mind zero"))
    answers = (
        *(model_server.text("A loop."), code(WRONG), code("assert fibonacci(10) == 54")),
        *(
            model_server.text("Tests wrong."),
            code("assert fibonacci(10) == 55"),
            model_server.text("PROGRAM WRONG"),
        ),
        *(code(RIGHT), code("assert fibonacci(10) == 55")),
    )
    with model_server.serving(*answers) as server:
        result = engine.run(
            SPECS / "coding_workflow.toml", {"base": server.url, "model": "m"}, ask=ask
        )
    assert ends(result)["coding"] == ("succeeded", "passed")
    assert result.outputs["code"] == RIGHT
    assert [question.show for question in asked] == [WRONG, RIGHT]
    assert "AssertionError" in server.asked[6]["messages"][0]["content"]


def test_a_program_that_never_passes_ends_too() -> None:
    ask, _ = answering(*[("approve", None)] * 9)
    answers = [model_server.text("A loop.")]
    answers += [
        code(WRONG),
        code("assert fibonacci(3) == 2"),
        model_server.text("program wrong"),
    ] * 9
    with model_server.serving(*answers) as server:
        result = engine.run(
            SPECS / "coding_workflow.toml", {"base": server.url, "model": "m"}, ask=ask
        )
    assert ends(result)["coding"] == ("failed", "gave_up")
