"""Real worker processes: what a function's call gives, and that nothing of it is left."""

import os
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path
from typing import Any

import pytest
import trio

from engine.processes import children
from engine.runtime.workers import Died, Failed, Reply, Value, Workers
from engine.sdk.context import Exit

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")

CONTEXT = {
    "run_id": "r",
    "pipeline": "p",
    "node": "n",
    "step": "s",
    "visit": 1,
    "attempt": 2,
    "key": "k",
}

MODULE = """
import ctypes, itertools, os, signal, subprocess, sys, threading, time
from dataclasses import dataclass
from engine.sdk.decorator import task
from engine.sdk.context import Context, Exit, Permanent, RetryAfter

class Box:
    @staticmethod
    def inner(): return "inside"

@dataclass
class Point:
    x: int
    y: int = 0

def echo(value): return value
def add(a: int, b: int = 10) -> int: return a + b
def point(at: Point): return Point(at.y, at.x)
def pid(): return os.getpid()
def fail(): return 1 / 0
def permanent(): raise Permanent("never")
def later(): raise RetryAfter(7.5, "soon")
def leave(): sys.exit(3)
def ended(): return Exit("busy", {"a": 1}, permanent=True, retry_after=2.5)
def strange(): return Exit(code=b"x")
def odd(which):
    return {"nan": float("nan"), "bytes": {"a": [b"x"]}, "object": [1, object()],
            "key": {1: 2}, "digits": 10**5000, "loop": LOOP}[which]
LOOP = []; LOOP.append(LOOP)
def attempt(context): return [context.attempt, context.folder]
@task
def declared(count: int, ctx: Context) -> int:
    ctx.note("one"); ctx.note("two")
    return count + ctx.attempt
def die(status): os._exit(status)
def crash(): ctypes.string_at(0)
def speak(): print("to stdout"); os.write(1, b"raw\\n"); return 1
def move(): os.chdir("/")
def folder(): return os.getcwd()
def big(size): return "x" * size
def forget():
    if os.fork() == 0: return "child"
    os.wait()
    return "parent"
def leave_child(): subprocess.Popen(["sleep", "600"])
def leave_daemon(): subprocess.Popen("setsid sleep 600 &", shell=True).wait()
def leave_thread(): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
def sleep(context): context.note("ready"); time.sleep(600)
def spin(context): context.note("ready"); sum(itertools.repeat(1))
def save(context, path):
    try: context.note("ready"); time.sleep(600)
    finally: open(path, "w").write("saved")
def deaf_once(context, path):
    unwind = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, unwind))
    save(context, path)
def stubborn(context):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    context.note("ready")
    while True: time.sleep(600)
def swallow(context):
    try: context.note("ready"); time.sleep(600)
    except BaseException: return "swallowed"
def family(context):
    subprocess.Popen(["sleep", "600"])
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    subprocess.Popen("setsid sh -c 'sleep 600 & sleep 600' &", shell=True).wait()
    context.note("ready"); time.sleep(600)
"""


class Bench:
    """Workers whose processes can be told by a mark of the test's own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mark = uuid.uuid4().hex
        self.notes: list[str] = []
        self.ready = trio.Event()
        self.folder = folder
        monkeypatch.setenv(children.ATTEMPT_VARIABLE, self.mark)
        (folder / "work.py").write_text(MODULE)

    def noted(self, message: str) -> None:
        self.notes.append(message)
        if message == "ready":
            self.ready.set()

    async def call(
        self, workers: Workers, name: str, *, grace: float = 5.0, **inputs: Any
    ) -> Reply:
        with trio.fail_after(20):
            return await workers.call(
                f"work:{name}", [str(self.folder)], inputs, CONTEXT, grace, self.noted
            )

    def one(self, name: str, **inputs: Any) -> Reply:
        async def main() -> Reply:
            async with Workers() as workers:
                return await self.call(workers, name, **inputs)

        return trio.run(main)

    def several(self, *names: str) -> list[Any]:
        """The values of calls, one after the other."""

        async def main() -> list[Any]:
            async with Workers() as workers:
                return [getattr(await self.call(workers, n), "value", None) for n in names]

        return trio.run(main)

    def cancel(self, name: str, *, grace: float = 5.0, **inputs: Any) -> list[int]:
        """What is left of a call that was cancelled once it was "ready", the workers still open."""

        async def main() -> list[int]:
            async with Workers() as workers:
                async with trio.open_nursery() as nursery:

                    async def attempt() -> None:
                        await self.call(workers, name, grace=grace, **inputs)

                    nursery.start_soon(attempt)
                    with trio.fail_after(20):
                        await self.ready.wait()
                    assert self.living()
                    nursery.cancel_scope.cancel()
                return self.living()

        return trio.run(main)

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


@pytest.fixture
def bench(tmp_path, monkeypatch):
    return Bench(tmp_path, monkeypatch)


@pytest.mark.parametrize("value", [None, True, 3, 2.5, "ü\ud800\n", [1, {"a": None}], {"b": [[]]}])
def test_a_value_comes_back(bench, value):
    assert bench.one("echo", value=value) == Value(value)


def test_a_large_value_comes_back(bench):
    assert bench.one("big", size=3_000_000) == Value("x" * 3_000_000)


def test_large_inputs_arrive(bench):
    assert bench.one("echo", value="y" * 3_000_000) == Value("y" * 3_000_000)


def test_defaults_of_the_function_hold(bench):
    assert bench.one("add", a=1) == Value(11)


def test_classes_are_built_and_taken_apart(bench):
    assert bench.one("point", at={"x": 1, "y": 2}) == Value({"x": 2, "y": 1})


def test_a_name_may_have_dots(bench):
    assert bench.one("Box.inner") == Value("inside")


def test_context_goes_to_the_parameter_of_that_name(bench):
    assert bench.one("attempt") == Value([2, "."])


def test_a_declared_task_is_called_and_its_notes_are_heard(bench):
    assert bench.one("declared", count=40) == Value(42)
    assert bench.notes == ["one", "two"]


def test_an_exit_comes_back(bench):
    assert bench.one("ended") == Exit("busy", {"a": 1}, permanent=True, retry_after=2.5)


def test_an_exit_with_no_real_code_is_an_error(bench):
    reply = bench.one("strange")
    assert reply == Failed("the exit of `strange` is not JSON: code is of type `bytes`")


def test_an_exception_is_an_error_with_the_frames_of_the_user(bench):
    reply = bench.one("fail")
    assert isinstance(reply, Failed)
    assert reply.message == "ZeroDivisionError: division by zero (work.py:20)"
    assert (reply.permanent, reply.retry_after) == (False, None)
    files = [line for line in reply.traceback.splitlines() if line.startswith("  File")]
    assert len(files) == 1
    assert "work.py" in files[0]


def test_permanent_says_so(bench):
    reply = bench.one("permanent")
    assert isinstance(reply, Failed)
    assert (reply.message, reply.permanent) == ("never", True)


def test_retry_after_says_when(bench):
    reply = bench.one("later")
    assert isinstance(reply, Failed)
    assert (reply.message, reply.permanent, reply.retry_after) == ("soon", False, 7.5)


def test_leaving_python_is_an_error(bench):
    reply = bench.one("leave")
    assert isinstance(reply, Failed)
    assert reply.message == "SystemExit: 3 (work.py:23)"


@pytest.mark.parametrize(
    ("which", "problem"),
    [
        ("nan", "it is nan, which JSON cannot represent"),
        ("bytes", "a[0] is of type `bytes`"),
        ("object", "[1] is of type `object`"),
        ("key", "the key 1 in it is not a string"),
        ("digits", "exceeds the limit (4300 digits) for integer string conversion"),
    ],
)
def test_what_is_not_json_is_an_error(bench, which, problem):
    reply = bench.one("odd", which=which)
    assert isinstance(reply, Failed)
    assert reply.message.startswith(f"the output of `odd` is not JSON: {problem}")


def test_a_value_that_holds_itself_is_an_error(bench):
    reply = bench.one("odd", which="loop")
    assert reply == Failed("the output of `odd` is nested too deeply, or contains itself")


def test_a_missing_function_is_an_error(bench):
    reply = bench.one("nothing")
    assert isinstance(reply, Failed)
    assert reply.message == "AttributeError: module 'work' has no attribute 'nothing'"


def test_a_missing_module_is_an_error_without_frames_of_the_engine(bench):
    bench.folder.joinpath("work.py").unlink()
    reply = bench.one("echo", value=1)
    assert isinstance(reply, Failed)
    assert reply.message == "ModuleNotFoundError: No module named 'work'"
    assert "File" not in reply.traceback


def test_leaving_by_os_exit_is_a_death_with_its_status(bench):
    assert bench.one("die", status=7) == Died(7)
    assert Died(7).message == "the worker process ended with status 7 during the call"


def test_a_crash_is_a_death_by_its_signal(bench):
    assert bench.one("crash") == Died(-11)
    assert Died(-11).message == "the worker process was killed by SIGSEGV"


def test_what_is_printed_goes_to_stderr(bench, capfd):
    assert bench.one("speak") == Value(1)
    out, err = capfd.readouterr()
    assert (out, sorted(err.splitlines())) == ("", ["raw", "to stdout"])


def test_a_worker_is_used_again(bench):
    assert len(set(bench.several("pid", "pid", "pid"))) == 1


def test_a_worker_is_used_again_after_an_exception(bench):
    first, _, last = bench.several("pid", "fail", "pid")
    assert first == last


def test_a_dead_worker_is_replaced(bench):
    first, _, last = bench.several("pid", "crash", "pid")
    assert first != last


def test_a_worker_that_died_idle_is_replaced(bench):
    async def main() -> tuple[Reply, Reply]:
        async with Workers() as workers:
            first = await bench.call(workers, "pid")
            os.kill(first.value, 9)
            with trio.fail_after(20):
                while first.value in bench.living():
                    await trio.sleep(0.01)
            return first, await bench.call(workers, "pid")

    first, last = trio.run(main)
    assert first != last


def test_other_paths_get_another_worker(bench, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "work.py").write_text("def pid(): return 'other'")

    async def main() -> list[Reply]:
        async with Workers() as workers:
            first = await bench.call(workers, "pid")
            bench.folder = other
            return [first, await bench.call(workers, "pid")]

    assert trio.run(main)[1] == Value("other")


def test_calls_at_the_same_time_have_a_worker_each_and_the_spare_ones_end(bench):
    async def main() -> tuple[set[int], list[int]]:
        pids: set[int] = set()
        async with Workers(max_idle=1) as workers:

            async def call() -> None:
                pids.add((await bench.call(workers, "pid")).value)

            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(call)
            return pids, bench.living()

    pids, left = trio.run(main)
    assert (len(pids), len(left)) == (3, 1)
    assert set(left) < pids
    assert bench.living() == []


def test_the_working_folder_is_set_back(bench):
    assert bench.several("move", "folder") == [None, os.getcwd()]


def test_a_fork_that_comes_back_does_not_reply(bench):
    assert bench.several("forget", "pid")[0] == "parent"


@pytest.mark.parametrize("name", ["leave_child", "leave_thread"])
def test_a_worker_in_which_something_still_runs_ends_with_its_call(bench, name):
    async def main() -> list[int]:
        async with Workers() as workers:
            assert await bench.call(workers, name) == Value(None)
            return bench.living()

    assert trio.run(main) == []


def test_closing_leaves_no_process(bench):
    bench.several("pid", "leave_daemon")
    assert bench.living() == []


def test_closing_leaves_no_file_descriptor(bench):
    before = len(os.listdir("/proc/self/fd"))
    bench.several("pid", "crash", "leave_child")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("name", ["sleep", "swallow", "family"])
def test_cancel_leaves_nothing(bench, name):
    assert bench.cancel(name) == []


@pytest.mark.parametrize("name", ["spin", "stubborn"])
def test_cancel_kills_what_does_not_listen(bench, name):
    assert bench.cancel(name, grace=0.05) == []


@pytest.mark.parametrize("name", ["save", "deaf_once"])
def test_cancel_unwinds_the_function(bench, tmp_path, name):
    bench.cancel(name, path=str(tmp_path / "saved"))
    assert (tmp_path / "saved").read_text() == "saved"


def test_a_function_ends_with_the_engine(bench):
    engine = textwrap.dedent(
        f"""
        import os, trio
        from engine.runtime.workers import Workers

        async def main():
            async with Workers() as workers:
                die = lambda message: os.kill(os.getpid(), 9)
                await workers.call(
                    "work:sleep", [{str(bench.folder)!r}], {{}}, {CONTEXT!r}, 5.0, die)

        trio.run(main)
        """
    )
    assert subprocess.run([sys.executable, "-c", engine], check=False).returncode == -9

    async def gone() -> None:
        with trio.fail_after(20):
            while bench.living():
                await trio.sleep(0.01)

    trio.run(gone)


def test_sigterm_before_the_first_call_is_no_traceback() -> None:
    program = (
        "import os, signal, sys, threading\n"
        "from engine.runtime import worker_main\n"
        "threading.Thread.start = lambda self: os.kill(os.getpid(), signal.SIGTERM)\n"
        "worker_main.main(*os.pipe())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (-15, b"")
