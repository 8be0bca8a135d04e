"""The command line as its users meet it: statuses, streams, messages, signals, terminals."""

from __future__ import annotations

import ast
import importlib.metadata
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.cli import main
from engine.cli.console import Console
from engine.cli.spec_files import find_specs
from engine.diagnostics import Diagnostic, Diagnostics, Rule
from engine.toml.source import Source, Span

ROOT = Path(__file__).parents[2]
SOUND = 'engine = 1\n[nodes.a]\ntask = "sleep"\nwith = { seconds = 0 }\n'
BROKEN = 'engine = 1\n[nodes.a]\ntask = "slep"\n'
FAILS = 'engine = 1\n[nodes.a]\ntask = "shell"\nwith = { argv = ["false"] }\n'

Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a file into a folder that is the current one; gives its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def put(name: str, text: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return name

    return put


def command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "engine", *argv]


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if "COLOR" not in key}
    return kept | {"PYTHONPATH": str(ROOT), "TERM": "xterm"} | more


def launch(argv: Sequence[str], **streams: Any) -> subprocess.CompletedProcess[str]:
    streams = streams or {"capture_output": True}
    return subprocess.run(argv, text=True, timeout=60, env=environment(), check=False, **streams)


def spawn(*argv: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    return launch(command(*argv), **streams)


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    status = main.main(argv)
    return (status, *capsys.readouterr())


# -- the package -------------------------------------------------------------------------------


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, engine; heavy = 'trio networkx httpx attrs argparse jsonschema'.split(); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = launch([sys.executable, "-c", code])
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("when", ["inputs.n + 1 > 3", "${inputs.sure}"])
def test_a_check_imports_what_it_needs(tmp_path: Path, when: str) -> None:
    inputs = "[inputs]\nn = { type = 'integer' }\nsure = { type = 'boolean' }\n"
    (tmp_path / "a.toml").write_text(
        f"engine = 1\n{inputs}[nodes.a]\ntask = 'sleep'\nwith = {{ seconds = 0 }}\nwhen = '{when}'\n"
    )
    heavy = "trio networkx jsonschema prompt_toolkit rich cel.cli engine.analysis.bounds engine.cli.commands.run"
    code = (
        f"import sys, engine.cli.main; engine.cli.main.main(['check', 'a.toml', '--ignore', 'W701']); "
        f"print([name for name in '{heavy}'.split() if name in sys.modules], 'cel.cel' in sys.modules)"
    )
    done = launch([sys.executable, "-c", code], cwd=tmp_path, capture_output=True)
    assert done.stdout == f"no problems found in 1 file\n[] {'+' in when}\n"


def test_the_library_of_cel_may_be_imported_as_a_whole_besides() -> None:
    code = "from engine.expressions.cel import compile_cel; import cel; print(cel.compile is compile_cel)"
    done = launch([sys.executable, "-c", code])
    assert done.stdout == "True\n"


@pytest.mark.parametrize("name", engine.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(engine, name) is not None
    assert name in dir(engine)


def test_a_name_that_is_not_public_is_told() -> None:
    with pytest.raises(AttributeError, match="`engine` has no attribute `chek`"):
        engine.chek  # type: ignore[attr-defined]  # noqa: B018


def test_type_checkers_see_what_is_loaded_lazily() -> None:
    tree = ast.parse((ROOT / "engine" / "__init__.py").read_text())
    seen = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    loaded = engine._HOME | dict.fromkeys(engine._MODULES, "engine")
    assert seen == loaded
    assert {*loaded, "__version__"} == set(engine.__all__)


def test_the_version_is_that_of_the_distribution() -> None:
    assert engine.__version__ == importlib.metadata.version("engine")


# -- arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [(), *((name,) for name in main.COMMANDS)])
def test_help_begins_with_examples(
    argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = printed(capsys, *argv, "--help")
    assert status == 0
    assert out.startswith("examples:\n  engine ")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "--version") == (0, f"engine {engine.__version__}\n", "")


@pytest.mark.parametrize(
    "argv, message",
    [
        (["chek", "a"], "there is no command `chek`, did you mean `check`?"),
        ([], "the following arguments are required: COMMAND"),
        (["run"], "the following arguments are required: SPEC"),
        (["check", "a", "--formt", "json"], "unrecognized arguments: --formt json"),
        (["run", "a", "b"], "unrecognized arguments: b"),
        (
            ["runs", "--limit", "-1"],
            "--limit: `-1` is not a valid number of runs: write 1 or more",
        ),
        (
            ["simulate", "a", "--min-coverage", "900"],
            "--min-coverage: `900` is not a valid percentage: write 0 to 100",
        ),
    ],
)
def test_a_wrong_call_is_one_line_and_2(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = printed(capsys, *argv)
    assert (status, out) == (2, "")
    assert err.splitlines()[0] == f"error: {message}"
    assert "--help" in err.splitlines()[1]


def test_an_interrupt_outside_of_a_run_is_130(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("engine.api.check", interrupted)
    assert main.main(["check", write("a.toml", SOUND)]) == 130


# -- check -------------------------------------------------------------------------------------


def test_check_of_a_sound_file(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "check", write("a.toml", SOUND)) == (
        0,
        "no problems found in 1 file\n",
        "",
    )


def test_check_ends_with_a_summary(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = printed(capsys, "check", write("a.toml", BROKEN), write("b.toml", SOUND))
    assert (status, err) == (1, "")
    assert out.startswith("error[E201 unknown-name]")
    assert out.splitlines()[-3:] == [
        "found 1 error in 1 of 2 files",
        "can be fixed: 1 with `--fix`",
        "`engine explain E201` explains more",
    ]


@pytest.mark.parametrize("form", [["--json"], ["--format", "json"]])
def test_check_as_json(form: list[str], write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = printed(capsys, "check", write("a.toml", BROKEN), *form)
    (found,) = json.loads(out)
    assert (status, found["code"], found["path"], found["line"]) == (1, "E201", "a.toml", 3)


def test_check_concise_is_a_line_a_finding(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = printed(capsys, "check", write("a.toml", BROKEN), "--format", "concise")
    assert (status, out.count("\n")) == (1, 1)
    assert out.startswith("a.toml:3:8: E201 unknown-name: ")


def test_check_with_warnings_alone_succeeds(
    write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = Rule("W999", "odd", "it is odd")
    found = Diagnostic(rule, "this is odd", Source("a.toml", SOUND), Span(1, 1, 1, 7))
    monkeypatch.setattr("engine.api.check", lambda path, **_: Diagnostics.collect([found]))
    status, out, _ = printed(capsys, "check", write("a.toml", SOUND))
    assert (status, out.splitlines()[-2]) == (0, "found 1 warning in 1 file")


def test_check_goes_on_after_a_file_that_cannot_be_read(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = printed(capsys, "check", "no.toml", write("a.toml", BROKEN))
    assert (status, err) == (2, "error: `no.toml` cannot be read: No such file or directory\n")
    assert "E201" in out


def test_check_of_a_folder(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write("specs/a.toml", SOUND)
    write("specs/deep/b.toml", BROKEN)
    write("specs/.hidden/c.toml", BROKEN)
    status, out, _ = printed(capsys, "check", "specs", "--format", "concise")
    assert status == 1
    assert re.findall(r"^\S+?\.toml", out, re.MULTILINE) == ["specs/deep/b.toml"]


def test_what_looks_like_a_spec(write: Write) -> None:
    write("d/head.toml", "# comment\n  engine = 1\nbroken [")
    write("d/tables.toml", "[nodes.a]\n")
    write("d/no.toml", '[tool.x]\nengine = 1\n[project.entry-points."engine.tasks"]\n')
    write("d/no.txt", SOUND)
    assert list(find_specs("d")) == ["d/head.toml", "d/tables.toml"]


def test_check_of_a_folder_without_specs_is_a_mistake(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert printed(capsys, "check", "empty") == (
        2,
        "",
        "error: there is no spec in folder `empty`\n",
    )


def test_a_file_is_checked_once(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    name = write("a.toml", SOUND)
    _, out, _ = printed(capsys, "check", name, f"./{name}", ".")
    assert out == "no problems found in 1 file\n"


def test_check_imports_nothing_that_only_running_needs(write: Write) -> None:
    code = (
        "import sys; from engine.cli.main import main; main(['check', sys.argv[1]]); "
        "print([name for name in ('trio', 'networkx', 'httpx') if name in sys.modules])"
    )
    done = launch([sys.executable, "-c", code, write("a.toml", SOUND)])
    assert done.stdout.splitlines() == ["no problems found in 1 file", "[]"], done.stderr


# -- colours and streams -----------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    "stream, variables, color, expected",
    [
        (Terminal(), {}, None, True),
        (io.StringIO(), {}, None, False),
        (Terminal(), {"NO_COLOR": "1"}, None, False),
        (Terminal(), {"NO_COLOR": ""}, None, True),
        (Terminal(), {"TERM": "dumb"}, None, False),
        (Terminal(), {}, False, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, None, True),
        (io.StringIO(), {"FORCE_COLOR": "0"}, None, False),
        (io.StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, None, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, False, False),
    ],
)
def test_when_there_are_colours(
    stream: io.StringIO,
    variables: dict[str, str],
    color: bool | None,
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    console = Console()
    console.set_color(color)
    assert console.can_use_color(stream) is expected


@pytest.mark.parametrize("spec, status", [(SOUND, 0), (BROKEN, 1)])
def test_a_reader_that_went_away_is_no_error(spec: str, status: int, write: Write) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = spawn("check", write("a.toml", spec), stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (status, "")


def test_a_full_disk_is_told(write: Write) -> None:
    with open("/dev/full", "w") as full:
        done = spawn("check", write("a.toml", SOUND), stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr == "error: cannot write to standard output: No space left on device\n"


def test_no_standard_output_at_all(write: Write) -> None:
    shell = 'exec "$@" >&-'
    done = launch(["sh", "-c", shell, "sh", *command("check", write("a.toml", SOUND))])
    assert (done.returncode, done.stderr) == (0, "")


# -- inputs ------------------------------------------------------------------------------------

ECHO = """\
engine = 1
[inputs]
x = %s
[nodes.a]
task = "sleep"
with = { seconds = 0 }
[outputs]
x = "${inputs.x}"
"""


@pytest.mark.parametrize(
    "schema, text, value",
    [
        ('{ type = "string" }', "3", "3"),
        ('{ type = "string" }', "a=b", "a=b"),
        ('{ type = "string" }', "", ""),
        ('{ type = "integer" }', "3", 3),
        ('{ type = "number" }', "2.5", 2.5),
        ('{ type = "boolean" }', "true", True),
        ('{ type = "array" }', "[1, 2]", [1, 2]),
        ('{ type = "object" }', '{"a": null}', {"a": None}),
        ('{ type = ["string", "integer"] }', "3", "3"),
        ('{ enum = ["auto", 3] }', "3", 3),
        ('{ enum = ["auto", 3] }', "auto", "auto"),
        ("{}", "[1]", "[1]"),
    ],
)
def test_an_input_is_text_where_it_fits_else_json(
    schema: str, text: str, value: Any, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = write("a.toml", ECHO % schema)
    status, out, err = printed(capsys, "simulate", spec, "-i", f"x={text}", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["outputs"] == {"x": value}


@pytest.mark.parametrize(
    "schema, text, message",
    [
        ('{ type = "integer" }', "3.7", "expected integer, found 3.7"),
        ('{ type = "integer" }', "three", 'expected integer, found "three"'),
        ('{ type = "number" }', "NaN", 'expected number, found "NaN"'),
        ('{ type = "number" }', "true", "expected number, found true"),
        ('{ type = "array" }', "[1", 'expected array, found "[1"'),
        ('{ type = "string", minLength = 5 }', "1234", '"1234" is too short: at least 5'),
    ],
)
def test_an_input_of_the_wrong_type(
    schema: str, text: str, message: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = printed(capsys, "run", write("a.toml", ECHO % schema), "-i", f"x={text}")
    assert (status, out, err) == (2, "", f"error: input `x`: {message}\n")


def test_all_wrong_inputs_at_once(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    spec = ECHO % '{ type = "integer" }\ntopic = { type = "string" }'
    argv = ["-i", "x=a", "-i", "topc=b", "-i", "loose", "-i", "=3", "-i", "x=c"]
    status, _, err = printed(capsys, "run", write("a.toml", spec), *argv)
    assert status == 2
    assert [line for line in err.splitlines() if "warning" not in line] == [
        "error: `-i loose`: expected NAME=VALUE",
        "error: `-i =3`: expected NAME=VALUE",
        "error: input `x` is given twice",
        'error: input `x`: expected integer, found "c"',
        "error: input `topic` is missing",
        "  = help: give it with `-i topic=…`",
        "error: there is no input `topc`, did you mean `topic`?",
    ]


def test_inputs_from_a_file_and_by_name(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    spec = write("a.toml", ECHO % '{ type = "integer" }')
    file = write("i.json", '{"x": 1}')
    _, out, _ = printed(capsys, "simulate", spec, "--inputs", file, "--json")
    assert json.loads(out)["outputs"] == {"x": 1}
    _, out, _ = printed(capsys, "simulate", spec, "--inputs", file, "-i", "x=2", "--json")
    assert json.loads(out)["outputs"] == {"x": 2}


@pytest.mark.parametrize(
    "text, message",
    [
        ("[1]", "`i.json` is not a JSON object"),
        ("{x: 1}", "`i.json` is not JSON: Expecting property name"),
        ('{"x": NaN}', "`i.json` is not JSON: `NaN` is not a JSON number"),
        ('{"x": ' + "[" * 100_000, "`i.json` is not JSON: "),
        ('{"x": 1, "xx": 2}', "there is no input `xx`, did you mean `x`?"),
    ],
)
def test_a_wrong_file_of_inputs(
    text: str, message: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = write("a.toml", ECHO % '{ type = "integer" }')
    status, out, err = printed(capsys, "run", spec, "--inputs", write("i.json", text))
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "path, message",
    [
        ("no.json", "`no.json` cannot be read: No such file or directory"),
        (".", "`.` is a folder, not a file"),
        ("binary", "`binary` is not UTF-8 text"),
    ],
)
def test_a_file_of_inputs_that_cannot_be_read(
    path: str, message: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("binary").write_bytes(b"\xff\xfe\x00")
    spec = write("a.toml", SOUND)
    assert printed(capsys, "run", spec, "--inputs", path) == (2, "", f"error: {message}\n")


SECRET = """\
engine = 1
[nodes.a]
task = "shell"
with = { argv = ["sh", "-c", 'echo "got $0"; echo "is $0" >&2', "${secrets.TOKEN}"] }
[outputs]
said = "${a.stdout}"
"""


def test_secrets_from_a_file_are_used_and_not_shown(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write("s.env", "# mine\n\nTOKEN=a=b c\nOTHER=\n")
    status, out, err = printed(capsys, "run", write("a.toml", SECRET), "--secrets", file)
    assert status == 0
    assert "said  got ***" in out
    assert "a=b c" not in out + err


def test_a_wrong_line_of_secrets_is_not_shown(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write("s.env", "TOKEN=x\nhunter2\n")
    assert printed(capsys, "run", write("a.toml", SECRET), "--secrets", file) == (
        2,
        "",
        "error: `s.env`, line 2: expected NAME=VALUE\n",
    )


@pytest.mark.parametrize("grace", ["-1", "nan", "soon"])
def test_every_mistake_of_a_call_at_once(
    grace: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write("s.env", "hunter2\nTOKEN=abcd\nhunter3\n")
    argv = ["--secrets", file, "--grace", grace, "-i", "n=1"]
    assert printed(capsys, "run", write("a.toml", SECRET), *argv) == (
        2,
        "",
        f"""\
error: there is no input `n`
error: `s.env`, line 1: expected NAME=VALUE
error: `s.env`, line 3: expected NAME=VALUE
error: `--grace {grace}`: expected a number of seconds
""",
    )


def test_what_is_not_set_is_told_with_place_and_cure(
    write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOKEN", raising=False)
    assert printed(capsys, "run", write("a.toml", SECRET)) == (
        2,
        "",
        """\
error: secret `TOKEN` is not set, which a.toml:4 reads
  = help: set the environment variable `TOKEN`, or give `--secrets FILE`
""",
    )


def test_a_name_twice_in_inputs_is_told(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    file = write("i.json", '{"x": 1, "x": 2}')
    message = "error: `i.json` is not JSON: `x` is given twice in one object\n"
    assert printed(capsys, "run", write("a.toml", SOUND), "--inputs", file) == (2, "", message)


def test_too_many_arguments_refer_to_the_help_of_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, _, err = printed(capsys, "run", "a", "b")
    assert err.splitlines()[1] == "see `engine run --help`"


# -- what is no file ---------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["check", "run", "graph"])
def test_what_is_no_file_is_refused(
    verb: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write("a.toml", SOUND)
    os.mkfifo("fifo.toml")
    for path in ("fifo.toml", "/dev/zero"):
        message = f"error: `{path}` cannot be read: it is not a file\n"
        assert printed(capsys, verb, path) == (2, "", message)


def test_a_fifo_in_a_folder_is_told(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write("a.toml", SOUND)
    os.mkfifo("fifo.toml")
    status, _, err = printed(capsys, "check", ".")
    assert (status, err) == (2, "error: `./fifo.toml` cannot be read: it is not a file\n")


def test_a_spec_may_come_through_a_pipe(write: Write) -> None:
    done = subprocess.run(
        command("check", "/dev/stdin"),
        input=SOUND,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "no problems found in 1 file\n")


# -- what bodies print -------------------------------------------------------------------------

PRINTS = """engine = 1
[nodes.a]
task = "python:talk:KIND"
"""
TALK = """import os, sys, logging
print("imported")

def thread(): return say()
def process(): return say()
async def async_(): return say()

def say():
    print("one")
    print("two", file=sys.stderr)
    logging.getLogger("x").warning("three")
    print("four", end="")
    if sys.argv[0].endswith("engine/__main__.py"):
        os.write(1, b"descriptor\\n")
"""


@pytest.mark.parametrize("kind", ["async_", "thread", "process"])
def test_what_bodies_print_becomes_notes(kind: str, write: Write) -> None:
    write("talk.py", TALK)
    spec = PRINTS.replace("KIND", kind)
    spec += 'executor = "thread"\n' if kind == "thread" else ""
    done = spawn("run", write("a.toml", spec), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "succeeded"
    said = [line.split("s  ", 1)[-1] for line in done.stderr.splitlines() if "a  |" in line]
    imported = ["a  | imported"] * (kind == "process")
    assert said == [*imported, "a  | one", "a  | two", "a  | three", "a  | four"]
    assert ("descriptor" in done.stderr) == (kind != "process")
    assert "imported" in done.stderr


def test_what_a_child_of_a_body_prints_is_not_on_standard_output(write: Write) -> None:
    write("talk.py", "import subprocess\nasync def shout(): subprocess.run(['echo', 'loud'])\n")
    done = spawn("run", write("a.toml", PRINTS.replace("KIND", "shout")), "--json")
    assert json.loads(done.stdout)["status"] == "succeeded"
    assert "loud" in done.stderr


def test_standard_error_that_cannot_be_written_to_changes_nothing(write: Write) -> None:
    with open("/dev/full", "w") as full:
        done = launch(command("run", write("a.toml", SOUND)), stdout=subprocess.PIPE, stderr=full)
        assert (done.returncode, done.stdout.startswith("node ")) == (0, True)
        done = launch(command("run", "none.toml"), stdout=subprocess.PIPE, stderr=full)
        assert (done.returncode, done.stdout) == (2, "")


def test_ctrl_c_while_the_program_is_being_imported_is_no_traceback() -> None:
    code = (
        "import sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, *more):\n"
        "        if name == 'engine.cli.main': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "from engine.__main__ import main\n"
        "sys.exit(main())\n"
    )
    done = launch([sys.executable, "-c", code])
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


# -- run ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec, status, verdict", [(SOUND, 0, "succeeded"), (FAILS, 1, "failed")])
def test_run_ends_with_its_status(
    spec: str, status: int, verdict: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    ended, out, _ = printed(capsys, "run", write("a.toml", spec))
    assert ended == status
    assert out.startswith("node  result")
    assert out.splitlines()[-1].startswith(f"a {verdict} after ")


@pytest.mark.parametrize("spelled", ["par.toml", "./par.toml", "{}/par.toml", "link/../par.toml"])
def test_a_finding_in_a_sub_pipeline_is_told_once(
    spelled: str, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("par.toml", 'engine = 1\n[nodes.a]\npipeline = "./parts/../sub.toml"\n')
    write("sub.toml", BROKEN)
    write("parts/x", "")
    write("link/x", "")
    assert main.main(["check", "--format", "concise", spelled.format(tmp_path), "sub.toml"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "sub.toml:3:8: E201 unknown-name: there is no task `slep`"
    ]


def test_a_sub_pipeline_is_named_as_its_parent_was(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write("x/par.toml", 'engine = 1\n[nodes.a]\npipeline = "../sub.toml"\n')
    write("sub.toml", BROKEN)
    assert main.main(["check", "--format", "concise", "x/par.toml"]) == 1
    assert capsys.readouterr().out.startswith("sub.toml:3:8: ")


def test_run_of_a_broken_spec(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = printed(capsys, "run", write("a.toml", BROKEN))
    assert (status, out) == (2, "")
    assert err.startswith("error[E201 unknown-name]")
    assert err.splitlines()[-1] == "found 1 error in 1 file"


def test_run_of_no_file(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    message = "error: `a.toml` cannot be read: No such file or directory\n"
    assert printed(capsys, "run", "a.toml") == (2, "", message)


def test_run_in_a_pipe_tells_what_happens_line_by_line(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, err = printed(capsys, "run", write("a.toml", FAILS))
    lines = [line.split("s  ", 1)[1] for line in err.splitlines()]
    assert lines[1:] == ["a  started", "a  attempt 1: exit 1", "a  failed `1`: exit 1"]


def test_run_as_json_prints_the_result_alone(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = printed(capsys, "run", write("a.toml", FAILS), "--json")
    result = json.loads(out)
    assert (status, result["status"]) == (1, "failed")
    assert result["nodes"]["a"]["attempts"][0]["outcome"] == 1


def test_the_last_words_of_what_failed_are_in_the_report(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = FAILS.replace('"false"', r'''"sh", "-c", "printf 'oh\\033[2Jno\\n' >&2; exit 4"''')
    status, out, err = printed(capsys, "run", write("a.toml", spec))
    assert status == 1
    assert r"  | oh\x1b[2Jno" in out.splitlines()
    assert "\x1b" not in out + err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_run_which_still_gives_its_result(
    number: signal.Signals, write: Write
) -> None:
    spec = SOUND.replace("seconds = 0", "seconds = 600")
    process = subprocess.Popen(
        command("run", write("a.toml", spec), "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stderr is not None
    while "a  started" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    result = json.loads(out)
    assert result["status"] == result["nodes"]["a"]["result"] == "cancelled"
    assert number.name in result["message"]


STUCK = """\
import trio

async def stay():
    print("stuck")
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()
"""


def test_a_third_signal_ends_the_engine_whatever_a_task_does(write: Write) -> None:
    write("stuck.py", STUCK)
    process = subprocess.Popen(
        command("run", write("a.toml", 'engine = 1\n[nodes.a]\ntask = "python:stuck:stay"\n')),
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stderr is not None
    while "| stuck" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    while "cancelling" not in process.stderr.readline():
        assert process.poll() is None
    for number in (signal.SIGHUP, signal.SIGINT):  # in this order also where they come together
        process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT


# -- a terminal --------------------------------------------------------------------------------

WAITS = """\
engine = 1
[nodes.first]
task = "shell"
with = { argv = ["sh", "-c", "echo a note that is longer than a narrow terminal >&2; cat gate"] }
"""


@pytest.mark.parametrize("width, height", [(80, 24), (40, 10), (20, 2)])
def test_progress_on_a_terminal_stays_inside_and_leaves_nothing(
    width: int, height: int, write: Write
) -> None:
    os.mkfifo("gate")
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (height, width))
    process = subprocess.Popen(
        command("run", write("a.toml", WAITS)),
        stdout=subprocess.PIPE,
        stderr=slave,
        env=environment(),
    )
    os.close(slave)
    shown = b""
    while (b"0/1" if height < 3 else b"note") not in shown:
        assert len(shown) < 100_000
        shown += os.read(master, 4096)
    Path("gate").write_text("")
    shown += _rest(master)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.startswith(b"node ")
    _check_frames(shown.decode(), width, height)


def _rest(master: int) -> bytes:
    """All that comes until the other side is closed, which Linux tells by an error."""
    found = b""
    while True:
        try:
            found += os.read(master, 4096)
        except OSError:
            os.close(master)
            return found


def _check_frames(shown: str, width: int, height: int) -> None:
    *frames, last = shown.split("\x1b[J")
    assert last == ""
    drawn = 0
    for frame in frames:
        back = re.match(r"(?:\x1b\[(\d+)A)?\r", frame)
        assert back is not None
        assert int(back[1] or 0) == drawn
        lines = re.sub(r"\x1b\[[0-9;]*m", "", frame[back.end() :]).split("\x1b[K\r\n")[:-1]
        assert all(len(line) < width and line.isprintable() for line in lines)
        assert len(lines) < height
        drawn = len(lines)
    assert drawn == 0, "the last thing drawn is nothing"


def test_colours_on_a_terminal(write: Write) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command("check", write("a.toml", BROKEN)), stdout=slave, env=environment()
    )
    os.close(slave)
    assert b"\x1b[1;31merror" in _rest(master)
    assert process.wait(timeout=60) == 1


# -- simulate, graph, tasks --------------------------------------------------------------------


def test_simulate_follows_its_script(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    script = write("s.json", '{"a/a": [{"exit": 3, "duration": 90}]}')
    status, out, err = printed(capsys, "simulate", write("a.toml", FAILS), "--script", script)
    assert (status, err) == (1, "")
    assert out.startswith(
        "node  result  label   time  attempts  why\na     failed  3      1m30s         1  exit 3\n"
    )


def test_a_wrong_script_is_told_in_full(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    script = write("s.json", '{"a/b": [{}], "a/a": []}')
    status, _, err = printed(capsys, "simulate", write("a.toml", FAILS), "--script", script)
    assert status == 2
    assert err.splitlines() == [
        "error: there is no step `a/b`, did you mean `a/a`?",
        "error: `a/a`: expected a list with at least one end",
    ]


def test_a_simulation_that_never_ends_is_told(write: Write) -> None:
    script = write("s.json", '{"a/a": [{"outcome": "hang"}]}')
    done = spawn("simulate", write("a.toml", FAILS), "--script", script)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the run would never end: `a/a` hangs, and no timeout")


NESTED = """\
engine = 1
[nodes.a]
pipeline = "inner"
[pipelines.inner.nodes.b]
task = "shell"
with = { argv = ["x"], output = "json" }
[pipelines.inner.nodes.c]
task = "shell"
with = { argv = ["${b.stdout.x}"] }
"""


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            '{"a/a/b/b": [{"exit": 1, "outcome": "error"}]}',
            "`a/a/b/b`, end 1: `exit` and `outcome` exclude each other",
        ),
        (
            '{"a/a/b/b": [{"outcome": "error", "output": 3}]}',
            "`a/a/b/b`, end 1: `output` goes with an exit, not with `outcome`",
        ),
        ('{"a/a": [{}]}', "`a/a` is a sub-pipeline: script its steps, such as `a/a/b/b`"),
    ],
)
def test_what_is_wrong_with_a_script(
    script: str, message: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["simulate", write("a.toml", NESTED), "--script", write("s.json", script)]
    assert printed(capsys, *argv) == (2, "", f"error: {message}\n")


def test_what_a_script_does_not_give_is_told_where_it_is_read(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = printed(capsys, "simulate", write("a.toml", NESTED))
    assert status == 1
    assert "has no field `stdout`: the script sets no output for `a/a/b/b`" in out


@pytest.mark.parametrize(
    "form, start", [([], "flowchart TD\n"), (["--format", "dot"], 'digraph "a" {\n')]
)
def test_graph(
    form: list[str], start: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = printed(capsys, "graph", write("a.toml", SOUND), *form)
    assert status == 0
    assert out.startswith(start)


def test_graph_of_a_broken_spec(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = printed(capsys, "graph", write("a.toml", BROKEN))
    assert (status, out) == (2, "")
    assert "E201" in err


def test_tasks_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = printed(capsys, "tasks")
    assert status == 0
    assert "\nshell " in out


def test_tasks_shows_one(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = printed(capsys, "tasks", "sleep")
    assert status == 0
    assert out.startswith("sleep  Sleep (built-in)\nWait for some time.\n\ninputs\n")


def test_tasks_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = printed(capsys, "tasks", "sleep", "--json")
    assert json.loads(out)["exits"] == {"success": 0}


def test_an_unknown_task(capsys: pytest.CaptureFixture[str]) -> None:
    message = "error: there is no task `shel`, did you mean `shell`?\n"
    assert printed(capsys, "tasks", "shel") == (2, "", message)


def test_tasks_of_a_spec(write: Write) -> None:
    write("mine.py", 'from engine import task\n\n@task\ndef greet(name: str):\n    "Says hello."\n')
    spec = write("a.toml", SOUND.replace("[nodes", '[pipeline]\ntasks = ["mine"]\n[nodes'))
    done = spawn("tasks", "--from", spec)
    assert ["greet", "Says", "hello."] in [line.split() for line in done.stdout.splitlines()]
    done = spawn("tasks", "greet", "--from", spec)
    assert done.stdout.startswith("greet  (mine:greet)\nSays hello.\n"), done.stderr


def test_a_module_that_cannot_be_had(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = printed(capsys, "tasks", "python:no_such_module:f")
    assert (status, err) == (2, "error: there is no module `no_such_module`\n")


def test_tasks_of_a_broken_spec(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = printed(capsys, "tasks", "--from", write("a.toml", BROKEN))
    assert (status, out) == (2, "")
    assert "there is no task `slep`" in err


def test_tasks_beside_a_broken_package(
    write: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("site/plugin-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: plugin\nVersion: 1")
    write("site/plugin-1.dist-info/entry_points.txt", "[engine.tasks]\nx = gone.away\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    status, out, err = printed(capsys, "tasks")
    assert status == 2
    assert "shell" in out
    assert err.startswith("error: entry point x of plugin cannot be loaded: ModuleNotFoundError")
    assert printed(capsys, "tasks", "shell")[0] == 0


# -- explain ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["E301", "e301", "infinite-retry", "infinite_retry"])
def test_explain_prints_the_page_of_a_rule(
    asked: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "engine" / "rules" / "infinite_retry.md").read_text()
    assert printed(capsys, "explain", asked) == (0, page, "")


def test_explain_prints_several_pages(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = printed(capsys, "explain", "E302", "E301", "E302")
    assert re.findall("^# (.*)$", out, re.MULTILINE) == [
        "E302 unreachable-step",
        "E301 infinite-retry",
    ]


def test_explain_lists_all_rules(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = printed(capsys, "explain")
    codes = [line.split()[0] for line in out.splitlines()[1:]]
    assert status == 0
    assert codes == sorted(codes, key=lambda code: code[1:])
    assert {"E101", "E301", "E505"} <= set(codes)


def test_explain_as_json(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = printed(capsys, "explain", "E105", "--json")
    (rule,) = json.loads(out)
    assert rule.pop("text").startswith("# E105 missing-key\n")
    assert rule == {
        "code": "E105",
        "name": "missing-key",
        "severity": "error",
        "summary": "a required key is missing",
    }


@pytest.mark.parametrize(
    ("asked", "guess"),
    [
        ("E3011", ", did you mean `E301`?"),
        ("infinit-retry", ", did you mean `infinite-retry`?"),
        ("zzz", ": run `engine explain` for a list"),
    ],
)
def test_explain_knows_no_such_rule(
    asked: str, guess: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    message = f"error: there is no rule `{asked}`{guess}\n"
    assert printed(capsys, "explain", asked) == (2, "", message)
