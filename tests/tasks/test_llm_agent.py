"""`llm.agent`: a model on loopback asks for tools that are tasks, pipelines, and those of a real MCP server."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import tomli_w

import engine
from engine import stored, tasks
from engine.analysis.bounds import compute_bounds
from engine.hooks import Hook
from engine.sdk.context import Exit
from engine.testing.spec_coverage import coverage
from engine.toml.source import Source
from tests.journal.test_store import killed_when
from tests.support.model_server import serving, text, tools
from tests.support.plans import children
from tests.tasks.test_mcp import COMMAND

Doc = dict[str, Any]
AGENT: Doc = {"model": "m", "prompt": "Hello", "max_turns": 3, "max_total_tokens": 1000}
SUM: Doc = {
    "inputs": {"a": {"type": "integer"}, "b": {"type": "integer", "default": 1}},
    "nodes": {"x": {"task": "collect", "with": {"sum": "${inputs.a + inputs.b}"}}},
    "outputs": {"sum": "${x.sum}"},
}


@engine.task(id="acme.weather")
def weather(city: str, unit: str = "C") -> dict[str, str]:
    """The weather of a city.

    city: Which one.
    """
    if city == "Atlantis":
        raise ValueError("there is no such city")
    return {"weather": f"sun in {city}, {unit}"}


@engine.task(id="acme.divide", exits={"by_zero": 3})
async def divide(a: float, b: float) -> Any:
    """Divide."""
    return a / b if b else Exit("by_zero", {"a": a})


def doc(with_: Doc | None = None, base: str = "http://127.0.0.1:9/v1", **more: Any) -> Doc:
    given = {**AGENT, "base_url": base} | (with_ or {})
    return {"engine": 1, "nodes": {"a": {"task": "llm.agent", "with": given}}} | more


def plan(*args: Any, **more: Any) -> engine.Plan:
    source = Source("x.toml", tomli_w.dumps(doc(*args, **more)))
    return engine.load_plan(source, tasks=[weather, divide])


def told(model: Any) -> list[str]:
    """What the tools of the last question gave."""
    return [each["content"] for each in model.asked[-1]["messages"] if each["role"] == "tool"]


def test_it_asks_for_tools_of_each_kind_and_answers() -> None:
    calls = (("acme_weather", {"city": "Oslo"}), ("add", {"a": 3}), ("n_keep", {"note": "x"}))
    with_ = {
        "tools": [
            {"task": "acme.weather", "with": {"unit": "F"}},
            {"pipeline": "sum", "name": "add", "description": "Adds"},
            {"mcp": "notes", "only": ["k*"], "prefix": "n_"},
        ]
    }
    resources = {"notes": {"task": "mcp.server", "with": COMMAND}}
    with serving(tools(*calls), text("fine")) as model:
        document = doc(with_, model.url, resources=resources, pipelines={"sum": SUM})
        document["nodes"]["a"]["uses"] = ["notes"]
        loaded = engine.load_plan(Source("x.toml", tomli_w.dumps(document)), tasks=[weather])
        result = engine.run(loaded)
    node = result.nodes["a"]
    assert (result.status, node.output["text"]) == ("succeeded", "fine")
    assert told(model) == ['{"weather": "sun in Oslo, F"}', '{"sum": 4}', "1"]
    assert [each.step for each in node.attempts] == ["ask", "act", "ask"]
    offered = [each["function"] for each in model.asked[0]["tools"]]
    assert [each["name"] for each in offered] == ["acme_weather", "add", "n_keep"]
    assert [each["description"] for each in offered] == ["The weather of a city.", "Adds", "Keep a note."]  # fmt: skip
    assert [*offered[0]["parameters"]["properties"]] == ["city"]
    assert node.output["usage"] == {"input_tokens": 1 + 10, "output_tokens": 1}


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (("nope", {}), "error: there is no tool `nope`"),
        (("acme_weather", {"city": "Atlantis"}), "error: ValueError: there is no such city"),
        (
            ("acme_weather", {"town": "Oslo"}),
            "error: inputs: `city` is missing; `town`: `town` is not known here",
        ),
        (("acme_divide", {"a": 1, "b": 0}), 'it ended with exit 3: {"a": 1'),
        (("sum", {"a": "x"}), "error: input `a`: expected integer"),
        (("sum", {}), "error: input `a` is missing"),
        (("fails", {}), "error: `x` failed: exit 1"),
    ],
)
def test_what_goes_wrong_in_a_tool_is_told_to_the_model(call: tuple[str, Doc], answer: str) -> None:
    fails = {"nodes": {"x": {"task": "shell", "with": {"argv": ["false"]}}}}
    written = [{"task": "acme.weather"}, {"task": "acme.divide"}, {"pipeline": "sum"}, {"pipeline": "fails"}]  # fmt: skip
    with serving(tools(call), text("fine")) as model:
        pipelines = {"sum": SUM, "fails": fails}
        result = engine.run(plan({"tools": written}, model.url, pipelines=pipelines))
    assert result.status == "succeeded"
    [found] = told(model)
    assert found.startswith(answer)


def test_arguments_that_are_no_json_are_told() -> None:
    broken = tools(("sum", {}))
    broken["message"]["tool_calls"][0]["function"]["arguments"] = "{a:"
    with serving(broken, text("fine")) as model:
        engine.run(plan({"tools": [{"pipeline": "sum"}]}, model.url, pipelines={"sum": SUM}))
    assert told(model) == ["error: the arguments are not a JSON object"]


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", [1, 2, 4])
def test_it_takes_no_more_turns_than_it_may(turns: int) -> None:
    with serving(tools(("sum", {"a": 1}))) as model:
        given = {"max_turns": turns, "tools": [{"pipeline": "sum"}]}
        loaded = plan(given, model.url, pipelines={"sum": SUM})
        result = engine.run(loaded)
    assert result.nodes["a"].label == "turns"
    assert len(model.asked) == turns
    bounds = compute_bounds(loaded)
    assert bounds is not None
    assert bounds.run.attempts == 2 * turns - 1


def test_it_takes_no_more_tokens_than_it_may() -> None:
    """Each answer is cut to what is left, and no tool runs when nothing is."""
    call = tools(("sum", {"a": 1}))
    call["message"]["content"] = "one two three"
    with serving(call) as model:
        given = {"max_total_tokens": 11, "max_turns": 9, "tools": [{"pipeline": "sum"}]}
        result = engine.run(plan(given, model.url, pipelines={"sum": SUM}))
    node = result.nodes["a"]
    assert node.label == "budget"
    assert [each["max_tokens"] for each in model.asked] == [11, 7]
    assert [each.step for each in node.attempts] == ["ask", "act", "ask"]
    assert sum(node.output["usage"].values()) >= 11


def test_an_answer_is_an_answer_though_it_took_all_that_was_left() -> None:
    with serving(text("one two three")) as model:
        result = engine.run(plan({"max_total_tokens": 3}, model.url))
    assert result.status == "succeeded"


def test_an_endpoint_that_does_not_count_is_counted_for() -> None:
    with serving(tools(("sum", {"a": 1}))) as model:
        model.counts = False
        given = {"max_total_tokens": 200, "max_turns": 50, "tools": [{"pipeline": "sum"}]}
        result = engine.run(plan(given, model.url, pipelines={"sum": SUM}))
    assert result.nodes["a"].label == "budget"
    assert 1 < len(model.asked) < 10


def test_its_ends_can_be_routed_as_any_exit() -> None:
    document = doc({"max_total_tokens": 3, "tools": [{"pipeline": "sum"}]}, pipelines={"sum": SUM})
    document["nodes"]["a"]["routes"] = {"budget": "done:enough", "success": "done:answered"}
    with serving(tools(("sum", {"a": 1}))) as model:
        document["nodes"]["a"]["with"]["base_url"] = model.url
        document["nodes"]["a"]["with"]["prompt"] = "one two three"
        result = engine.run(engine.load_plan(Source("x.toml", tomli_w.dumps(document))))
    assert (result.status, result.nodes["a"].label) == ("succeeded", "enough")


def test_an_answer_that_will_not_do_can_be_asked_for_again() -> None:
    schema = {"type": "object", "required": ["city"]}
    document = doc({"schema": schema})
    document["nodes"]["a"]["routes"] = {"invalid": {"to": "ask", "max": 2}}
    with serving(text("Oslo"), text('{"city": "Oslo"}')) as model:
        document["nodes"]["a"]["with"]["base_url"] = model.url
        result = engine.run(engine.load_plan(Source("x.toml", tomli_w.dumps(document))))
    assert result.nodes["a"].output["value"] == {"city": "Oslo"}
    assert model.asked[1]["messages"][-1]["content"].startswith(
        "This answer is not valid: it is not valid JSON"
    )


def test_a_budget_that_is_used_up_stays_used_up() -> None:
    """Whatever a route leads back to: nobody is asked, and no tool is run."""
    document = doc({"max_total_tokens": 3, "tools": [{"pipeline": "sum"}]}, pipelines={"sum": SUM})
    document["nodes"]["a"]["routes"] = {"budget": {"to": "ask", "max": 2}}
    with serving(tools(("sum", {"a": 1}))) as model:
        document["nodes"]["a"]["with"] |= {"base_url": model.url, "prompt": "one two three"}
        result = engine.run(engine.load_plan(Source("x.toml", tomli_w.dumps(document))))
    attempts = result.nodes["a"].attempts
    assert [(each.step, each.outcome, each.error) for each in attempts] == [("ask", 6, None)] * 3
    assert len(model.asked) == 1


def test_calls_of_one_turn_have_keys_of_their_own() -> None:
    """Though a server gives all of them one id."""
    keys: list[str] = []

    @engine.task(id="acme.keyed")
    async def keyed(context: engine.Context) -> None:
        keys.append(context.key)

    asked = tools(("acme_keyed", {}), ("acme_keyed", {}))
    for call in asked["message"]["tool_calls"]:
        call["id"] = "call"
    with serving(asked, text("fine")) as model:
        document = doc({"tools": [{"task": "acme.keyed"}]}, model.url)
        loaded = engine.load_plan(Source("x.toml", tomli_w.dumps(document)), tasks=[keyed])
        result = engine.run(loaded)
    assert result.status == "succeeded"
    assert len({*keys}) == 2


def test_items_have_agents_of_their_own() -> None:
    document = doc({"tools": [{"pipeline": "sum"}]}, pipelines={"sum": SUM})
    document["nodes"]["a"] |= {"for_each": ["x", "y"], "max_parallel": 1}
    with serving(tools(("sum", {"a": 1})), text("x"), tools(("sum", {"a": 2})), text("y")) as model:
        document["nodes"]["a"]["with"]["base_url"] = model.url
        result = engine.run(engine.load_plan(Source("x.toml", tomli_w.dumps(document))))
    assert [each["text"] for each in result.nodes["a"].output] == ["x", "y"]
    assert told(model) == ['{"sum": 3}']


def test_a_tool_that_takes_too_long_is_stopped_with_all_it_started() -> None:
    slow = {"nodes": {"x": {"task": "shell", "with": {"argv": ["sh", "-c", "sleep 600 & wait"]}}}}
    before = children()
    with serving(tools(("slow", {}))) as model:
        document = doc({"tools": [{"pipeline": "slow"}]}, model.url, pipelines={"slow": slow})
        document["nodes"]["a"]["timeout"] = "1s"
        loaded = engine.load_plan(Source("x.toml", tomli_w.dumps(document)))
        result = engine.run(loaded, grace=0.5)
    assert result.nodes["a"].label == "timeout"
    assert children() - before == set()


def test_hooks_may_refuse_what_a_model_asks_for() -> None:
    seen: list[str] = []

    def refuse(about: Any) -> None:
        seen.append(about.task)
        if about.task == "collect":
            raise PermissionError("not today")

    with serving(tools(("sum", {"a": 1})), text("fine")) as model:
        loaded = plan({"tools": [{"pipeline": "sum"}]}, model.url, pipelines={"sum": SUM})
        result = engine.run(loaded, hooks=[Hook(name="guard", before_attempt=refuse)])
    assert result.status == "succeeded"
    assert seen == ["llm.agent/ask", "llm.agent/act", "collect", "llm.agent/ask"]
    assert "not today" in told(model)[0]


# -- what the check says ---------------------------------------------------------------------------

ASKS = {"nodes": {"q": {"task": "human", "with": {"prompt": "?", "options": ["y", "n"]}}}}
WRONG: list[tuple[Doc, list[str]]] = [
    ({"max_turns": "${1 + 1}"}, ["E103 `max_turns` must be literal: the check counts with it"]),
    ({"max_turns": 0}, ["E502 input `max_turns` of task `llm.agent`: 0 is below the minimum 1"]),
    ({"tools": [{"task": "acme.wether"}]}, ["E201 there is no task `acme.wether`"]),
    ({"tools": [{"pipeline": "sun"}]}, ["E201 there is no pipeline `sun`"]),
    ({"tools": [{"mcp": "notes"}]}, ["E201 there is no resource `notes`"]),
    ({"tools": [{"task": "acme.weather"}, {"task": "acme.weather"}]}, ["E103 tool `acme_weather` is defined twice"]),
    ({"tools": [{"task": "acme.weather", "name": "the weather"}]}, ["E103 tool `the weather` is not a name that a model can call"]),
    ({"tools": [{"task": "${'acme.weather'}"}]}, ["E103 a tool must be one literal `task`, `pipeline` or `mcp` server"]),
    ({"tools": [{"task": "acme.weather", "pipeline": "sum"}]}, ["E103 a tool must be one literal `task`, `pipeline` or `mcp` server"]),
    ({"tools": [{}]}, ["E103 a tool must be one literal `task`, `pipeline` or `mcp` server"]),
    ({"tools": [{"pipeline": "sum", "only": ["x"]}]}, ["E103 `only` belongs to an `mcp` server"]),
    ({"tools": "${[]}"}, ["E103 the tools of an agent must be literal: the check reads them"]),
    ({"tools": [{"task": "acme.weather", "with": {"town": "Oslo"}}]}, ["E201 task `acme.weather` has no input `town`"]),
    ({"tools": [{"task": "acme.weather", "with": {"city": 3}}]}, ["E502 input `city` of task `acme.weather`: expected string, found 3"]),
    ({"tools": [{"pipeline": "sum", "with": {"c": 3}}]}, ["E201 pipeline `sum` has no input `c`"]),
    ({"tools": [{"task": "human"}]}, ["E103 `human` asks a person: a tool cannot do that"]),
    ({"tools": [{"pipeline": "asks"}]}, ["E103 `asks` asks a person: a tool cannot do that"]),
    ({"tools": [{"task": "tempdir"}]}, ["E103 `tempdir` provides a resource and cannot be used as a tool"]),
    ({"tools": [{"task": "llm.agent"}]}, ["E103 `llm.agent` needs more than inputs"]),
    ({"tools": [{"task": "mcp.call"}]}, ["E103 `mcp.call` needs more than inputs"]),
    ({"tools": [{"pipeline": "other.toml"}]}, ["E103 `other.toml` is a file: a tool must be a pipeline of this file"]),
    ({"variables": {"x": 1}}, ["E103 the prompt does not name `{{x}}`"]),
]  # fmt: skip


def findings(document: Doc, **more: Any) -> list[str]:
    _, found = engine.analyse(
        Source("x.toml", tomli_w.dumps(document)), tasks=[weather, divide], **more
    )
    return [f"{each.rule.code} {each.message}" for each in found if each.rule.code != "W701"]


@pytest.mark.parametrize(("with_", "expected"), WRONG)
def test_its_tools_and_limits_are_checked(with_: Doc, expected: list[str]) -> None:
    assert findings(doc(with_, pipelines={"sum": SUM, "asks": ASKS})) == expected


def test_a_pipeline_that_is_a_tool_is_proved_like_any_other() -> None:
    x = {"task": "shell", "with": {"argv": ["a"]}, "routes": {"3": "x"}}
    y = {"task": "shell", "needs": {"x": "failure"}, "with": {"argv": ["${x.stdout}"]}}
    found = findings(doc({"tools": [{"pipeline": "p"}]}, pipelines={"p": {"nodes": {"x": x, "y": y}}}))  # fmt: skip
    assert [each[:4] for each in found] == ["E301", "E501"]


def test_a_class_that_is_a_tool_must_be_bounded() -> None:
    @engine.task
    class Loops:
        """Goes on for ever."""

        id, start = "acme.loops", "one"
        routes: ClassVar[Doc] = {"one": {0: None, "error": ("two", False)}, "two": {0: ("one", False)}}  # fmt: skip

        async def execute_one(self, inputs: Doc) -> None:
            """One."""

        async def execute_two(self, inputs: Doc) -> None:
            """Two."""

    source = Source("x.toml", tomli_w.dumps(doc({"tools": [{"task": "acme.loops"}]})))
    [found] = engine.check(source, tasks=[Loops])
    assert (found.rule.code, found.message) == ("E103", "`acme.loops` can repeat for ever")


def test_services_of_a_tool_are_looked_at_before_the_run() -> None:
    ill = {"task": "shell", "with": {"argv": ["false"]}}
    inner = {"services": {"s": ill}, "nodes": {"x": {"task": "pass", "requires": ["s"]}}}
    with serving(text("fine")) as model:
        loaded = plan({"tools": [{"pipeline": "p"}]}, model.url, pipelines={"p": inner})
        with pytest.raises(engine.InputError, match="service `s` is not healthy"):
            engine.run(loaded)
        assert model.asked == []


def test_files_that_a_tool_names_are_kept_with_the_run(tmp_path: Path) -> None:
    (tmp_path / "inner.toml").write_text('engine = 1\n[nodes.x]\ntask = "pass"\n')
    tool = {"nodes": {"x": {"pipeline": "inner.toml"}}}
    spec = tmp_path / "x.toml"
    spec.write_text(tomli_w.dumps(doc({"tools": [{"pipeline": "p"}]}, pipelines={"p": tool})))
    assert {Path(name).name for name in engine.load_plan(spec).files} == {"x.toml", "inner.toml"}


def test_coverage_counts_what_a_script_can_take() -> None:
    loaded = plan(
        {"tools": [{"pipeline": "p"}]}, pipelines={"p": {"nodes": {"x": {"task": "pass"}}}}
    )
    assert {spot.path for spot in coverage(loaded, []).points} == {"a", "a/ask", "a/act"}


@pytest.mark.parametrize("key", ["max_turns", "max_total_tokens"])
def test_it_must_have_limits(key: str) -> None:
    document = doc()
    del document["nodes"]["a"]["with"][key]
    assert findings(document) == [f"E504 task `llm.agent` needs input `{key}`"]


def test_a_tool_must_be_allowed() -> None:
    registry = engine.Registry(
        {"llm.agent": partial(tasks.load_builtin, "llm.agent")}, allow=["llm.*"]
    )
    registry.register(weather)
    document = doc({"tools": [{"task": "acme.weather"}]})
    assert findings(document, registry=registry) == ["E201 task `acme.weather` is not allowed here"]


def test_a_pipeline_that_is_a_tool_is_used_and_its_secrets_are_needed() -> None:
    inner = {"nodes": {"x": {"task": "collect", "with": {"key": "${secrets.KEY}"}}}}
    source = Source("x.toml", tomli_w.dumps(doc({"tools": [{"pipeline": "p"}]}, pipelines={"p": inner})))  # fmt: skip
    loaded, found = engine.analyse(source)
    assert list(found) == []
    assert loaded is not None
    assert loaded.secrets == {"KEY": True}


def test_the_meaning_of_its_tools_is_its_own() -> None:
    with_ = {"tools": [{"pipeline": "sum"}]}
    other = SUM | {"outputs": {"sum": "${x.sum + 1}"}}
    one, two = (plan(with_, pipelines={"sum": each}).hash for each in (SUM, other))
    assert one != two


# -- when its engine dies --------------------------------------------------------------------------


def test_turns_that_were_taken_are_not_taken_again(tmp_path: Path) -> None:
    """Killed while a tool runs: the tool runs again, the model is not asked again."""
    wait = "touch there; while test ! -e go; do sleep 0.02; done; echo ready"
    tool = {"nodes": {"x": {"task": "shell", "with": {"argv": ["sh", "-c", wait]}}}}
    tool["outputs"] = {"text": "${x.stdout}"}  # type: ignore[assignment]
    spec, store = tmp_path / "x.toml", str(tmp_path / "runs.db")
    with serving(tools(("slow", {})), text("fine")) as model:
        written = doc({"tools": [{"pipeline": "slow"}]}, model.url, pipelines={"slow": tool})
        spec.write_text(tomli_w.dumps(written))
        killed_when(tmp_path / "there", spec=str(spec), store=store, run_id="r1")
        (tmp_path / "go").touch()
        result = stored.resume("r1", store=store)
        assert len(model.asked) == 2
    assert (result.status, result.nodes["a"].output["text"]) == ("succeeded", "fine")
    assert told(model) == ['{"text": "ready"}']


def test_a_secret_is_told_with_its_place_in_tools_and_at_the_end_too() -> None:
    reads = {"task": "collect", "with": {"key": "${secrets.INNER}"}}
    last = {"task": "collect", "with": {"key": "${secrets.LAST}"}}
    document = doc({"tools": [{"pipeline": "p"}]}, pipelines={"p": {"nodes": {"x": reads}}})
    source = Source("x.toml", tomli_w.dumps(document | {"finally": {"z": last}}))
    with pytest.raises(engine.InputError) as caught:
        engine.run(engine.load_plan(source))
    lines = source.text.splitlines()
    for name in ("INNER", "LAST"):
        line = 1 + next(at for at, text in enumerate(lines) if f"secrets.{name}" in text)
        told = f"secret `{name}` is not set, which {source.path}:{line} reads"
        assert any(each.startswith(told) for each in caught.value.problems)
