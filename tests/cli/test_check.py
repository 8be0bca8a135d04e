"""`engine check` as its users call it: status, selection, mending, watching, many files."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.cli import file_watcher, main
from engine.cli.file_watcher import read_file_states, repeat_on_change
from tests.cli.test_main import BROKEN, SOUND, environment

ODD = SOUND + "# engine: ignore[E302] there is none\n"
SPARE = """\
engine = 1
[nodes.a]
start = "one"
[nodes.a.steps]
one = { task = "sleep", with = { seconds = 0 } }
two = { task = "sleep", with = { seconds = 0 } }
"""
LOOP = """\
engine = 1

# again and again
[nodes.a]
task   =  "shell"
with = { argv = ["a"] }
routes = { 3 = "a" } # for ever
"""

Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Check:
    """Writes files into the current folder and checks: status, standard output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def call(*argv: str, **files: str) -> tuple[int, str, str]:
        for name, text in files.items():
            Path(f"{name}.toml").write_text(text)
        status = main.main(["check", *argv])
        return (status, *capsys.readouterr())

    return call


# -- what is shown, and the status -------------------------------------------------------------


def test_warnings_are_a_mistake_only_when_strict(check: Check) -> None:
    assert check("a.toml", a=ODD)[0] == 0
    assert check("a.toml", "--strict")[0] == 1
    assert check("b.toml", "--strict", b=SOUND)[0] == 0


def test_rules_are_chosen_by_the_call(check: Check) -> None:
    assert check("a.toml", a=SPARE)[0] == 1
    assert check("a.toml", "--ignore", "E302") == (0, "no problems found in 1 file\n", "")
    assert check("a.toml", "--select", "E4")[0] == 0
    assert check("a.toml", "--select", "W,E3")[0] == 1
    assert check("a.toml", "--select", "E302", "--ignore", "unreachable-step")[0] == 0


def test_what_cannot_be_ignored_is_shown_whatever_is_selected(check: Check) -> None:
    assert check("a.toml", "--select", "W", a=BROKEN)[0] == 1


def test_a_wrong_choice_is_told_once_and_2(check: Check) -> None:
    status, out, err = check("a.toml", "b.toml", "--ignore", "E3O2,E201", a=SOUND, b=SOUND)
    assert (status, out) == (2, "")
    assert err.splitlines() == [
        "error: --ignore: there is no rule `E3O2`, did you mean `E302`?",
        "error: --ignore: `E201` cannot be ignored, only warnings and E302, E303, E401, E402 can be",
    ]


def test_wrong_settings_are_2(check: Check) -> None:
    status, out, err = check("a.toml", a=SOUND, pyproject="[tool.engine]\nselct = []\n")
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert "pyproject.toml:2:1: `selct` is not a key" in err


def test_a_run_has_the_settings_of_the_check(check: Check) -> None:
    check("a.toml", a=SPARE, pyproject='[tool.engine]\nlevels = { E302 = "warning" }\n')
    assert main.main(["run", "a.toml"]) == 0
    Path("pyproject.toml").write_text("")
    assert main.main(["run", "a.toml"]) == 2


def test_a_format_tells_of_files_that_cannot_be_read(check: Check) -> None:
    status, out, err = check("a.toml", "no.toml", "--format", "github", a=SOUND)
    assert (status, out) == (
        2,
        "::error file=no.toml::`no.toml` cannot be read: No such file or directory\n",
    )
    assert err == "error: `no.toml` cannot be read: No such file or directory\n"


def test_json_lines_of_nothing_are_nothing(check: Check) -> None:
    assert check("a.toml", "--format", "jsonl", a=SOUND) == (0, "", "")


# -- mending -----------------------------------------------------------------------------------


def test_fix_mends_files_and_tells_what_is_left(check: Check) -> None:
    status, out, err = check("a.toml", "b.toml", "--fix", a=BROKEN + "timeuot = '1s'", b=LOOP)
    assert err == "fixed 2 findings in 1 file\n"
    assert status == 1
    assert Path("a.toml").read_text().startswith(BROKEN.replace("slep", "sleep") + "timeout = '1s'")
    assert Path("b.toml").read_text() == LOOP
    assert out.splitlines()[-2] == "can be fixed: 1 with `--unsafe-fixes`"


def test_unsafe_fixes_bound_a_loop_and_keep_the_rest(check: Check) -> None:
    assert check("a.toml", "--unsafe-fixes", a=LOOP)[0] == 0
    assert Path("a.toml").read_text() == LOOP.replace('"a" }', '{ to = "a", max = 3 } }')


def test_diff_shows_and_writes_nothing(check: Check) -> None:
    status, out, err = check("a.toml", "--diff", "--unsafe-fixes", a=LOOP)
    assert (status, err) == (1, "")
    assert out.splitlines() == [
        "--- a.toml",
        "+++ a.toml",
        "@@ -4,4 +4,4 @@",
        " [nodes.a]",
        ' task   =  "shell"',
        ' with = { argv = ["a"] }',
        '-routes = { 3 = "a" } # for ever',
        '+routes = { 3 = { to = "a", max = 3 } } # for ever',
    ]
    assert Path("a.toml").read_text() == LOOP
    assert check("a.toml", "--diff") == (0, "", "")


def test_a_mended_file_keeps_its_bytes_its_mode_and_its_link(check: Check) -> None:
    Path("real.toml").write_bytes(b"\xef\xbb\xbf" + BROKEN.replace("\n", "\r\n").encode())
    os.chmod("real.toml", 0o640)
    Path("a.toml").symlink_to("real.toml")
    check("a.toml", "--fix")
    mended = BROKEN.replace("slep", "sleep").replace("\n", "\r\n").encode()
    assert Path("real.toml").read_bytes() == b"\xef\xbb\xbf" + mended
    assert stat.S_IMODE(os.stat("real.toml").st_mode) == 0o640
    assert Path("a.toml").is_symlink()
    assert sorted(os.listdir()) == ["a.toml", "real.toml"]


def test_a_file_that_is_no_text_is_left(check: Check) -> None:
    Path("a.toml").write_bytes(b"engine = 1 # \xff\n")
    assert check("a.toml", "--fix")[0] == 1
    assert Path("a.toml").read_bytes() == b"engine = 1 # \xff\n"


# -- many files --------------------------------------------------------------------------------


def test_processes_find_what_one_finds_in_the_same_order(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.toml").write_text(BROKEN if number % 3 else SOUND)
    (tmp_path / "3.toml").unlink()
    paths = [f"{number}.toml" for number in range(20)]
    code = (
        "import sys; from engine.cli import parallel_check as checking; checking.MIN_PARALLEL_SIZE = int(sys.argv.pop(1)); "
        "checking._count_processors = lambda: 3; from engine.cli.main import main; sys.exit(main())"
    )

    def outcome(worth: int) -> tuple[int, str, str]:
        argv = [sys.executable, "-c", code, str(worth), "check", "--format", "json", *paths]
        done = subprocess.run(
            argv, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    assert outcome(0) == outcome(10**9)
    assert outcome(0)[0] == 2
    assert len(json.loads(outcome(0)[1])) == 13


# -- watching ----------------------------------------------------------------------------------


class Interrupted:
    """Changes files between two looks, one change a turn; then comes Ctrl-C."""

    def __init__(self, *changes: Callable[[], object]) -> None:
        self.changes: Iterator[Callable[[], object]] = iter(changes)
        self.checks = 0

    def check(self) -> None:
        self.checks += 1

    def pause(self) -> None:
        change = next(self.changes, None)
        if change is None:
            raise KeyboardInterrupt
        change()


def put(path: Path, text: str) -> Callable[[], object]:
    return lambda: path.write_text(text)


def watched(path: Path, *changes: Callable[[], object]) -> int:
    """How often is checked."""
    world = Interrupted(*changes)
    assert repeat_on_change([str(path)], world.check, world.pause) == 0
    return world.checks


def test_it_checks_again_when_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(SOUND)
    assert watched(path) == 1
    assert watched(path, put(path, ODD), lambda: None, put(path, BROKEN)) == 3
    assert watched(path, path.unlink, put(path, SOUND)) == 3


def test_it_sees_new_files_children_modules_and_settings(tmp_path: Path) -> None:
    path, child = tmp_path / "a.toml", tmp_path / "sub" / "child.toml"
    child.parent.mkdir()
    path.write_text(
        'engine = 1\n[pipeline]\ntasks = ["mine.tasks"]\n[nodes.a]\npipeline = "./sub/child.toml"\n'
    )
    (tmp_path / "mine").mkdir()
    assert watched(tmp_path, put(tmp_path / "b.toml", SOUND)) == 2
    assert watched(path, put(child, SOUND)) == 2
    assert watched(path, put(tmp_path / "mine" / "tasks.py", "x = 1")) == 2
    assert watched(path, put(tmp_path / "pyproject.toml", "[tool.engine]")) == 2
    assert watched(path, put(tmp_path / "other.txt", "x")) == 1


def test_specs_that_include_each_other_are_looked_at_once(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        text = f'engine = 1\n[nodes.n]\npipeline = "./{other}.toml"\n'
        (tmp_path / f"{name}.toml").write_text(text)
    assert {str(tmp_path / "a.toml"), str(tmp_path / "b.toml")} <= set(
        read_file_states([str(tmp_path / "a.toml")])
    )


def test_ctrl_c_ends_a_watch_with_0(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(BROKEN)
    process = subprocess.Popen(
        [sys.executable, "-m", "engine", "check", "--watch", "a.toml", "--format", "concise"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stdout is not None
    with process, process.stdout, process.stderr:
        said = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert said == "watching for changes, press Ctrl-C to stop\n"
        assert process.stdout.read() == "a.toml:3:8: E201 unknown-name: there is no task `slep`\n"
    assert process.returncode == 0


def test_a_look_takes_a_pause(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    paused: list[float] = []

    def sleep(seconds: float) -> None:
        paused.append(seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr(file_watcher.time, "sleep", sleep)
    assert repeat_on_change([str(tmp_path)], lambda: None) == 0
    assert paused == [file_watcher.WATCH_INTERVAL]
