"""Engines killed at random moments, and resumed until the run is done: `python -m tests.support.crash_engine KILLS [SEED]`.

Bodies count themselves in a file. Whatever was killed when, each must have run exactly once, and the results must be those of a
run that nobody disturbed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from engine.journal.store import Store

ROOT = Path(__file__).parents[2]

DRIVER = """
import json, sys
from engine import run, stored
from engine.errors import JournalError
from engine.record.history import result_from_events
from engine.journal.store import NoSuchRun, Store
spec, store, grace, durability = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]
options = {"grace": grace, "durability": durability}
import engine.runtime.blocking, engine.runtime.task_runner
print("up", flush=True)
try:
    result = stored.resume("crash", store=store, **options)
except JournalError as error:
    if not isinstance(error, NoSuchRun):  # it had ended when it was killed
        assert "has ended" in str(error), error
        with Store(store) as found:
            result = result_from_events(found.read_events("crash"))
    else:
        result = run(spec, store=store, run_id="crash", seed=0, **options)
print(json.dumps(result.to_json()), flush=True)
"""


BODIES = """
import time
from engine import Context, Exit, task

@task
def count(name: str, seconds: float, context: Context):
    with open(f"{context.folder}/begun", "a") as file:
        file.write(f"{name}-{context.visit}.{context.attempt}\\n")
    context.note("one")
    time.sleep(seconds)
    context.note("two")
    return {"stdout": f"out of {name}"}
"""


class Crashing:
    """One run in `folder`, driven by processes that may be killed."""

    def __init__(self, folder: Path, spec: str, durability: str = "full") -> None:
        self.durability = durability
        self.folder, self.store = folder, str(folder / "runs.db")
        self.spec = folder / "crash.toml"
        self.spec.write_text(spec)
        (folder / "bodies.py").write_text(BODIES)
        self.kills = 0

    def start(self, grace: float = 5.0) -> subprocess.Popen[str]:
        """An engine that has come as far as to look for the run."""
        argv = [
            sys.executable,
            "-c",
            DRIVER,
            str(self.spec),
            self.store,
            str(grace),
            self.durability,
        ]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(self.folder)))}
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=env)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process

    def kill(self, process: subprocess.Popen[str], after: float) -> dict[str, Any] | None:
        """Kill an engine after some seconds; the result if it was faster."""
        try:
            out, _ = process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            self.kills += 1
            return None
        assert process.returncode == 0
        return json.loads(out)  # type: ignore[no-any-return]

    def finish(self) -> dict[str, Any]:
        """Go on to the end."""
        found = self.kill(self.start(), 120)
        assert found is not None
        return found

    def bodies(self) -> Counter[str]:
        """How often each body began, by what it wrote."""
        return Counter((self.folder / "begun").read_text().split())

    def events(self, kind: str) -> list[Any]:
        """What the journal tells of one kind."""
        with Store(self.store) as store:
            return [event for event in store.read_events("crash") if event.kind == kind]


def spec_of(seed: int, layers: int = 8, width: int = 8, longest: float = 0.25) -> str:
    """Layers of nodes that append to `begun`, some of which fail at first, sleep, or say something."""
    draw = random.Random(seed)
    lines = ["engine = 1", "[pipeline]", "max_parallel = 12", 'tasks = ["bodies"]']
    for layer in range(layers):
        for at in range(width):
            name = f"n{layer}_{at}"
            command = f"echo {name}-${{run.visit}}.${{run.attempt}} >> begun; echo out of {name}"
            command += f"; echo one >&2; sleep {draw.uniform(0, longest):.3f}; echo two >&2"
            lines += [f"[nodes.{name}]"]
            if draw.random() < 0.15:
                given = f'name = "{name}", seconds = {draw.uniform(0, longest):.3f}'
                lines += ['task = "count"', f"with = {{ {given} }}"]
            else:
                lines += ['task = "shell"']
                if draw.random() < 0.25:
                    command += "; [ ${run.attempt} -gt 1 ] || exit 9"
                    lines += ["retry = { attempts = 3, on = [9] }"]
                lines += [f"with = {{ command = '''{command}''', shell = true }}"]
            if layer:
                needs = draw.sample(range(width), 2)
                lines += [f"needs = {json.dumps([f'n{layer - 1}_{other}' for other in needs])}"]
    return "\n".join(lines) + "\n"


def timeless(result: dict[str, Any]) -> Any:
    """A result without its times."""
    nodes = result["nodes"]
    for node in nodes.values():
        for attempt in node["attempts"]:
            attempt.pop("started"), attempt.pop("ended")
    return result["status"], nodes


def crash(folder: Path, seed: int, kills: int, spec: str, durability: str = "full") -> Crashing:
    """Kill an engine some times at random moments, and judge what became of the run."""
    draw = random.Random(seed)
    calm = Crashing(folder / "calm", spec)
    wild = Crashing(folder / "wild", spec, durability)
    expected, result = timeless(calm.finish()), None
    while result is None and wild.kills < kills:
        result = wild.kill(wild.start(), draw.choice((0.02, 0.1, 0.3)) * draw.random() * 2)
    found = timeless(result or wild.finish())
    more = {body: count for body, count in wild.bodies().items() if count != 1}
    assert not more, f"seed {seed}: begun more than once: {more}"
    assert wild.bodies() == calm.bodies()
    assert found == expected, f"seed {seed}"
    assert not wild.events("attempt_rerun")
    said = Counter((event.path, event.data["message"]) for event in wild.events("attempt_noted"))
    assert said == Counter(
        (event.path, event.data["message"]) for event in calm.events("attempt_noted")
    )
    with Store(wild.store) as store:
        store.remove("crash")  # an engine that was killed at the very end could not tidy up
    assert not list(folder.glob("*/runs.db-attempts/*"))
    return wild


def main(kills: int, seed: int) -> None:
    """Crash runs until there have been that many kills."""
    done, began = 0, time.monotonic()
    while done < kills:
        with tempfile.TemporaryDirectory() as folder:
            for name in ("calm", "wild"):
                Path(folder, name).mkdir()
            how = ("full", "batch")[seed % 2]
            done += crash(Path(folder), seed, kills, spec_of(seed), how).kills
        print(f"seed {seed}: {done} kills, {time.monotonic() - began:.0f} s", flush=True)
        seed += 1


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
