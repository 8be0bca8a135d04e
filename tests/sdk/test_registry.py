"""The registry: what is found under an id, what is refused, and what a broken module is told."""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from engine.api import check
from engine.compile.compiler import compile as compile_spec
from engine.language.loader import load_spec
from engine.sdk.context import Context, Exit
from engine.sdk.decorator import call_arguments, task
from engine.sdk.registry import Registry, TaskError
from engine.sdk.task import Task
from engine.toml.source import Source

CONTEXT = Context("run", "pipeline", "node", "step", 1, 1, "key")

Write = Callable[[str, str], None]


async def _body(inputs: dict[str, Any], context: Context) -> Any:
    return inputs


@task
async def greet(name: str) -> str:
    return name


@task(id="acme.shout")
def shout(text: str) -> str:
    return text.upper()


@task
class Review:
    async def execute(self, inputs: dict[str, Any]) -> Exit:
        return Exit("failure")


class Undeclared:
    async def execute(self, inputs: dict[str, Any]) -> None: ...


@pytest.fixture
def registry() -> Registry:
    return Registry({"shell": lambda: Task("shell", _body)}, entry_points=False)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a file below an empty current directory, whose modules are forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)

    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    yield write
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__spec__", "")):
            del sys.modules[name]


# --- registering and finding


def test_nothing_is_registered_by_being_declared(registry: Registry, tmp_path: Path) -> None:
    assert registry.find("greet", tmp_path) is None
    assert registry.list_ids() == ("shell",)


def test_registries_know_nothing_of_each_other(registry: Registry, tmp_path: Path) -> None:
    registry.register(greet)
    assert Registry(entry_points=False).find("greet", tmp_path) is None


@pytest.mark.parametrize(
    ("source", "id", "origin"),
    [
        (greet, "greet", f"{__name__}:greet"),
        (shout, "acme.shout", f"{__name__}:shout"),
        (Review, "Review", f"{__name__}:Review"),
        (Undeclared, "Undeclared", f"{__name__}:Undeclared"),
        (Task("raw", _body), "raw", f"{__name__}:_body"),
    ],
)
def test_what_is_registered_is_found(
    registry: Registry, tmp_path: Path, source: Any, id: str, origin: str
) -> None:
    registered = registry.register(source)
    assert registry.find(id, tmp_path) is registered
    assert registered.id == id
    assert registry.find_origin(id) == origin
    assert registry.list_ids() == tuple(sorted(["shell", id]))


@pytest.mark.parametrize("source", [greet, shout, Review, Undeclared, Task("raw", _body)])
def test_the_same_object_may_be_registered_again(registry: Registry, source: Any) -> None:
    assert registry.register(source) is registry.register(source)


def test_two_tasks_of_one_id_are_refused(registry: Registry, tmp_path: Path) -> None:
    registered = registry.register(greet)

    @task(id="greet")
    async def other() -> None: ...

    message = f"task `greet` is defined twice: {__name__}:greet and {__name__}:.*other"
    with pytest.raises(TaskError, match=message):
        registry.register(other)
    assert registry.find("greet", tmp_path) is registered


def test_a_built_in_task_is_made_once(tmp_path: Path) -> None:
    registry = Registry({"shell": lambda: Task("shell", _body)}, entry_points=False)
    assert registry.find("shell", tmp_path) is registry.find("shell", tmp_path)
    assert registry.find_origin("shell") == "built-in"


def test_built_in_tasks_that_nobody_looks_for_are_not_loaded(tmp_path: Path) -> None:
    def load() -> Task:
        raise AssertionError

    registry = Registry({"shell": load}, entry_points=False)
    registry.register(greet)
    assert registry.list_ids() == ("greet", "shell")
    assert registry.find("greet", tmp_path) is not None


def test_a_built_in_id_cannot_be_taken(registry: Registry) -> None:
    message = f"task `shell` is defined twice: built-in and {__name__}:_body"
    with pytest.raises(TaskError, match=message):
        registry.register(Task("shell", _body))


def test_a_built_in_task_itself_may_be_registered() -> None:
    shell = Task("shell", _body)
    assert Registry({"shell": lambda: shell}, entry_points=False).register(shell) is shell


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Task("a b", _body), "`a b` is not a valid task id"),
        (Task("t", _body, exits={"late": 300}), "exit `late` of task `t` is 300"),
        (
            Task("t", _body, input_schema={"type": "objekt"}),
            'input schema of task `t` is not a valid JSON Schema: `type`: expected one of .*, found "objekt"',
        ),
        (
            Task("t", _body, input_schema={"type": "array"}),
            "input schema of task `t` must describe an object",
        ),
        (Task("t", _body, input_schema={}), "input schema of task `t` must describe an object"),
        (
            Task("t", _body, input_schema=[]),  # type: ignore[arg-type]
            "input schema of task `t` is a list, not a table",
        ),
        (
            Task("t", _body, output_schema={"minimum": "1"}),
            'output schema of task `t` is not a valid JSON Schema: `minimum`: expected number, found "1"',
        ),
        (
            Task("t", _body, output_schema={"items": {"$ref": "#/$defs/gone"}}),
            r"output schema of task `t` is not a valid JSON Schema: .*: `#/.defs/gone` does not exist in it",
        ),
        (
            Task("t", _body, input_schema={"type": "object", "$ref": "#gone"}),
            r"input schema of task `t` is not a valid JSON Schema: `\$ref`: `#gone` does not exist in it",
        ),
        (3, "a value of type `int` is neither a function nor a class"),
    ],
)
def test_wrong_declarations_are_refused(registry: Registry, wrong: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        registry.register(wrong)


def test_an_unknown_id_has_no_task_and_no_origin(registry: Registry, tmp_path: Path) -> None:
    assert registry.find("shel", tmp_path) is None
    assert registry.find_origin("shel") is None


# --- an allow-list


def test_only_allowed_ids_are_found(tmp_path: Path) -> None:
    builtin = dict.fromkeys(("shell", "llm.chat", "http"), lambda: Task("x", _body))
    registry = Registry(builtin, entry_points=False, allow=["llm.*", "http"])
    assert registry.list_ids() == ("http", "llm.chat")
    assert registry.find("http", tmp_path) is not None
    with pytest.raises(TaskError) as caught:
        registry.find("shell", tmp_path)
    assert str(caught.value) == "task `shell` is not allowed here (allowed: `llm.*`, `http`)"


def test_a_function_that_is_not_allowed_is_not_imported(registry: Registry, write: Write) -> None:
    write("bomb.py", "raise SystemError")
    registry = Registry(entry_points=False, allow=["python:safe:*"])
    with pytest.raises(TaskError, match="task `python:bomb:f` is not allowed here"):
        registry.find("python:bomb:f", Path())


# --- modules


TASKS = """
from engine.sdk.decorator import task

@task
def one(x: int) -> int:
    return x

@task
class Two:
    async def execute(self, inputs): ...

def not_a_task(): ...
"""


def test_a_module_of_the_specs_folder_is_used(registry: Registry, write: Write) -> None:
    write("specs/mytasks.py", TASKS)
    used = registry.register_module("mytasks", Path("specs"))
    assert [found.id for found in used] == ["one", "Two"]
    assert registry.list_ids() == ("Two", "one", "shell")
    assert registry.find_origin("one") == "mytasks:one"


def test_a_function_of_a_module_runs_in_a_process(registry: Registry, write: Write) -> None:
    write("mytasks.py", TASKS)
    one, _ = registry.register_module("mytasks", Path())
    assert (one.executor, one.target) == ("process", "mytasks:one")


def test_imported_tasks_are_used_too(registry: Registry, write: Write) -> None:
    write("pack/__init__.py", "")
    write("pack/inner.py", TASKS)
    write("pack/outer.py", "from pack.inner import one, Two, not_a_task\nfrom pack import inner")
    registry.register_module("pack.inner", Path())
    assert [found.id for found in registry.register_module("pack.outer", Path())] == ["one", "Two"]


def test_subclasses_of_tasks_are_not_tasks(registry: Registry, write: Write) -> None:
    write("pack2/base.py", TASKS)
    write("pack2/sub.py", "from pack2 import base\nclass Sub(base.Two): ...")
    assert registry.register_module("pack2.sub", Path()) == ()


def test_globals_are_not_woken_up(registry: Registry, write: Write) -> None:
    write(
        "lazy.py",
        "class Lazy:\n"
        "    def __getattribute__(self, name):\n"
        "        raise RuntimeError(name)\n"
        "proxy = Lazy()\n",
    )
    assert registry.register_module("lazy", Path()) == ()


def test_folders_are_appended_to_the_path_once(registry: Registry, write: Write) -> None:
    write("specs/a1.py", "")
    write("specs/a2.py", "")
    before = [*sys.path]
    registry.register_module("a1", Path("specs"))
    registry.register_module("a2", Path("specs"))
    assert sys.path == [*before, str(Path("specs").resolve()), str(Path.cwd())]


def failure_to_use(registry: Registry, module: str, folder: str = ".") -> str:
    with pytest.raises(TaskError) as caught:
        registry.register_module(module, Path(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_module_is_named_with_the_nearest(registry: Registry, write: Write) -> None:
    write("mytasks.py", "")
    write("pack3/reviews.py", "")
    write("pack3/__init__.py", "")
    assert failure_to_use(registry, "mytask") == (
        "there is no module `mytask` (did you mean `mytasks`?)"
    )
    assert failure_to_use(registry, "pack3.review") == (
        "there is no module `pack3.review` (did you mean `pack3.reviews`?)"
    )
    assert failure_to_use(registry, "qqxxzz.y") == "there is no module `qqxxzz.y`"


@pytest.mark.parametrize(
    ("text", "cause", "line"),
    [
        ("x = 1\nraise ValueError('two\\nlines')", "ValueError: two lines", 2),
        ("import qqxxzz", "ModuleNotFoundError: No module named 'qqxxzz'", 1),
        ("\ndef f(:", "SyntaxError: invalid syntax", 2),
        ("import sys\nsys.exit(3)", "SystemExit: 3", 2),
        ("raise KeyboardInterrupt", None, 1),
        ("import json\n\njson.loads('{')", "JSONDecodeError: Expecting property name", 3),
        (
            "from engine.sdk.decorator import task\n@task\ndef f(*a): ...",
            "parameter `*a` of `f` cannot be passed by name (inputs are passed by name: use only",
            2,
        ),
        ("raise RuntimeError", "RuntimeError (", 1),
    ],
)
def test_a_module_that_raises_is_told_where(
    registry: Registry, write: Write, tmp_path: Path, text: str, cause: str | None, line: int
) -> None:
    write("broken.py", text)
    if cause is None:  # not a mistake of the module: it passes
        with pytest.raises(KeyboardInterrupt):
            registry.register_module("broken", Path())
        return
    message = failure_to_use(registry, "broken")
    assert message.startswith(f"module `broken` cannot be imported: {cause}")
    assert message.endswith(f"({tmp_path / 'broken.py'}:{line})")


@pytest.mark.parametrize("name", ["mytasks.", "my-tasks", "", ".relative", "tasks/a.py"])
def test_what_is_no_module_name_is_refused(registry: Registry, name: str) -> None:
    message = f"`{name}` is not the name of a module (write it as `package.module`)"
    assert failure_to_use(registry, name) == message


def test_a_module_hidden_by_another_is_refused(registry: Registry, write: Write) -> None:
    write("one/same.py", "")
    write("two/same.py", "")
    registry.register_module("same", Path("one"))
    message = failure_to_use(registry, "same", "two")
    assert message.startswith("module `same` is ")
    assert "hides two/same.py" in message


# --- functions by their name


def test_a_plain_function_is_found_by_its_name(registry: Registry, write: Write) -> None:
    write("plain.py", "def double(x: int) -> int:\n    return 2 * x\n")
    found = registry.find("python:plain:double", Path())
    assert found is not None
    assert (found.id, found.executor, found.target) == (
        "python:plain:double",
        "process",
        "plain:double",
    )
    assert found.function is not None
    assert found.function(**call_arguments(found, {"x": 2}, CONTEXT)) == 4
    assert registry.find("python:plain:double", Path()) is found
    assert registry.find_origin("python:plain:double") == "plain:double"
    assert registry.list_ids() == ("shell",)


def test_a_declared_function_keeps_its_declaration(registry: Registry, write: Write) -> None:
    write("mytasks.py", TASKS.replace("@task\ndef", "@task(exits={'late': 7})\ndef"))
    found = registry.find("python:mytasks:one", Path())
    assert found is not None
    assert (found.id, found.exits["late"]) == ("python:mytasks:one", 7)


@pytest.mark.parametrize(
    ("id", "message"),
    [
        (
            "python:mytasks:not_a_tusk",
            "`mytasks` has no `not_a_tusk` (did you mean `not_a_task`?)",
        ),
        ("python:mytask:one", "there is no module `mytask` (did you mean `mytasks`?)"),
        (
            "python:mytasks",
            "`python:mytasks` does not name a function (write `python:module:function`)",
        ),
        ("python::one", "`python::one` does not name a function (write `python:module:function`)"),
        ("python:mytasks:__name__", "`mytasks:__name__` is neither a function nor a class"),
        ("python:mytasks:one.x", "`mytasks` has no `one.x`"),
        ("python:mytasks:__name__.x", "`mytasks` has no `__name__.x`"),
    ],
)
def test_a_function_that_is_not_there(
    registry: Registry, write: Write, id: str, message: str
) -> None:
    write("mytasks.py", TASKS)
    with pytest.raises(TaskError) as caught:
        registry.find(id, Path())
    assert str(caught.value) == message


# --- entry points


@pytest.fixture
def plugin(write: Write, tmp_path: Path) -> Write:
    """Writes the module of an installed distribution, and its entry points, one a line."""

    def install(text: str, points: str) -> None:
        write("site/plugged.py", text)
        write("site/plugin-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: plugin\nVersion: 1")
        write("site/plugin-1.dist-info/entry_points.txt", f"[engine.tasks]\n{points}\n")
        sys.path.append(str(tmp_path / "site"))

    return install


RAW = "\nfrom engine.sdk.registry import Task\nasync def body(inputs, context): ...\n"


@pytest.mark.parametrize(
    ("points", "ids"),
    [
        ("x = plugged:one", ("one",)),
        ("x = plugged:Two", ("Two",)),
        ("x = plugged:raw", ("raw",)),
        ("x = plugged", ("Two", "one", "raw")),
        ("x = plugged\ny = plugged:one", ("Two", "one", "raw")),
    ],
)
def test_entry_points_give_tasks(plugin: Write, points: str, ids: tuple[str, ...]) -> None:
    plugin(TASKS + RAW + "raw = Task('raw', body)", points)
    registry = Registry()
    assert registry.list_ids() == ids
    found = registry.find(ids[0], Path())
    assert found is not None
    assert found.id == ids[0]
    assert registry.find_origin(ids[0]) == "entry point x of plugin"


def test_entry_points_can_be_left_out(plugin: Write) -> None:
    plugin(TASKS, "x = plugged")
    assert Registry(entry_points=False).list_ids() == ()


def test_a_built_in_task_is_found_without_loading_entry_points(plugin: Write) -> None:
    plugin("raise ValueError", "x = plugged")
    registry = Registry({"shell": lambda: Task("shell", _body)})
    assert registry.find("shell", Path()) is not None


@pytest.mark.parametrize(
    ("text", "points", "message"),
    [
        ("raise ValueError('no')", "x = plugged", "x of plugin cannot be loaded: ValueError: no"),
        ("", "x = plugged:f", "x of plugin cannot be loaded: AttributeError"),
        ("", "x = gone.away", "x of plugin cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_a_broken_entry_point_is_named(plugin: Write, text: str, points: str, message: str) -> None:
    plugin(text, points)
    registry = Registry()
    assert registry.find("unknown", Path()) is None
    (error,) = registry.find_entry_point_errors()
    assert error.message.startswith(f"entry point {message}")


def test_a_broken_entry_point_hides_no_other(plugin: Write) -> None:
    plugin(TASKS, "a = gone.away\nx = plugged")
    registry = Registry()
    assert registry.list_ids() == ("Two", "one")
    assert len(registry.find_entry_point_errors()) == 1


def test_a_broken_entry_point_is_told_once_a_file(plugin: Write) -> None:
    plugin("raise ValueError('no')", "x = plugged")
    nodes = "".join(f'[nodes.{name}]\ntask = "{name}"\n' for name in "abc")
    found = check(Source("x.toml", f"engine = 1\n{nodes}"), Registry())
    assert [(each.rule.code, each.span.line) for each in found] == [("E206", 3)]


def test_two_tasks_of_one_id_are_no_unknown_name(write: Write) -> None:
    write("twice.py", TASKS + "@task(id='one')\ndef other(): ...\n")
    text = 'engine = 1\npipeline.tasks = ["twice"]\n[nodes.a]\ntask = "Two"\n[nodes.b]\ntask = "x"'
    found = check(Source("x.toml", text), Registry(entry_points=False))
    assert [(each.rule.code, each.span.line) for each in found] == [("E206", 2)]
    assert "task `one` is defined twice" in found[0].message


def test_all_that_is_wrong_with_a_declaration_is_told_at_once() -> None:
    with pytest.raises(TaskError) as caught:

        @task(exits={"x": 999, "error": 3}, executor="gpu")  # type: ignore[arg-type]
        def a(*args: int) -> None: ...

    told = caught.value.message.split("; ")
    assert [each.split(" of ")[0] for each in told] == [
        "parameter `*args: int`",
        "executor `gpu`",
        "exit `x`",
        "exit `error`",
    ]


def test_a_broken_entry_point_is_told_where_a_task_is_not_found(plugin: Write) -> None:
    plugin("raise ValueError('no')", "x = plugged")
    spec, _ = load_spec(Source("x.toml", 'engine = 1\n[nodes.a]\ntask = "human"'))
    assert spec is not None
    _, found = compile_spec(spec, Registry())
    assert [each.rule.code for each in found] == ["E206"]


def test_the_id_of_an_entry_point_cannot_be_taken(plugin: Write) -> None:
    plugin(TASKS, "x = plugged")
    message = f"task `one` is defined twice: entry point x of plugin and {__name__}:_body"
    with pytest.raises(TaskError, match=message):
        Registry().register(Task("one", _body))


def test_a_projects_module_may_import_a_plugins_task(plugin: Write, write: Write) -> None:
    plugin(TASKS, "x = plugged")
    write("mytasks.py", "from plugged import one")
    registry = Registry()
    assert registry.register_module("mytasks", Path()) == (registry.find("one", Path()),)


def test_an_entry_point_cannot_take_a_built_in_id(plugin: Write) -> None:
    plugin(TASKS, "x = plugged:one")
    registry = Registry({"one": lambda: Task("one", _body)})
    (error,) = registry.find_entry_point_errors()
    assert "task `one` is defined twice: built-in and entry point x of plugin" in error.message


# --- what a sync function means for the others


def test_a_sync_function_in_a_thread_does_not_hold_up_others(registry: Registry) -> None:
    released = threading.Event()

    @task(executor="thread")
    def wait_for_the_other() -> bool:
        return released.wait(timeout=60)

    function = registry.register(wait_for_the_other).function
    assert function is not None

    async def main() -> bool:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            return await trio.to_thread.run_sync(function)

    async def other() -> None:
        released.set()

    assert trio.run(main) is True


def test_null_is_an_output_like_any_other(registry: Registry) -> None:
    async def nothing() -> None:
        return None

    assert trio.run(registry.register(nothing).body, {}, CONTEXT) is None
