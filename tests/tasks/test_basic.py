"""The built-in tasks, but http: what they declare, and what they do with real commands."""

import os
import subprocess
import sys
import tomllib
from typing import Any

import pytest
import tomli_w
import trio
import trio.testing
from jsonschema import Draft202012Validator

import engine
from engine import tasks
from engine.sdk.context import Context, Exit, Failure, Permanent


def context(folder: Any = ".", notes: list[str] | None = None) -> Context:
    note = (lambda _: None) if notes is None else notes.append
    return Context("r", "p", "n", "s", 1, 1, "k", folder=str(folder), grace=1.0, note=note)


def do(id: str, inputs: dict[str, Any], given: Context | None = None) -> Any:
    task = tasks.load_builtin(id)
    Draft202012Validator(task.input_schema).validate(inputs)

    async def main() -> Any:
        with trio.fail_after(20):
            if task.function is not None:
                return task.function(inputs, given or context())
            return await task.body(inputs, given or context())

    returned = trio.run(main)
    output = returned.output if isinstance(returned, Exit) else returned
    Draft202012Validator(task.output_schema).validate(output)
    return returned


def fits(id: str, inputs: dict[str, Any]) -> bool:
    return Draft202012Validator(tasks.load_builtin(id).input_schema).is_valid(inputs)


@pytest.mark.parametrize("id", tasks.builtin_ids())
class TestDeclaration:
    def test_id_is_that_of_the_table(self, id):
        assert tasks.load_builtin(id).id == id

    def test_schemas_are_schemas(self, id):
        Draft202012Validator.check_schema(tasks.load_builtin(id).input_schema)
        Draft202012Validator.check_schema(tasks.load_builtin(id).output_schema)

    def test_each_property_is_described(self, id):
        for schema in (tasks.load_builtin(id).input_schema, tasks.load_builtin(id).output_schema):
            for name, part in schema.get("properties", {}).items():
                assert part.get("description"), name

    def test_example_is_one_node_of_this_task(self, id):
        task, example = tasks.load_builtin(id), tomllib.loads(tasks.load_builtin(id).example)
        (shown,) = example["nodes" if task.open_resource is None else "resources"].values()
        assert shown["task"] == id
        assert fits(id, shown.get("with", {}))

    def test_it_says_what_it_is(self, id):
        assert tasks.load_builtin(id).name
        assert tasks.load_builtin(id).description


def test_loading_all_imports_neither_trio_nor_httpx():
    code = "import sys; from engine import tasks; [tasks.load_builtin(id) for id in tasks.builtin_ids()]; "
    code += "print([name for name in ('trio', 'httpx') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_a_task_that_is_not_there():
    with pytest.raises(KeyError):
        tasks.load_builtin("nothing")


class TestShell:
    def test_status_is_the_exit(self):
        done = do("shell", {"command": "echo out; echo err >&2; exit 3", "shell": True})
        assert done == Exit(3, {"stdout": "out", "stderr": "err", "status": 3})

    def test_no_shell_reads_the_arguments(self):
        assert do("shell", {"argv": ["echo", "$HOME;*"]}).output["stdout"] == "$HOME;*"

    def test_one_newline_is_taken_off(self):
        assert do("shell", {"argv": ["printf", "a\\n\\n"]}).output["stdout"] == "a\n"

    def test_bytes_that_are_not_text_are_marked(self):
        assert do("shell", {"argv": ["printf", "\\377"]}).output["stdout"] == "\ufffd"

    def test_lines(self):
        inputs = {"argv": ["printf", "a\\n\\nb\\n"], "output": "lines"}
        assert do("shell", inputs).output["stdout"] == ["a", "", "b"]

    def test_no_lines(self):
        assert do("shell", {"argv": ["true"], "output": "lines"}).output["stdout"] == []

    def test_json(self):
        inputs = {"argv": ["echo", '{"a": [1.5]}'], "output": "json"}
        assert do("shell", inputs).output["stdout"] == {"a": [1.5]}

    @pytest.mark.parametrize("text", ["", "{", "NaN", "[Infinity]"])
    def test_what_is_not_json_is_an_error_after_success(self, text):
        with pytest.raises(Failure, match=r"^the output of `echo` is not JSON: "):
            do("shell", {"argv": ["echo", text], "output": "json"})

    def test_what_is_not_json_is_text_after_failure(self):
        inputs = {"command": "echo oops; exit 1", "shell": True, "output": "json"}
        assert do("shell", inputs).output["stdout"] == "oops"

    def test_death_by_signal_is_an_error(self):
        with pytest.raises(Failure, match=r"^killed by SIGKILL$"):
            do("shell", {"command": "kill -KILL $$", "shell": True})

    def test_missing_command_is_an_error(self):
        with pytest.raises(Failure, match="`no-such-command`"):
            do("shell", {"argv": ["no-such-command"]})

    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            ({"argv": [""]}, "the first item of `argv` is empty"),
            ({"argv": ["a", "b\0"]}, "contains a null character"),
            ({"argv": ["true"], "cwd": "\0"}, "contains a null character"),
            ({"argv": ["true"], "env": {"A": "\0"}}, "contains a null character"),
            ({"argv": ["true"], "env": {"A=B": "c"}}, "`A=B` cannot be the name of"),
            ({"argv": ["true"], "env": {"": "c"}}, "is empty"),
        ],
    )
    def test_what_no_program_can_be_started_with_is_told(self, inputs, message):
        with pytest.raises(Permanent, match=message):
            do("shell", inputs)

    def test_json_that_is_nested_too_deeply_is_told(self):
        code = "print('[' * 100_000 + ']' * 100_000)"
        with pytest.raises(Failure, match="the value is nested too deeply"):
            do("shell", {"argv": [sys.executable, "-c", code], "output": "json"})

    def test_it_runs_in_the_folder_of_the_spec(self, tmp_path):
        done = do("shell", {"argv": ["pwd", "-P"]}, context(tmp_path))
        assert done.output["stdout"] == str(tmp_path.resolve())

    def test_cwd_is_relative_to_that_folder(self, tmp_path):
        (tmp_path / "sub").mkdir()
        done = do("shell", {"argv": ["pwd", "-P"], "cwd": "sub"}, context(tmp_path))
        assert done.output["stdout"] == str(tmp_path.resolve() / "sub")

    def test_env_is_added(self, monkeypatch):
        monkeypatch.setenv("ENGINE_TEST_A", "a")
        inputs = {"command": "echo $ENGINE_TEST_A $B", "shell": True, "env": {"B": "b"}}
        assert do("shell", inputs).output["stdout"] == "a b"

    def test_env_of_the_engine_stays_as_it_is(self):
        before = dict(os.environ)
        do("shell", {"argv": ["true"], "env": {"B": "b"}})
        assert dict(os.environ) == before

    def test_stdin_is_fed(self):
        assert do("shell", {"argv": ["cat"], "stdin": "ü"}).output["stdout"] == "ü"

    def test_lines_of_stderr_are_progress(self):
        notes: list[str] = []
        do("shell", {"command": "echo one >&2; echo two >&2", "shell": True}, context(notes=notes))
        assert notes == ["one", "two"]

    def test_a_stream_is_told_in_the_order_it_comes_and_is_no_output(self):
        notes: list[str] = []
        line = "echo one; echo two >&2; echo three"
        given = {"command": line, "shell": True, "output": "stream"}
        done = do("shell", given, context(notes=notes))
        assert notes == ["one", "two", "three"]
        assert done.output == {"stdout": "", "stderr": "one\ntwo\nthree", "status": 0}

    @pytest.mark.parametrize(
        "inputs",
        [
            {},
            {"argv": []},
            {"argv": ["echo", 1]},
            {"argv": "echo"},
            {"command": "true"},
            {"command": "true", "shell": False},
            {"argv": ["true"], "shell": True},
            {"argv": ["true"], "command": "true", "shell": True},
            {"argv": ["true"], "env": {"A": 1}},
            {"argv": ["true"], "output": "yaml"},
            {"argv": ["true"], "timeout": "1s"},
        ],
        ids=str,
    )
    def test_inputs_that_do_not_fit(self, inputs):
        assert not fits("shell", inputs)


class TestSleep:
    @pytest.mark.parametrize(
        ("inputs", "seconds"),
        [({"seconds": 0}, 0), ({"seconds": 2.5}, 2.5), ({"duration": "1m30s"}, 90)],
        ids=str,
    )
    def test_it_waits_as_long(self, inputs, seconds):
        async def main() -> tuple[Any, float]:
            started = trio.current_time()
            return await tasks.load_builtin("sleep").body(
                inputs, context()
            ), trio.current_time() - started

        clock = trio.testing.MockClock(autojump_threshold=0)
        assert trio.run(main, clock=clock) == (None, seconds)

    @pytest.mark.parametrize(
        "inputs",
        [
            {},
            {"seconds": -1},
            {"seconds": "1"},
            {"duration": "soon"},
            {"duration": 1},
            {"seconds": 1, "duration": "1s"},
        ],
        ids=str,
    )
    def test_inputs_that_do_not_fit(self, inputs):
        assert not fits("sleep", inputs)

    def test_a_duration_whose_units_rise_is_refused_for_good(self):
        with pytest.raises(Permanent, match="`1s1m` is not a duration"):
            do("sleep", {"duration": "1s1m"})


@pytest.mark.parametrize("id", ["collect", "pass"])
def test_collect_and_pass_give_what_they_got(id):
    assert do(id, {"a": 1, "b": {"c": [None]}}) == {"a": 1, "b": {"c": [None]}}


class TestFail:
    def test_it_fails_with_its_message(self):
        notes = []
        done = do("fail", {"message": "why"}, context(notes=notes))
        assert done == Exit(1, {"message": "why"}, permanent=True)
        assert notes == ["why"]

    def test_code_is_the_exit(self):
        assert do("fail", {"message": "why", "code": 7}).code == 7

    @pytest.mark.parametrize("code", [0, 256, "7"])
    def test_code_is_no_success_and_no_other_thing(self, code):
        assert not fits("fail", {"message": "why", "code": code})

    def test_a_named_code_is_the_label_of_a_run_that_says_so(self, tmp_path):
        given = {"message": "why", "code": 7}
        node = {"task": "fail", "with": given, "exits": {"odd": 7}, "allow_failure": True}
        (tmp_path / "a.toml").write_text(tomli_w.dumps({"engine": 1, "nodes": {"a": node}}))
        result = engine.run(tmp_path / "a.toml")
        found = result.nodes["a"]
        assert (found.result, found.label, found.output) == ("failed", "odd", {"message": "why"})

    def test_the_check_knows_that_it_never_succeeds(self, tmp_path):
        doc = {"engine": 1, "nodes": {"a": {"task": "fail", "with": {"message": "why"}}}}
        (tmp_path / "a.toml").write_text(tomli_w.dumps(doc))
        assert [each.rule.code for each in engine.check(tmp_path / "a.toml")] == ["E402"]
