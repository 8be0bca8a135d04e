"""T6 with real engines and real bodies: killed at any moment, and resumed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from engine.journal.databases import locate_attempts
from engine.journal.records import Header
from engine.journal.store import Store
from engine.processes import detached
from tests.processes.test_children import Child
from tests.support.crash_engine import Crashing, crash, spec_of

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")


def test_each_body_runs_once_whenever_the_engine_is_killed(tmp_path: Path) -> None:
    for name in ("calm", "wild"):
        (tmp_path / name).mkdir()
    wild = crash(tmp_path, seed=1, kills=10, spec=spec_of(1))
    assert wild.kills == 10


class Body:
    """A run of one node `a` whose engine was killed when its body had begun."""

    def __init__(self, folder: Path, spec: str) -> None:
        self.crashing = Crashing(folder, f"engine = 1\n{spec}")
        self.child = Child()
        os.environ["MARK"] = self.child.mark
        try:
            engine = self.crashing.start()
            begun = folder / "begun"
            until = time.monotonic() + 60
            while not begun.exists() or not begun.read_text().endswith("\n"):
                assert time.monotonic() < until
                time.sleep(0.01)
        finally:
            del os.environ["MARK"]
        self.crashing.kill(engine, 0)

    def places(self) -> list[str]:
        return [str(path) for path in locate_attempts(self.crashing.store, "crash").iterdir()]

    def die(self) -> None:
        """Kill the body too."""
        (place,) = self.places()
        claim = detached.read_claim(place)
        assert claim is not None
        os.killpg(claim.pid, signal.SIGKILL)
        while claim.is_alive:
            time.sleep(0.01)

    def resumed(self) -> Any:
        return self.crashing.finish()["nodes"]["a"]


ONCE = 'task = "shell"\nwith = { command = "echo x >> begun; sleep 1; echo out", shell = true }\n'
TWICE = '"[ -e begun ] && again=1; echo x >> begun; [ $again ] || sleep 600; echo out", shell = true }\n'
LOST = f'task = "shell"\nwith = {{ command = {TWICE}'


def test_a_body_that_runs_on_is_taken_over_whatever_the_step_says(tmp_path: Path) -> None:
    body = Body(tmp_path, f'[nodes.a]\n{ONCE}on_interrupt = "fail"')
    found = body.resumed()
    assert (found["result"], found["output"]["stdout"]) == ("succeeded", "out")
    assert body.crashing.bodies() == {"x": 1}
    assert not body.crashing.events("attempt_rerun")


def test_a_body_that_died_is_run_again(tmp_path: Path) -> None:
    body = Body(tmp_path, f"[nodes.a]\n{LOST}")
    body.die()
    assert body.resumed()["output"]["stdout"] == "out"
    assert body.crashing.bodies() == {"x": 2}
    assert len(body.crashing.events("attempt_rerun")) == 1


def test_a_body_that_died_fails_where_the_step_says_so(tmp_path: Path) -> None:
    retry = 'retry = { attempts = 3, on = ["error"] }'
    body = Body(tmp_path, f'[nodes.a]\n{LOST}on_interrupt = "fail"\n{retry}')
    body.die()
    found = body.resumed()
    (attempt,) = found["attempts"]
    assert (found["result"], found["label"]) == ("failed", "error")
    assert attempt["error"] == "interrupted: the engine died while it ran"
    assert body.crashing.bodies() == {"x": 1}


def test_a_body_that_died_is_routed_where_the_step_says_so(tmp_path: Path) -> None:
    routes = 'routes = { interrupted = "done:checked" }'
    body = Body(tmp_path, f'[nodes.a]\n{LOST}on_interrupt = "route"\n{routes}')
    body.die()
    found = body.resumed()
    (attempt,) = found["attempts"]
    assert (found["result"], found["label"]) == ("succeeded", "checked")
    assert (attempt["outcome"], attempt["error"]) == ("interrupted", "the engine died while it ran")


STUBBORN = (
    "trap '' TERM; echo x >> begun; (setsid sh -c 'sleep 600' &); sleep 600 & sleep 600; sleep 600"
)


def test_cancelled_after_it_was_taken_over_nothing_is_left(tmp_path: Path) -> None:
    spec = f"""[nodes.a]\ntask = "shell"\nwith = {{ command = '''{STUBBORN}''', shell = true }}"""
    body = Body(tmp_path, spec)
    assert body.child.living()
    with Store(body.crashing.store) as store:
        store.send_request("crash", "cancel", "enough")
    engine = body.crashing.start(grace=0.3)
    found = body.crashing.kill(engine, 60)
    assert found is not None
    assert (found["status"], found["message"]) == ("cancelled", "enough")
    assert not body.child.living()


def test_a_body_that_was_being_stopped_is_over(tmp_path: Path) -> None:
    spec = f"""[nodes.a]\ntimeout = "1s"\ntask = "shell"\nwith = {{ command = '''{STUBBORN}''', shell = true }}"""
    body = Body.__new__(Body)
    body.crashing, body.child = Crashing(tmp_path, f"engine = 1\n{spec}"), Child()
    os.environ["MARK"] = body.child.mark
    try:
        engine = body.crashing.start(grace=60)
    finally:
        del os.environ["MARK"]
    until = time.monotonic() + 60
    while True:
        assert time.monotonic() < until
        time.sleep(0.05)
        try:
            if body.crashing.events("attempt_stopping"):
                break
        except Exception:  # there is no such run yet
            continue
    body.crashing.kill(engine, 0)
    assert body.child.living()
    assert body.resumed()["attempts"][0]["outcome"] == "timeout"
    assert not body.child.living()


def test_what_is_forgotten_leaves_no_folder(tmp_path: Path) -> None:
    where = str(tmp_path / "runs.db")
    folder = locate_attempts(where, "r")
    folder.mkdir(parents=True)
    header = Header(
        id="r", pipeline="p", path="p", hash="h", files={}, inputs={}, env={}, seed=0, created=0.0
    )
    with Store(where) as store:
        store.create(header)
        store.remove("r")
    assert not folder.exists()


def test_two_stores_have_folders_of_their_own(tmp_path: Path) -> None:
    places = {
        locate_attempts(where, "r") for where in ("postgresql://a/b", "postgresql://a/c", "c.db")
    }
    assert len(places) == 3
