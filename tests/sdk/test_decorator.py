"""Functions and classes as tasks: declarations, signatures, calls, executors, cancelling."""

from __future__ import annotations

import abc
import functools
import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

import pytest
import trio
import trio.testing

import engine.sdk.context
from engine.errors import EngineError
from engine.sdk.context import Context, Exit
from engine.sdk.decorator import as_task, call_arguments, declared_task, task, unstructure_result
from engine.sdk.registry import TaskError
from engine.sdk.task import TASK_ATTRIBUTE, Task

if TYPE_CHECKING:
    from elsewhere import Context as Foreign  # type: ignore[import-not-found]  # noqa: F401
    from elsewhere import Missing

CONTEXT = Context("run", "pipeline", "node", "step", 1, 1, "key", grace=5.0)


class Colour(Enum):
    RED = "red"


@dataclass
class Report:
    text: str
    score: int = 0


class Song(TypedDict):
    title: str


def made(declared: Any) -> Task:
    found = declared_task(declared)
    assert found is not None
    return found


def call(declared: Any, inputs: dict[str, Any] | None = None, context: Context = CONTEXT) -> Any:
    """What the body of an async task gives."""
    return trio.run(as_task(declared).body, inputs or {}, context)


def call_function(declared: Any, inputs: dict[str, Any], context: Context = CONTEXT) -> Any:
    """What a sync task gives, called as the runtime does in a thread."""
    found = as_task(declared)
    assert found.function is not None
    return unstructure_result(found.function(**call_arguments(found, inputs, context)))


# --- declarations


@task
async def greet(name: str, words: int = 3) -> str:
    """Greet somebody,
    kindly.

    And more of it.
    """
    return f"{name} {words}"


def test_a_bare_decorator_takes_all_from_the_function() -> None:
    found = made(greet)
    assert (found.id, found.name, found.description) == ("greet", "", "Greet somebody, kindly.")
    assert found.input_schema == {
        "type": "object",
        "properties": {"name": {"type": "string"}, "words": {"type": "integer", "default": 3}},
        "required": ["name"],
        "additionalProperties": False,
    }
    assert found.output_schema == {"type": "string"}
    assert (found.exits, found.open_exits) == ({"success": 0, "failure": 1}, False)
    assert (found.executor, found.function, found.target) == ("async", None, None)


def test_a_decorated_function_stays_callable() -> None:
    assert trio.run(greet, "Ada", 2) == "Ada 2"


def test_arguments_of_the_decorator_win() -> None:
    @task(
        id="acme.review",
        name="Review",
        description="Look at it",
        exits={"needs_review": 2},
        inputs={"type": "object", "required": ["text"]},
        output={"type": "integer"},
        open=True,
    )
    async def review(text: str) -> str:
        """Not this."""
        return text

    found = made(review)
    assert (found.id, found.name, found.description) == ("acme.review", "Review", "Look at it")
    assert found.exits == {"success": 0, "failure": 1, "needs_review": 2}
    assert found.input_schema == {"type": "object", "required": ["text"]}
    assert found.output_schema == {"type": "integer"}
    assert found.open_exits


def test_another_name_for_code_1_replaces_failure() -> None:
    @task(exits={"rejected": 1})
    async def review() -> None: ...

    assert made(review).exits == {"success": 0, "rejected": 1}


@pytest.mark.parametrize(
    ("exits", "message"),
    [
        ({"needs review": 2}, "exit `needs review` of task `f` is not an identifier"),
        ({"größe": 2}, "exit `größe` of task `f` is not an identifier"),
        ({"timeout": 2}, "exit `timeout` of task `f` has the name of a built-in outcome"),
        ({"late": 256}, "exit `late` of task `f` is 256, not a code from 0 to 255"),
        ({"late": -1}, "exit `late` of task `f` is -1, not a code from 0 to 255"),
        ({"late": True}, "exit `late` of task `f` is True, not a code from 0 to 255"),
        ({"late": "2"}, "exit `late` of task `f` is '2', not a code from 0 to 255"),
        ({"success": 3}, "exit `success` of task `f` is 3, but success is 0"),
        ({"ok": 0}, "exits `success` and `ok` of task `f` are both 0"),
        ({"a": 2, "b": 2}, "exits `a` and `b` of task `f` are both 2"),
        (["a"], r"exits must be a mapping of names to codes, not \['a'\]"),
    ],
)
def test_bad_exits_are_refused(exits: Any, message: str) -> None:
    async def f() -> None: ...

    with pytest.raises(TaskError, match=message):
        task(exits=exits)(f)


@pytest.mark.parametrize("id", ["a b", "acme.", "python:m:f", "1st", 3])
def test_bad_ids_are_refused(id: Any) -> None:
    async def f() -> None: ...

    with pytest.raises(TaskError, match=f"`{id}` is not a valid task id"):
        task(id=id)(f)


def _variadic(*texts: str) -> None: ...
def _positional(text: str, /) -> None: ...
def _generator() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (_variadic, r"parameter `\*texts: 'str'` of `_variadic` cannot be passed by name"),
        (_positional, "parameter `text: 'str'` of `_positional` cannot be passed by name"),
        (math.sqrt, "cannot be passed by name"),
        (_generator, "`_generator` is a generator: a task must return one value"),
        ("acme.res", 'pass the id as a keyword: `@task.id="acme.res".`'),
        (3, "a value of type `int` is neither a function nor a class"),
        (dict.fromkeys, "cannot be passed by name|no signature"),
    ],
)
def test_what_cannot_be_a_task_is_refused(declared: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        task(declared)


def test_a_method_is_refused() -> None:
    with pytest.raises(TaskError, match=r"`.*Job\.run` is a method"):

        class Job:
            @task
            async def run(self, text: str) -> None: ...


def test_declaring_twice_is_refused() -> None:
    with pytest.raises(TaskError, match="`greet` is already declared as task `greet`"):
        task(id="again")(greet)


def test_a_wrapper_of_a_declared_function_may_be_declared_too() -> None:
    @functools.wraps(greet)
    async def louder(name: str) -> str:
        return (await greet(name)).upper()

    assert made(task(id="louder")(louder)).id == "louder"
    assert made(greet).id == "greet"


# --- signatures


def _properties(function: Callable[..., Any]) -> Any:
    schema = as_task(function).input_schema
    assert schema is not None
    return schema["properties"]


def _no_hint(it):  # type: ignore[no-untyped-def]
    ...


def _unresolvable(it: Missing, other: int) -> None: ...
def _annotated(it: Annotated[int, {"minimum": 1}]) -> None: ...
def _literal(it: Literal["a", "b"] = "a") -> None: ...
def _enum(it: Colour = Colour.RED) -> None: ...
def _none(it: str = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013
def _not_json(it: Any = math) -> None: ...
def _instance(it: Report) -> None: ...


@pytest.mark.parametrize(
    ("function", "schema"),
    [
        (_no_hint, {}),
        (_unresolvable, {}),
        (_annotated, {"type": "integer", "minimum": 1}),
        (_literal, {"enum": ["a", "b"], "default": "a"}),
        (_enum, {"enum": ["red"], "default": "red"}),
        (_none, {"type": ["string", "null"], "default": None}),
        (_not_json, {}),
        (
            _instance,
            {
                "type": "object",
                "properties": {"text": {"type": "string"}, "score": {"type": "integer"}},
                "required": ["text"],
                "additionalProperties": False,
            },
        ),
    ],
)
def test_a_parameter_gives_its_schema(function: Callable[..., Any], schema: Any) -> None:
    assert _properties(function)["it"] == schema


def test_one_unresolvable_annotation_does_not_spoil_the_others() -> None:
    assert _properties(_unresolvable)["other"] == {"type": "integer"}


def _open(**rest: Any) -> dict[str, Any]:
    return rest


def _open_colours(**rest: Colour) -> list[str]:
    return [colour.name for colour in rest.values()]


def test_keyword_arguments_open_the_schema() -> None:
    assert as_task(_open).input_schema == {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": True,
    }
    schema = as_task(_open_colours).input_schema
    assert schema is not None
    assert schema["additionalProperties"] == {"enum": ["red"]}
    assert call_function(_open_colours, {"a": "red"}) == ["RED"]


def _returns_nothing() -> None: ...
def _returns_anything() -> Any: ...
def _returns_exit() -> Exit: ...  # type: ignore[empty-body]
def _returns_exit_or_none() -> Exit | None: ...
def _returns_unknown() -> Missing: ...
def _returns_class() -> TaskError: ...  # type: ignore[empty-body]
def _returns_list() -> list[int]: ...  # type: ignore[empty-body]
def _returns_int_or_exit() -> int | Exit: ...  # type: ignore[empty-body]
def _returns_song() -> Song: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("function", "schema"),
    [
        (_no_hint, None),
        (_returns_nothing, None),
        (_returns_anything, None),
        (_returns_exit, None),
        (_returns_exit_or_none, None),
        (_returns_unknown, None),
        (_returns_class, None),
        (_returns_list, {"type": "array", "items": {"type": "integer"}}),
        (_returns_int_or_exit, {"type": "integer"}),
        (
            _returns_song,
            {
                "type": "object",
                "properties": {"title": {"type": "string"}},
                "required": ["title"],
                "additionalProperties": False,
            },
        ),
    ],
)
def test_a_return_annotation_gives_the_output_schema(
    function: Callable[..., Any], schema: Any
) -> None:
    assert as_task(function).output_schema == schema


# --- context


async def _by_name(text: str, context: Any) -> Any:
    return [text, context.node]


async def _by_hint(text: str, it: Context) -> Any:
    return [text, it.node]


async def _optional(text: str, it: Context | None = None) -> Any:
    return [text, it and it.node]


async def _by_module(text: str, it: engine.context.Context) -> Any:
    return [text, it.node]


@pytest.mark.parametrize("function", [_by_name, _by_hint, _optional, _by_module])
def test_the_context_is_given_and_is_no_input(function: Any) -> None:
    assert list(_properties(function)) == ["text"]
    assert call(function, {"text": "a"}) == ["a", "node"]


def test_a_context_imported_for_types_only_is_known_by_its_name() -> None:
    async def f(it) -> Any: ...  # type: ignore[no-untyped-def]

    f.__annotations__["it"] = "elsewhere.Context"
    assert _properties(f) == {}


def test_arguments_of_a_task_without_a_signature_are_its_inputs() -> None:
    async def body(inputs: dict[str, Any], context: Context) -> Any: ...

    inputs = {"a": 1}
    assert call_arguments(Task("t", body), inputs, CONTEXT) == inputs


def test_a_context_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(CONTEXT)) == CONTEXT


# --- calls and results


@pytest.mark.parametrize(
    ("returned", "result"),
    [
        (None, None),
        ({"a": 1}, {"a": 1}),
        ({"error": None, "status": "failed"}, {"error": None, "status": "failed"}),
        (Report("a"), {"text": "a", "score": 0}),
        ([Report("a")], [{"text": "a", "score": 0}]),
        (Exit("needs_review", {"a": 1}), Exit("needs_review", {"a": 1})),
        (Exit(2, Report("a")), Exit(2, {"text": "a", "score": 0})),
    ],
)
def test_a_return_is_the_output_or_the_exit(returned: Any, result: Any) -> None:
    async def f() -> Any:
        return returned

    assert call(f) == result


def test_arguments_are_what_their_hints_promise() -> None:
    def f(report: Any, colour: Any, pair: Any) -> Any:
        return [report, colour, pair]

    f.__annotations__ = {"report": Report, "colour": Colour, "pair": tuple[int, int]}
    inputs = {"report": {"text": "a"}, "colour": "red", "pair": [1, 2]}
    arguments = call_arguments(as_task(f), inputs, CONTEXT)
    assert arguments == {"report": Report("a"), "colour": Colour.RED, "pair": (1, 2)}


def test_what_a_function_raises_comes_out() -> None:
    async def f() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        call(f)


def test_a_sync_wrapper_of_an_async_function_is_async() -> None:
    @functools.wraps(greet)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return greet(*args, **kwargs)

    assert call(wrapper, {"name": "Ada"}) == "Ada 3"


# --- executors


@task
def shout(text: str) -> str:
    return text.upper()


@task(executor="thread")
def shout_in_thread(text: str) -> str:
    return text.upper()


@task(executor="process")
def shout_in_process(text: str) -> str:
    return text.upper()


@task(executor="async")
def shout_at_once(text: str) -> str:
    return text.upper()


def _decorated_above(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(**given: Any) -> Any:
        return function(**given)

    return wrapper


@_decorated_above
@task
def hidden(text: str) -> str:
    return text


def test_a_sync_function_is_called_as_it_is() -> None:
    assert shout("a") == "A"
    assert call_function(shout, {"text": "a"}) == "A"


@pytest.mark.parametrize(
    ("declared", "executor", "target"),
    [
        (shout, "process", f"{__name__}:shout"),
        (shout_in_process, "process", f"{__name__}:shout_in_process"),
        (shout_in_thread, "thread", None),
        (shout_at_once, "async", None),
        (hidden, "thread", None),
        (_open, "process", f"{__name__}:_open"),
    ],
)
def test_where_a_sync_function_runs(declared: Any, executor: str, target: str | None) -> None:
    found = as_task(declared)
    assert (found.executor, found.target) == (executor, target)


def test_before_it_is_settled_a_function_is_safe_in_a_thread() -> None:
    assert made(shout).executor == "thread"


def test_a_local_function_runs_in_a_thread() -> None:
    @task
    def local() -> None: ...

    assert (as_task(local).executor, as_task(local).target) == ("thread", None)
    assert as_task(local).function is local


def test_a_function_of_the_main_module_runs_in_a_thread() -> None:
    def f() -> None: ...

    f.__module__, f.__qualname__ = "__main__", "f"
    assert as_task(f).executor == "thread"


def test_a_sync_function_in_the_runs_own_thread_has_a_body() -> None:
    assert call(shout_at_once, {"text": "a"}) == "A"


def test_the_body_of_a_sync_function_refuses() -> None:
    with pytest.raises(EngineError, match="`shout` is a sync function"):
        call(shout, {"text": "a"})


def test_a_process_for_a_local_function_is_refused() -> None:
    with pytest.raises(TaskError, match="task `local` cannot run in a process"):

        @task(executor="process")
        def local() -> None: ...


def test_a_process_for_a_hidden_function_is_refused() -> None:
    def shout() -> None: ...

    shout.__qualname__ = "shout"
    declared = task(executor="process")(shout)
    with pytest.raises(TaskError, match=f"`{__name__}:shout` is not this function"):
        as_task(declared)


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_an_async_function_runs_nowhere_else(executor: Any) -> None:
    async def f() -> None: ...

    with pytest.raises(TaskError, match=f"is async, and executor `{executor}` cannot run that"):
        task(executor=executor)(f)


def test_an_unknown_executor_is_refused() -> None:
    with pytest.raises(TaskError, match=r"executor `gpu` of `.*` must be async, thread or process"):
        task(executor="gpu")(lambda: None)  # type: ignore[call-overload]


def test_a_lambda_needs_an_id() -> None:
    with pytest.raises(TaskError, match="`<lambda>` is not a valid task id"):
        task(lambda: None)
    assert as_task(task(id="nothing")(lambda: None)).executor == "thread"


# --- classes, in the manner of both predecessors


class Base(abc.ABC):
    @property
    @abc.abstractmethod
    def id(self) -> str: ...

    @abc.abstractmethod
    async def execute(self, inputs: dict[str, Any]) -> dict[str, Any]: ...


@task
class Fetch(Base):
    """Fetch a page."""

    @property
    def id(self) -> str:
        return "acme.fetch"

    @property
    def name(self) -> str:
        return "Fetch"

    @property
    def description(self) -> str:
        return "Fetch one page"

    def get_input_schema(self) -> dict[str, Any]:
        return {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]}

    async def execute(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {"page": inputs["url"]}


@task
class Review:
    """Review a text.

    With care.
    """

    name = "Review"
    inputs = {"type": "object", "properties": {"text": {"type": "string"}}}  # noqa: RUF012
    exits = {"needs_revision": 2}  # noqa: RUF012

    async def execute(self, inputs: dict[str, Any], context: Context) -> Exit:
        return Exit("needs_revision", [inputs["text"], context.node])


def test_a_class_with_properties_and_methods() -> None:
    found = made(Fetch)
    assert (found.id, found.name, found.description) == ("acme.fetch", "Fetch", "Fetch one page")
    assert found.input_schema is not None
    assert found.input_schema["required"] == ["url"]
    assert found.output_schema == {"type": "object"}
    assert call(Fetch, {"url": "a"}) == {"page": "a"}


def test_a_class_with_attributes_exits_and_context() -> None:
    found = made(Review)
    assert (found.id, found.description) == ("Review", "Review a text.")
    assert found.input_schema == {"type": "object", "properties": {"text": {"type": "string"}}}
    assert found.exits == {"success": 0, "failure": 1, "needs_revision": 2}
    assert call(Review, {"text": "a"}) == Exit("needs_revision", ["a", "node"])


def test_arguments_of_the_decorator_win_over_the_class() -> None:
    @task(id="acme.again", inputs={"type": "object"}, output={"type": "array"}, exits={"late": 9})
    class Again(Review):
        pass

    found = made(Again)
    assert (found.id, found.input_schema) == ("acme.again", {"type": "object"})
    assert (found.output_schema, found.exits["late"]) == ({"type": "array"}, 9)


def test_a_subclass_is_not_declared_by_its_base() -> None:
    class Sub(Review):
        name = "Sub"

    assert declared_task(Sub) is None
    assert as_task(Sub).name == "Sub"


def test_each_attempt_has_a_fresh_instance() -> None:
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        async def execute(self, inputs: dict[str, Any]) -> int:
            self.count += 1
            return self.count

    found = as_task(Counter)
    assert [trio.run(found.body, {}, CONTEXT) for _ in range(2)] == [1, 1]


def test_a_class_is_only_instantiated_to_ask_it() -> None:
    class Plain:
        id = "plain"
        inputs = {"type": "object"}  # noqa: RUF012

        def __init__(self) -> None:
            raise AssertionError

        async def execute(self, inputs: dict[str, Any]) -> None: ...

    assert as_task(Plain).id == "plain"


class _Sync:
    def execute(self, inputs: Any) -> None: ...


class _Arguments:
    def __init__(self, url: str) -> None: ...
    async def execute(self, inputs: Any) -> None: ...


class _NoInputs:
    async def execute(self) -> None: ...


class _TooMany:
    async def execute(self, inputs: Any, context: Any, more: Any) -> None: ...


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (_Sync, "`_Sync` has no `execute` to run"),
        (Report, "`Report` has no `execute` to run"),
        (Base, "`Base` has no `execute` to run"),
        (_Arguments, "`_Arguments` cannot be instantiated without arguments: .*'url'"),
        (_NoInputs, "`execute` of `_NoInputs` must take `inputs`, or `inputs` and `context`"),
        (_TooMany, "`execute` of `_TooMany` must take `inputs`, or `inputs` and `context`"),
    ],
)
def test_a_class_that_cannot_run_is_refused(declared: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        task(declared)


def test_a_class_runs_in_no_process() -> None:
    with pytest.raises(
        TaskError, match="`Fetch2` is async, and executor `process` cannot run that"
    ):
        task(executor="process")(type("Fetch2", (Fetch,), {}))


def test_an_optional_third_parameter_is_not_the_context_by_accident() -> None:
    class Dry:
        async def execute(self, inputs: dict[str, Any], dry: bool = False) -> Any:
            return dry

    class Optional:
        async def execute(self, inputs: dict[str, Any], context: Context | None = None) -> Any:
            return context is CONTEXT

    assert call(Dry) is False
    assert call(Optional) is True


# --- cancelling


class Sleeper:
    """Sleeps until it is cancelled, and says what happened."""

    said: list[str]
    cancel_for: float = 1.0

    async def execute(self, inputs: dict[str, Any]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)

    async def cancel(self) -> None:
        self.said.append("begun")
        await trio.sleep(self.cancel_for)
        self.said.append("ended")


def cancelled_after(seconds: float, cls: type) -> tuple[list[str], float]:
    """What an attempt says that is cancelled after `seconds`, and when it has ended."""
    cls.said = []  # type: ignore[attr-defined]
    body = as_task(cls).body

    async def main() -> float:
        began = trio.current_time()
        with trio.move_on_after(seconds) as scope:
            await body({}, CONTEXT)
        assert scope.cancelled_caught
        return trio.current_time() - began

    lasted = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return cls.said, lasted  # type: ignore[attr-defined]


def test_cancel_is_called_once_and_shielded() -> None:
    assert cancelled_after(2, Sleeper) == (["begun", "ended"], 3)


def test_cancel_has_the_grace_period_and_no_more() -> None:
    class Slow(Sleeper):
        cancel_for = 100.0

    assert cancelled_after(2, Slow) == (["begun"], 2 + CONTEXT.grace)


def test_cancel_may_be_sync() -> None:
    class Quick(Sleeper):
        def cancel(self) -> None:  # type: ignore[override]
            self.said.append("cancelled")

    assert cancelled_after(2, Quick) == (["cancelled"], 2)


def test_a_cancel_that_fails_does_not_swallow_the_cancellation() -> None:
    class Broken(Sleeper):
        async def cancel(self) -> None:
            self.said.append("begun")
            raise LookupError

    assert cancelled_after(2, Broken) == (["begun"], 2)


@pytest.mark.parametrize("error", [LookupError("gone"), ExceptionGroup("", [LookupError("gone")])])
def test_cancel_is_not_called_when_the_attempt_fails(error: Exception) -> None:
    said: list[str] = []

    class Failing:
        async def execute(self, inputs: dict[str, Any]) -> None:
            raise error

        def cancel(self) -> None:
            said.append("cancelled")

    with pytest.raises(type(error)):
        call(Failing)
    assert said == []


# --- what it costs


def test_declaring_imports_neither_trio_nor_jsonschema() -> None:
    code = (
        "import sys; from engine.sdk.decorator import task; task(id='a')(lambda x: 1);"
        "print([m for m in ('trio', 'networkx', 'httpx', 'jsonschema') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_mark_is_the_documented_attribute() -> None:
    assert TASK_ATTRIBUTE == "__engine_task__"
    assert isinstance(greet.__engine_task__, Task)  # type: ignore[attr-defined]
