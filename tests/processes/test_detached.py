"""Commands behind a shim: they end as they would without it, one wins, and who comes later takes over."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
import trio

from engine.processes import children, detached
from tests.processes.test_children import Child, python

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / uuid.uuid4().hex)


async def go(place: str, *argv: str, **options: Any) -> children.Completed:
    options = {"cwd": ".", "env": dict(os.environ), **options}
    with trio.fail_after(60):
        return await detached.run_detached(argv, directory=place, **options)


def run(place: str, *argv: str, **options: Any) -> children.Completed:
    async def main() -> children.Completed:
        return await go(place, *argv, **options)

    return trio.run(main)


def begin(place: str, *argv: str, mark: str) -> subprocess.Popen[bytes]:
    """A shim that this process does not wait for, as one whose engine was killed."""
    Path(place).mkdir(parents=True)
    env = {**os.environ, children.ATTEMPT_VARIABLE: f"{mark}/{detached.token_of_directory(place)}"}
    argv = ["/bin/sh", "-c", detached._SHIM_SCRIPT, "engine", place, "/bin/ln", "out", *argv]
    return subprocess.Popen(argv, env=env, start_new_session=True, stdin=subprocess.DEVNULL)


def claimed(place: str) -> detached.Claim:
    while (claim := detached.read_claim(place)) is None:
        pass
    return claim


def said(place: str, what: bytes) -> None:
    """Wait until a body has said something on stdout."""
    while not Path(place, "out").exists() or what not in Path(place, "out").read_bytes():
        pass


@pytest.mark.parametrize("status", [0, 1, 78, 126, 127, 143, 255])
def test_the_status_is_that_of_the_command(place: str, status: int) -> None:
    assert run(place, "sh", "-c", f"exit {status}").returncode == status
    assert detached.read_end(place) == status


@pytest.mark.parametrize("name", ["TERM", "KILL", "SEGV"])
def test_death_by_a_signal_is_told_from_a_status(place: str, name: str) -> None:
    number = signal.Signals[f"SIG{name}"]
    assert run(place, "sh", "-c", f"kill -{name} $$").returncode == -number
    assert detached.read_end(place) == -number


def test_a_command_that_kills_its_whole_group_is_seen_to_die(place: str) -> None:
    assert run(place, "sh", "-c", "kill -KILL 0").returncode == -signal.SIGKILL


def test_streams_are_kept_apart_and_stdin_is_fed(place: str) -> None:
    done = run(place, "sh", "-c", "cat; echo no >&2", stdin=b"yes")
    assert (done.stdout, done.stderr) == (b"yes", b"no\n")
    assert b"yes" not in b"".join(p.read_bytes() for p in Path(place).iterdir() if p.name != "out")


@pytest.mark.parametrize("word", ["exit", "eval", "set", ":"])
def test_a_word_of_the_shell_is_no_command(place: str, word: str) -> None:
    with pytest.raises(OSError, match=f"cannot start `{word}`: command not found"):
        run(place, word, env={"PATH": place})
    assert detached.state_of(place) == "free"


def test_arguments_and_environment_arrive_as_they_are(place: str) -> None:
    odd = {**os.environ, "BASH_FUNC_x%%": "() { :; }", "dotted.name": "1", "empty": ""}
    told = "import os, sys, json; print(json.dumps([sys.argv[1:], dict(os.environ)]))"
    import json

    arguments = ["", " ", "$HOME", "a\nb", "-n", "'\"`\\", "ü"]
    args, env = json.loads(run(place, sys.executable, "-c", told, *arguments, env=odd).stdout)
    assert args == arguments
    assert {key: env[key] for key in odd} == odd


def test_a_script_without_its_interpreter_cannot_start(place: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/nowhere/sh\n")
    script.chmod(0o755)
    with pytest.raises(OSError, match="the interpreter in its first line does not exist"):
        run(place, "./script", cwd=str(tmp_path))


def test_too_much_output_stops_the_command(place: str) -> None:
    code = "import os\nwhile True: os.write(1, bytes(65536))"
    with pytest.raises(children.OutputTooLarge):
        run(place, *python(code), limit=1_000_000)
    assert not children.has_processes(detached.token_of_directory(place))


def test_lines_are_told_as_they_come(place: str) -> None:
    lines: list[str] = []
    run(place, "sh", "-c", "echo a >&2; sleep 0.05; echo b >&2; printf c >&2", on_line=lines.append)
    assert lines == ["a", "b", "c"]


def test_merged_lines_have_one_order_which_another_engine_hears_again(place: str) -> None:
    argv = ("sh", "-c", "echo a; echo b >&2; echo c")
    lines: list[str] = []
    for _ in range(2):
        done = run(place, *argv, on_line=lines.append, merged=True)
        assert (done.stdout, done.stderr) == (b"", b"a\nb\nc\n")
    assert lines == ["a", "b", "c"] * 2


def test_what_has_ended_is_given_and_not_begun_again(place: str, tmp_path: Path) -> None:
    argv = ("sh", "-c", f"echo once >> {tmp_path}/begun; echo out; echo err >&2; exit 3")
    first = run(place, *argv)
    lines: list[str] = []
    assert run(place, *argv, on_line=lines.append) == first
    assert lines == ["err"]
    assert (tmp_path / "begun").read_text() == "once\n"


def test_what_runs_is_waited_for(place: str, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    argv = ("sh", "-c", f"echo begun; read x < {fifo}; echo $x; exit 4")
    other = begin(place, *argv, mark="m")
    said(place, b"begun")
    assert detached.state_of(place) == "running"

    async def main() -> children.Completed:
        found: list[children.Completed] = []
        async with trio.open_nursery() as nursery:

            async def adopt() -> None:
                found.append(await go(place, *argv))

            nursery.start_soon(adopt)
            await trio.to_thread.run_sync(fifo.write_text, "word\n")
        return found[0]

    done = trio.run(main)
    assert (done.returncode, done.stdout) == (4, b"begun\nword\n")
    other.wait()


def test_a_body_that_died_with_its_shim_is_dead(place: str) -> None:
    other = begin(place, "sh", "-c", "echo begun; sleep 600", mark="m")
    said(place, b"begun")
    os.killpg(claimed(place).pid, signal.SIGKILL)
    other.wait()
    assert detached.state_of(place) == "dead"
    with pytest.raises(detached.OutcomeUnknown):
        run(place, "true")


def test_another_process_with_the_number_of_a_shim_is_not_taken_for_it(place: str) -> None:
    Path(place).mkdir()
    stat = Path("/proc/self/stat").read_text()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    Path(place, "claim").write_text(f"{os.getpid()} {boot} {stat}")
    assert detached.state_of(place) == "running"
    fields = stat.split()
    fields[21] = "1"
    Path(place, "claim").write_text(f"{os.getpid()} {boot} {' '.join(fields)}")
    assert detached.state_of(place) == "dead"


IGNORES = "trap '' TERM; echo begun; sleep 600 & sleep 600; sleep 600"


@pytest.mark.parametrize("code", ["echo begun; exec sleep 600", IGNORES])
def test_cancelled_after_it_was_taken_over_nothing_of_it_is_left(place: str, code: str) -> None:
    mark = uuid.uuid4().hex
    other = begin(place, "sh", "-c", code, mark=mark)
    said(place, b"begun")

    async def main() -> None:
        async with trio.open_nursery() as nursery:

            async def adopt() -> None:
                await go(place, "sh", "-c", code, grace=0.2)

            nursery.start_soon(adopt)
            await trio.testing.wait_all_tasks_blocked(0.02)
            nursery.cancel_scope.cancel()

    child = Child()
    child.mark = mark
    assert child.living()
    trio.run(main)
    other.wait()
    assert not child.living()


def test_of_those_who_start_together_one_wins_and_all_tell_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        for at in range(15):
            place, found = str(tmp_path / f"{at:032x}"), []
            script = f"echo {at} >> {tmp_path}/begun; echo out {at}; exit 5"

            async def one(place: str, script: str, found: list[Any]) -> None:
                found.append(await go(place, "sh", "-c", script))

            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(one, place, script, found)
            assert [each.returncode for each in found] == [5] * 4
            assert {each.stdout for each in found} == {f"out {at}\n".encode()}

    trio.run(main)
    assert sorted(map(int, (tmp_path / "begun").read_text().split())) == list(range(15))
