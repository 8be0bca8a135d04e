"""Real children: how they end, what they say, and that nothing of them is left."""

import os
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from engine.processes import children
from engine.processes.children import OutputTooLarge

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")

IGNORE_TERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
DETACH = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(2, b"ready\\n")  # in one piece: there may be two of us
        os.execvp("sleep", ["sleep", "600"])
    os._exit(0)
"""


class Child:
    """One call of `run` whose descendants can be told by a mark of the test's own."""

    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex
        self.lines: list[str] = []
        self.ready = trio.Event()
        self.env = {**os.environ, children.ATTEMPT_VARIABLE: self.mark}

    def heard(self, line: str) -> None:
        self.lines.append(line)
        if line == "ready":
            self.ready.set()

    async def run(self, *argv: str, **options) -> children.Completed:
        options = {"cwd": ".", "env": self.env, "on_line": self.heard, **options}
        with trio.fail_after(20):
            return await children.run_child(argv, **options)

    def living(self) -> list[int]:
        """The pids that bear the mark, zombies apart: looked up without the code under test."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
        return found


def run(*argv: str, **options) -> children.Completed:
    async def main() -> children.Completed:
        return await Child().run(*argv, **options)

    return trio.run(main)


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", code)


def cancelled(*argv: str, grace: float = 5.0, look: Callable[[int], bool] | None = None) -> Child:
    """Start a child, wait until it said "ready" (and `look` agrees), cancel it."""

    async def main() -> Child:
        child = Child()
        async with trio.open_nursery() as nursery:

            async def attempt() -> None:
                await child.run(*argv, grace=grace)

            nursery.start_soon(attempt)
            with trio.fail_after(20):
                await child.ready.wait()
                # Amid `exec` a process shows no environment for a moment.
                while not (seen := child.living()) or (look and not all(map(look, seen))):
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        return child

    return trio.run(main)


def state(pid: int) -> str:
    """The letter of a process's state; empty if it has ended since it was listed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.mark.parametrize("status", [0, 1, 255])
def test_status_is_that_of_the_child(status):
    assert run("/bin/sh", "-c", f"exit {status}").returncode == status


def test_death_by_signal_is_negative():
    assert run("/bin/sh", "-c", "kill -KILL $$").returncode == -9


def test_both_streams_are_kept_apart():
    done = run("/bin/sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_stdin_is_fed():
    assert run("cat", stdin=b"x" * 1_000_000).stdout == b"x" * 1_000_000


def test_no_stdin_is_an_empty_one():
    assert run("cat").stdout == b""


def test_child_that_never_reads_stdin_is_no_trouble():
    assert run("true", stdin=b"x" * 1_000_000).returncode == 0


def test_environment_is_what_was_given():
    done = run("/usr/bin/env", env={"ONE": "1"})
    lines = dict(line.split("=", 1) for line in done.stdout.decode().splitlines())
    assert lines.pop(children.ATTEMPT_VARIABLE)
    assert lines == {"ONE": "1"}


def test_child_leads_its_own_session():
    code = "import os; print(os.getsid(0) == os.getpgid(0) == os.getpid())"
    assert run(*python(code)).stdout == b"True\n"


def test_lines_of_stderr_are_told_as_they_come():
    async def main() -> list[str]:
        child = Child()
        await child.run("/bin/sh", "-c", "echo out; printf 'one\\ntwo\\n\\nlast' >&2")
        return child.lines

    assert trio.run(main) == ["one", "two", "", "last"]


def test_a_long_line_is_told_in_part():
    async def main() -> list[str]:
        child = Child()
        await child.run(*python("import sys; sys.stderr.write('x' * 300_000 + '\\nnext')"))
        return child.lines

    assert trio.run(main) == ["x" * 4096 + "…", "next"]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_too_much_output_stops_the_child(stream):
    code = f"import sys\nwhile True: sys.{stream}.write('x' * 1000)"
    with pytest.raises(OutputTooLarge, match=f"more than 100000 bytes to {stream}") as caught:
        run(*python(code), limit=100_000)
    assert caught.value.limit == 100_000


def test_output_of_just_the_limit_is_fine():
    assert run("printf", "12345", limit=5).stdout == b"12345"


def test_output_over_the_limit_is_seen_after_the_end_too():
    with pytest.raises(OutputTooLarge):
        run("printf", "123456", limit=5)


def test_missing_command_is_named():
    with pytest.raises(
        FileNotFoundError, match=r"^cannot start `no-such-command`: command not found"
    ):
        run("no-such-command")


def test_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"^cannot start `./no-such`: no such file"):
        run("./no-such")


def test_missing_interpreter_is_not_blamed_on_the_script(tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    with pytest.raises(FileNotFoundError, match="interpreter in its first line does not exist"):
        run(str(script))


def test_file_that_may_not_be_executed_is_named(tmp_path):
    (tmp_path / "script").write_text("")
    with pytest.raises(PermissionError, match=r"^cannot start `./script`: permission denied"):
        run("./script", cwd=tmp_path)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"in the folder `.*gone`: no such file"):
        run("true", cwd=tmp_path / "gone")


def test_relative_command_starts_from_the_folder(tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\npwd\n")
    script.chmod(0o755)
    assert run("./script", cwd=tmp_path).stdout.decode().strip() == str(tmp_path.resolve())


def left_after(code: str) -> tuple[children.Completed, list[int]]:
    async def main() -> tuple[children.Completed, list[int]]:
        child = Child()
        return await child.run("/bin/sh", "-c", code), child.living()

    return trio.run(main)


def test_background_child_that_holds_the_pipes_ends_with_its_parent():
    done, left = left_after("echo before; sleep 600 & exit 3")
    assert (done.returncode, done.stdout, left) == (3, b"before\n", [])


def test_background_child_that_ignores_signals_ends_too():
    done, left = left_after("trap '' TERM HUP; (while :; do sleep 600; done) & exit 0")
    assert (done.returncode, left) == (0, [])


def test_stranger_that_holds_the_pipes_does_not_hold_the_attempt():
    async def main() -> tuple[bytes, list[int]]:
        child = Child()
        done = await child.run("/bin/sh", "-c", "setsid sleep 600 & echo said")
        left = child.living()
        await children.kill_escaped(child.mark)
        return done.stdout, [pid for pid in left if pid in child.living()]

    assert trio.run(main) == (b"said\n", [])


def test_all_output_is_read_even_if_the_child_ends_at_once():
    done = run(*python("import os; os.write(1, b'x' * 65_536); os.write(2, b'y' * 65_536)"))
    assert (len(done.stdout), len(done.stderr)) == (65_536, 65_536)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("echo ready >&2; exec sleep 600", id="sleeps"),
        pytest.param("sleep 600 & sleep 600 & echo ready >&2; wait", id="has children"),
        pytest.param("setsid sleep 600 & echo ready >&2; wait", id="child in another session"),
        pytest.param("echo ready >&2; while :; do :; done", id="spins"),
    ],
)
def test_cancel_leaves_nothing(code):
    assert cancelled("/bin/sh", "-c", code).living() == []


def test_cancel_leaves_no_daemon():
    code = DETACH + "import time; time.sleep(600)"
    assert cancelled(*python(code)).living() == []


def test_cancel_leaves_nothing_of_a_family_that_ignores_signals():
    code = IGNORE_TERM + "import os\nos.fork()\n" + DETACH + "import time; time.sleep(600)"
    assert cancelled(*python(code), grace=0.05).living() == []


def test_cancel_reaches_a_child_blocked_in_c():
    code = "import sys, itertools; print('ready', file=sys.stderr, flush=True)\n"
    code += "sum(itertools.repeat(1))"
    assert cancelled(*python(code)).living() == []


def test_cancel_leaves_no_child_that_forks_without_end():
    code = """
import os, sys, signal, time
os.setsid() if os.fork() == 0 else signal.pause()
print("ready", file=sys.stderr, flush=True)
for _ in range(3000):  # an end, should the test itself be killed
    if os.fork() != 0:
        os._exit(0)
    time.sleep(0.01)
"""
    assert cancelled(*python(code), grace=0.05).living() == []


def test_the_grace_is_used():
    code = "trap 'echo saved >&2; exit' TERM; echo ready >&2; while :; do sleep 0.01; done"
    assert cancelled("/bin/sh", "-c", code).lines[-1] == "saved"


def test_the_grace_is_for_the_whole_group():
    loop = "echo ready >&2; while :; do sleep 0.01; done"
    saving = f"trap 'sleep 0.2; echo saved >&2; exit' TERM; {loop}"
    child = cancelled("/bin/sh", "-c", f'sh -c "{saving}"; true')
    assert (child.lines[-1], child.living()) == ("saved", [])


def test_a_child_may_say_much_while_it_is_stopped():
    code = """
import signal, sys
def stop(*_):
    sys.stdout.write("x" * 1_000_000); print("saved", file=sys.stderr); sys.exit()
signal.signal(signal.SIGTERM, stop)
print("ready", file=sys.stderr, flush=True)
signal.pause()
"""
    assert cancelled(*python(code)).lines == ["ready", "saved"]


def test_a_stopped_child_gets_its_sigterm():
    code = "trap 'echo saved >&2; exit' TERM; echo ready >&2; kill -STOP $$; sleep 600"
    child = cancelled("/bin/sh", "-c", code, look=lambda pid: state(pid) == "T")
    assert child.lines == ["ready", "saved"]


def test_too_much_output_leaves_nothing():
    async def main() -> list[int]:
        child = Child()
        with pytest.raises(OutputTooLarge):
            await child.run("/bin/sh", "-c", "setsid sleep 600 & yes", limit=1000)
        return child.living()

    assert trio.run(main) == []


def test_no_file_descriptor_is_left():
    async def main() -> int:
        before = len(os.listdir("/proc/self/fd"))
        await Child().run("cat", stdin=b"")
        with trio.move_on_after(0.05):
            await Child().run("sleep", "600")
        with pytest.raises(FileNotFoundError):
            await Child().run("no-such-command", stdin=b"")
        return len(os.listdir("/proc/self/fd")) - before

    assert trio.run(main) == 0


def test_strays_are_told_by_the_whole_token():
    async def main() -> list[int]:
        child = Child()
        async with trio.open_nursery() as nursery:
            code = "import signal, sys\nprint('ready', file=sys.stderr, flush=True)\nsignal.pause()"
            nursery.start_soon(child.run, *python(code))
            with trio.fail_after(20):
                await child.ready.wait()
            await children.kill_escaped(child.mark[:-1])
            left = child.living()
            nursery.cancel_scope.cancel()
        return left

    assert len(trio.run(main)) == 1


def test_a_stray_amid_exec_is_looked_at_again(monkeypatch):
    looks = iter([b"", b"", b"", b"", f"{children.ATTEMPT_VARIABLE}=mine\0".encode()])
    in_exec = b"7 (sh) R " + b" ".join([b"1"] * 19 + [b"4096"] + [b"0"] * 40)

    def proc(name: str, only: str = ""):
        return [(7, in_exec)] if name == "stat" else [(7, next(looks, b"OTHER=1\0"))]

    killed = []
    monkeypatch.setattr(children, "_iter_proc", proc)
    monkeypatch.setattr(children, "_kill_group_of", lambda pid: killed.append(pid) or True)
    trio.run(children.kill_escaped, "mine", clock=trio.testing.MockClock(autojump_threshold=0))
    assert killed == [7]


def test_the_owner_of_a_context_marks_its_children():
    async def main() -> list[str]:
        children.OWNER_TOKEN.set("run-1")
        done = await Child().run("/bin/sh", "-c", f"echo ${children.ATTEMPT_VARIABLE}")
        return done.stdout.decode().strip().split("/")

    outer, owner, own = trio.run(main)
    assert (len(outer), owner, len(own)) == (32, "run-1", 32)


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (40, "signal 40")])
def test_signals_have_names(number, name):
    assert children.describe_signal(number) == name
