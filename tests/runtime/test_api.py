"""The run API: from plain code, trio and asyncio; what it takes, what it refuses, and what bodies
may do.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import trio

import engine
from engine import Context, Exit, InputError, Permanent, RetryAfter, Task, task
from engine.api import default_registry
from engine.plan.plan import Plan
from engine.processes import children
from engine.runtime import Event, Result
from engine.toml.source import Source

SLEEP = {"task": "sleep", "with": {"seconds": 0}}


def plan_of(doc: dict[str, Any], *tasks: object) -> Plan:
    """The checked plan of a document that uses these tasks."""
    return engine.load_plan(
        Source("case.toml", tomli_w.dumps({"engine": 1, **doc})), default_registry(tasks)
    )


def one(function: Any, doc: dict[str, Any] | None = None, **node: Any) -> Plan:
    """The plan of one node `n` whose body is a function."""
    made = task(id="t")(function)
    return plan_of({**(doc or {}), "nodes": {"n": {"task": "t", **node}}}, made)


def node_of(function: Any, **options: Any) -> Any:
    """What became of one node whose body is a function."""
    return engine.run(one(function), **options).nodes["n"]


def error_of(function: Any) -> str:
    """The message of the `error` that a function's attempt was."""
    node = node_of(function)
    assert node.attempts[0].outcome == "error"
    return str(node.attempts[0].error)


class Forever:
    """An async body that says that it runs; how it ended is to be seen."""

    def __init__(self) -> None:
        self.ended = False

    def plan(self) -> Plan:
        async def body(context: Context) -> None:
            context.note("ready")
            try:
                await trio.sleep_forever()
            finally:
                self.ended = True

        return one(body)


# -- the same from plain code, trio and asyncio ---------------------------------------------------


def in_plain_code(plan: Plan, inputs: Any, **options: Any) -> Result:
    return engine.run(plan, inputs, **options)


def in_trio(plan: Plan, inputs: Any, **options: Any) -> Result:
    async def main() -> Result:
        return await engine.runtime.run(plan, inputs, **options)

    return trio.run(main)


def in_asyncio(plan: Plan, inputs: Any, **options: Any) -> Result:
    async def main() -> Result:
        return await engine.runtime.run(plan, inputs, **options)

    return asyncio.run(main())


def in_a_thread(plan: Plan, inputs: Any, **options: Any) -> Result:
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(engine.run(plan, inputs, **options))
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    result: Result = found[0]
    return result


everywhere = pytest.mark.parametrize("run", [in_plain_code, in_trio, in_asyncio, in_a_thread])


@everywhere
def test_a_run_gives_its_result(run: Any) -> None:
    async def double(number: int) -> dict[str, int]:
        return {"number": number * 2}

    inputs = {"inputs": {"number": {"type": "integer"}}}
    plan = one(double, inputs, **{"with": {"number": "${inputs.number}"}})
    result = run(plan, {"number": 21}, run_id="mine")
    assert (result.status, result.id) == ("succeeded", "mine")
    assert result.nodes["n"].output == {"number": 42}


@everywhere
def test_on_event_hears_everything_in_the_thread_of_the_caller(run: Any) -> None:
    heard: list[tuple[str, bool]] = []
    caller = {"in_a_thread": None}.get(run.__name__, threading.current_thread())

    def hear(event: Event) -> None:
        heard.append((event.kind, caller in (None, threading.current_thread())))

    run(plan_of({"nodes": {"a": SLEEP}}), None, on_event=hear)
    kinds = ["run_started", "attempt_started", "attempt_ended", "node_settled", "run_ended"]
    assert heard == [(kind, True) for kind in kinds]


@everywhere
def test_inputs_are_refused_all_at_once(run: Any) -> None:
    inputs = {"a": {"type": "integer"}, "b": {"type": "string"}, "count": {"type": "integer"}}
    plan = plan_of({"inputs": inputs, "nodes": {"n": SLEEP}})
    with pytest.raises(InputError) as caught:
        run(plan, {"b": 3, "counts": 1})
    assert len(caught.value.problems) == 4
    text = str(caught.value)
    assert "input `a` is missing" in text
    assert "input `b`" in text
    assert "there is no input `counts`, did you mean `count`?" in text


@everywhere
def test_an_unknown_option_is_refused_with_the_nearest(run: Any) -> None:
    with pytest.raises(TypeError, match="no option `sead`, did you mean `seed`"):
        run(plan_of({"nodes": {"a": SLEEP}}), {}, sead=1)


@pytest.mark.parametrize(
    "option", [{"grace": -1}, {"grace": "5s"}, {"env": {"A": 1}}, {"run_id": ""}, {"on_event": 3}]
)
def test_an_option_of_the_wrong_type_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"option `{next(iter(option))}`"):
        engine.run(plan_of({"nodes": {"a": SLEEP}}), {}, **option)


def test_inputs_that_are_no_mapping_are_refused() -> None:
    with pytest.raises(InputError, match="mapping"):
        engine.run(plan_of({"nodes": {"a": SLEEP}}), ["a"])  # type: ignore[arg-type]


def test_a_spec_that_does_not_compile_raises_with_all_findings() -> None:
    with pytest.raises(engine.SpecError) as caught:
        engine.run(Source("s.toml", 'engine = 1\n[nodes.a]\ntask = "slep"\n[nodes.b]\ntask = "x"'))
    assert len(caught.value.diagnostics.errors) == 2


def test_a_file_that_is_not_there_is_an_engine_error() -> None:
    with pytest.raises(engine.EngineError, match=r"`none\.toml` cannot be read"):
        engine.run("none.toml")


def test_the_async_api_takes_plans_only() -> None:
    async def main() -> None:
        await engine.runtime.run("spec.toml")  # type: ignore[arg-type]

    with pytest.raises(TypeError, match=r"engine\.load_plan"):
        trio.run(main)


def test_the_async_api_needs_an_event_loop() -> None:
    coroutine = engine.runtime.run(plan_of({"nodes": {"a": SLEEP}}))
    with pytest.raises(engine.EngineError, match=r"call `engine\.run`"):
        coroutine.send(None)


def test_importing_the_package_imports_neither_trio_nor_networkx() -> None:
    code = "import engine, sys; print(sorted({'trio', 'networkx', 'asyncio'} & set(sys.modules)))"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True
    )
    assert done.stdout == "[]\n"


# -- a run under way ------------------------------------------------------------------------------


def with_trio(main: Any) -> Any:
    async def limited() -> Any:
        with trio.fail_after(30):
            return await main()

    return trio.run(limited)


def with_asyncio(main: Any) -> Any:
    async def limited() -> Any:
        async with asyncio.timeout(30):
            return await main()

    return asyncio.run(limited())


both = pytest.mark.parametrize("loop", [with_trio, with_asyncio])


@both
def test_the_blocking_api_does_not_block_an_async_program(loop: Any) -> None:
    async def main() -> None:
        engine.run(plan_of({"nodes": {"a": SLEEP}}))

    with pytest.raises(engine.EngineError, match=r"await engine\.runtime\.run"):
        loop(main)


def engine_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("engine")]


@both
def test_events_can_be_iterated_while_the_run_goes_on(loop: Any) -> None:
    async def main() -> tuple[list[str], Result]:
        async with engine.runtime.start(plan_of({"nodes": {"a": SLEEP}})) as run:
            kinds = [event.kind async for event in run]
            return kinds, await run.result()

    kinds, result = loop(main)
    assert (kinds[0], kinds[-1], result.status) == ("run_started", "run_ended", "succeeded")


@both
def test_iteration_can_be_broken_off_and_gone_on_with(loop: Any) -> None:
    async def main() -> list[str]:
        async with engine.runtime.start(plan_of({"nodes": {"a": SLEEP}})) as run:
            first = [event.kind async for event in run if event.kind]
            again = [event.kind async for event in run]
        return [*first, *again]

    assert loop(main).count("run_started") == 1


@both
def test_cancel_stops_the_work_and_the_result_says_why(loop: Any) -> None:
    body = Forever()

    async def main() -> Result:
        async with engine.runtime.start(body.plan()) as run:
            async for event in run:
                if event.kind == "attempt_noted":
                    run.cancel("enough")
            return await run.result()

    result = loop(main)
    assert body.ended
    assert (result.status, result.message) == ("cancelled", "enough")
    assert result.nodes["n"].reason.kind == "requested"
    assert engine_threads() == []


@both
def test_cancel_before_anything_has_started(loop: Any) -> None:
    async def main() -> Result:
        async with engine.runtime.start(plan_of({"nodes": {"a": SLEEP}})) as run:
            run.cancel("never mind")
            return await run.result()

    assert loop(main).nodes["a"].attempts == ()


@both
def test_an_exception_in_the_block_cancels_the_run(loop: Any) -> None:
    body = Forever()

    async def main() -> None:
        async with engine.runtime.start(body.plan()) as run:
            async for event in run:
                if event.kind == "attempt_noted":
                    raise LookupError("the block's own")

    with pytest.raises(LookupError, match="the block's own"):
        loop(main)
    assert body.ended
    assert engine_threads() == []


def test_an_asyncio_cancellation_cancels_the_run_waits_for_its_end_and_passes() -> None:
    body = Forever()
    kinds: list[str] = []

    async def main() -> None:
        started = asyncio.Event()

        def hear(event: Event) -> None:
            kinds.append(event.kind)
            started.set()

        running = asyncio.create_task(engine.runtime.run(body.plan(), on_event=hear))
        while "attempt_noted" not in kinds:
            started.clear()
            await started.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    with_asyncio(main)
    assert kinds[-1] == "run_ended"
    assert "cancel_asked" in kinds
    assert engine_threads() == []


def test_an_asyncio_timeout_around_a_run_is_a_timeout() -> None:
    body = Forever()

    async def main() -> None:
        async with asyncio.timeout(0.01):
            async with engine.runtime.start(body.plan()) as run:
                await run.result()

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert engine_threads() == []


@both
def test_a_failing_engine_is_heard_of(loop: Any) -> None:
    async def perform(attempt: Any) -> Any:
        raise ZeroDivisionError("our bug")

    async def main() -> None:
        plan = plan_of({"nodes": {"a": SLEEP}})
        async with engine.runtime.start(plan, perform=perform) as run:
            await run.result()

    with pytest.raises(ZeroDivisionError, match="our bug"):
        loop(main)


@both
def test_a_listener_that_raises_is_logged_once_and_harms_no_run(
    loop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def hear(event: Event) -> None:
        raise ValueError("a broken display")

    async def main() -> Result:
        return await engine.runtime.run(plan_of({"nodes": {"a": SLEEP}}), on_event=hear)

    with caplog.at_level(logging.ERROR, "engine"):
        assert loop(main).status == "succeeded"
    (record,) = caplog.records
    assert "run_started" in record.getMessage()
    assert "a broken display" in str(record.exc_text)


def test_two_runs_in_one_program_do_not_disturb_each_other() -> None:
    body = Forever()

    async def main() -> tuple[str, str]:
        async with engine.runtime.start(body.plan(), run_id="x") as first:
            async with engine.runtime.start(plan_of({"nodes": {"a": SLEEP}}), run_id="y") as second:
                ended = await second.result()
            first.cancel()
            return (await first.result()).status, ended.status

    assert with_trio(main) == ("cancelled", "succeeded")


# -- environment and secrets ----------------------------------------------------------------------


def reading(text: str) -> Plan:
    async def echo(text: str | None = None, context: Context | None = None) -> dict[str, Any]:
        assert context is not None
        context.note(f"noted {text}")
        return {"text": text, "keys": {str(text): [text]}}

    return one(echo, **{"with": {"text": text}})


@pytest.mark.parametrize("kind", ["env", "secrets"])
def test_a_name_that_is_not_set_refuses_the_run(kind: str) -> None:
    events: list[Event] = []
    plan = reading("${" + kind + ".ENGINE_TEST_UNSET}")
    with pytest.raises(InputError, match="`ENGINE_TEST_UNSET` is not set"):
        engine.run(plan, on_event=events.append)
    assert events == []


def test_a_name_that_is_not_set_may_have_a_default() -> None:
    result = engine.run(reading("${env.ENGINE_TEST_UNSET ?? 'none'}"))
    assert result.nodes["n"].output["text"] == "none"


def test_given_values_go_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_TEST", "outer")
    plan = reading("${env.ENGINE_TEST}")
    assert engine.run(plan).nodes["n"].output["text"] == "outer"
    assert engine.run(plan, env={"ENGINE_TEST": "mine"}).nodes["n"].output["text"] == "mine"


def test_a_secret_is_in_nothing_that_a_run_tells() -> None:
    events: list[Event] = []
    plan = reading("key ${secrets.TOKEN}!")
    result = engine.run(plan, secrets={"TOKEN": "s3cr3t"}, on_event=events.append)
    told = str(result.to_json()) + str([event.to_json() for event in events])
    assert "s3cr3t" not in told
    assert result.nodes["n"].output == {"text": "key ***!", "keys": {"key ***!": ["key ***!"]}}
    assert "noted key ***!" in told


def test_a_secret_is_in_no_error() -> None:
    async def fail(text: str) -> None:
        raise ValueError(f"refused {text}")

    plan = one(fail, **{"with": {"text": "${secrets.TOKEN}"}})
    events: list[Event] = []
    result = engine.run(plan, secrets={"TOKEN": "s3cr3t"}, on_event=events.append)
    assert result.nodes["n"].attempts[0].error == at_line("ValueError: refused ***", fail)
    assert "s3cr3t" not in str(result.to_json()) + str(events)


# -- how bodies end -------------------------------------------------------------------------------


class Unsayable(Exception):
    """An exception that cannot be made a text."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("bad"), "ValueError: bad"),
        (KeyError(), "KeyError"),
        (SystemExit(3), "SystemExit: 3"),
        (Unsayable(), "Unsayable"),
        (asyncio.CancelledError(), "CancelledError"),
        (ExceptionGroup("g", [ValueError("a"), KeyError("b")]), "ValueError: a; KeyError: 'b'"),
        (ValueError("x" * 9000), "ValueError: " + "x" * 3988 + " …"),
    ],
)
def test_what_a_task_raises_is_an_error(error: BaseException, message: str) -> None:
    async def fail() -> None:
        raise error

    grouped = isinstance(error, ExceptionGroup)
    assert error_of(fail) == (message if grouped or "…" in message else at_line(message, fail))


def at_line(message: str, function: Any) -> str:
    """A message with the place of a function's one line."""
    code = inspect.unwrap(function).__code__
    return f"{message} ({Path(code.co_filename).name}:{code.co_firstlineno + 1})"


def test_the_place_of_an_exception_is_the_users_innermost_line() -> None:
    def inner() -> None:
        json.loads("{")

    async def fail() -> None:
        inner()

    message = error_of(fail)
    assert message is not None
    assert message.endswith(at_line("", inner))


def test_a_thread_may_raise_too() -> None:
    @task(id="t", executor="thread")
    def fail() -> None:
        raise SystemExit("gone")

    line = fail.__code__.co_firstlineno + 2
    result = engine.run(plan_of({"nodes": {"n": {"task": "t"}}}, fail))
    assert result.nodes["n"].attempts[0].error == f"SystemExit: gone (test_api.py:{line})"


RETRY = {"attempts": 3, "delay": "1h"}


def test_a_permanent_error_is_not_retried() -> None:
    async def fail() -> None:
        raise Permanent("it is forbidden")

    node = engine.run(one(fail, retry=RETRY)).nodes["n"]
    assert [attempt.error for attempt in node.attempts] == ["it is forbidden"]


def test_a_task_may_ask_for_a_later_retry_up_to_the_limit() -> None:
    async def fail() -> None:
        raise RetryAfter(3600, "busy")

    retry = {"attempts": 2, "max_delay": "10ms"}
    node = engine.run(one(fail, retry=retry)).nodes["n"]
    first, second = node.attempts
    assert second.started - first.ended >= 0.01
    assert first.error == "busy"


@pytest.mark.parametrize("seconds", [float("nan"), -1, True, "5"])
def test_what_is_no_number_of_seconds_is_an_error(seconds: Any) -> None:
    async def busy() -> Exit:
        return Exit(0, retry_after=seconds)

    assert "not a valid number of seconds" in error_of(busy)


@pytest.mark.parametrize("code", [256, -1, True, 1.0, None, "succes"])
def test_an_exit_that_there_is_not_is_an_error(code: Any) -> None:
    async def end() -> Exit:
        return Exit(code)

    assert f"`t` has no exit `{code}`" in error_of(end)


def test_an_exit_name_that_is_nearly_right_gets_a_suggestion() -> None:
    async def end() -> Exit:
        return Exit("succes")

    assert error_of(end).endswith("did you mean `success`?")


def test_an_exit_by_name() -> None:
    @task(id="t", exits={"success": 0, "later": 7})
    async def end() -> Exit:
        return Exit("later", {"a": 1})

    node = engine.run(plan_of({"nodes": {"n": {"task": "t"}}}, end)).nodes["n"]
    assert (node.attempts[0].outcome, node.label, node.output) == (7, "later", {"a": 1})


def test_a_code_that_a_closed_task_does_not_declare_is_an_error() -> None:
    async def end() -> Exit:
        return Exit(9)

    assert "does not declare exit 9" in error_of(end)


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "value",
    [float("nan"), {"a": [float("inf")]}, object(), {1: 2}, b"x", 10**5000, LOOP, "\ud800"],
    ids=["nan", "inf", "object", "key", "bytes", "digits", "loop", "surrogate"],
)
def test_an_output_that_is_not_json_is_an_error(value: Any) -> None:
    async def end() -> Exit:
        return Exit(0, value)

    assert "output" in (message := error_of(end)) or "recursion" in message


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (Exit(0, {"b": 1}), "error"),
        (Exit(0, None), "error"),
        (Exit(3, {"b": 1}), "error"),
        (Exit(3, {"a": 1}), 3),
        (Exit(3), 3),
    ],
)
def test_an_output_that_breaks_its_schema_is_an_error_whatever_the_exit(
    end: Exit, outcome: int | str
) -> None:
    async def body(inputs: dict[str, Any], context: Context) -> Exit:
        return end

    schema = {"type": "object", "required": ["a"]}
    made = Task("t", body, output_schema=schema, exits={"success": 0, "other": 3})
    node = engine.run(plan_of({"nodes": {"n": {"task": "t"}}}, made)).nodes["n"]
    assert node.attempts[0].outcome == outcome
    assert (outcome == "error") == str(node.attempts[0].error).startswith("output: ")


def test_an_input_that_breaks_the_schema_is_one_permanent_error() -> None:
    async def take(number: int) -> None:
        raise AssertionError

    inputs = {"inputs": {"any": {}}}
    plan = one(take, inputs, **{"with": {"number": "${inputs.any}"}}, retry=RETRY)
    node = engine.run(plan, {"any": "3"}).nodes["n"]
    assert [attempt.outcome for attempt in node.attempts] == ["error"]
    assert "number" in str(node.attempts[0].error)


def test_a_task_that_changes_its_inputs_changes_nobody_elses() -> None:
    @task(id="give")
    async def give() -> dict[str, list[int]]:
        return {"items": [1, 2]}

    @task(id="spoil")
    async def spoil(items: list[int]) -> None:
        items.clear()

    reads = {"items": "${first.items}"}
    nodes = {
        "first": {"task": "give"},
        "second": {"task": "spoil", "with": reads},
    }
    result = engine.run(plan_of({"nodes": nodes}, give, spoil))
    assert result.nodes["first"].output == {"items": [1, 2]}


def test_errors_beside_a_cancellation_do_not_break_a_run() -> None:
    async def fail() -> None:
        raise ValueError("in the cleanup")

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                nursery.start_soon(fail)

    node = engine.run(one(body, timeout="10ms")).nodes["n"]
    assert node.attempts[0].outcome == "timeout"


def test_a_note_from_a_thread_is_an_event_of_its_attempt() -> None:
    @task(id="t", executor="thread")
    def say(context: Context) -> None:
        context.note("half way")

    events: list[Event] = []
    engine.run(plan_of({"nodes": {"n": {"task": "t"}}}, say), on_event=events.append)
    kinds = [event.kind for event in events]
    assert kinds[1:4] == ["attempt_started", "attempt_noted", "attempt_ended"]
    assert (events[2].path, events[2].data) == ("n/n", {"message": "half way"})


def test_what_is_said_after_the_end_is_not_heard() -> None:
    kept: list[Context] = []

    async def keep(context: Context) -> None:
        kept.append(context)

    events: list[Event] = []

    async def main() -> None:
        await engine.runtime.run(one(keep), on_event=events.append)
        kept[0].note("too late")

    trio.run(main)
    assert "attempt_noted" not in [event.kind for event in events]


def test_a_body_knows_its_attempt() -> None:
    async def tell(context: Context) -> dict[str, Any]:
        names = ("run_id", "pipeline", "node", "step", "visit", "attempt", "key", "grace")
        return {name: getattr(context, name) for name in names}

    output = node_of(tell, run_id="r", grace=2.5).output
    assert output == {
        "run_id": "r",
        "pipeline": "case",
        "node": "n",
        "step": "n",
        "visit": 1,
        "attempt": 1,
        "key": "r/n/n/1.1",
        "grace": 2.5,
    }


# -- where bodies run -----------------------------------------------------------------------------

MODULE = """
import os, threading

def where():
    return {"process": os.getpid(), "main": threading.current_thread() is threading.main_thread()}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module that bears its name, and a spec that uses it."""
    (tmp_path / f"{tmp_path.name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def spec_of(folder: Path, executor: str | None) -> Path:
    line = f'executor = "{executor}"' if executor else ""
    spec = folder / "spec.toml"
    spec.write_text(f'engine = 1\n[nodes.n]\ntask = "python:{folder.name}:where"\n{line}\n')
    return spec


@pytest.mark.parametrize(
    ("executor", "same", "main"),
    [(None, False, True), ("process", False, True), ("thread", True, False)],
)
def test_a_sync_function_runs_where_its_executor_says(
    folder: Path, executor: str | None, same: bool, main: bool
) -> None:
    output = engine.run(spec_of(folder, executor)).nodes["n"].output
    assert (output["process"] == os.getpid(), output["main"]) == (same, main)


@pytest.mark.parametrize("executor", ["async", "nowhere"])
def test_an_executor_that_cannot_run_a_function_is_found_by_the_check(
    folder: Path, executor: str
) -> None:
    assert engine.check(spec_of(folder, executor)).errors


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
@pytest.mark.parametrize("run", [in_trio, in_asyncio])
def test_a_process_that_a_cancelled_body_forgot_is_killed(run: Any) -> None:
    found: list[Any] = []

    async def forget(context: Context) -> None:
        env = children.with_token(os.environ, children.make_token())
        found.append(subprocess.Popen(["sleep", "1000"], env=env, start_new_session=True))
        await trio.sleep_forever()

    result = run(one(forget, {"pipeline": {"deadline": "50ms"}}), None)
    assert result.status == "cancelled"
    assert found[0].poll() == -signal.SIGKILL
