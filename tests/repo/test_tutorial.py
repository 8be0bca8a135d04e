"""The tutorial, done as it says: its specs run, and what it shows is what they print."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repo.test_specs import serving

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
SPECS = re.findall(r"^```toml.*\n((?:.*\n)*?)```$", PAGE, re.MULTILINE)
GOOD = b'{"orders": [{"id": 1, "amount": 12.5}, {"id": 2, "amount": 7}]}'
BAD = GOOD.replace(b'"amount": 7', b'"amuont": 7')
JSON = {"Content-Type": "application/json"}


def plain(text: str) -> list[str]:
    """The lines of an output without what differs each time: times, widths, how often it polled."""
    text = re.sub(r"\b\d+(\.\d+)?(ms|s)\b", "TIME", text)
    text = re.sub(r"^(stock .*TIME\s+)\d+$", r"\1N", text, flags=re.MULTILINE)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def shown() -> list[list[str]]:
    found = re.findall(r"^```text\n((?:.*\n)*?)```$", PAGE, re.MULTILINE)
    return [plain(block) for block in found]


class Folder:
    """Where the reader works."""

    def __init__(self, path: Path, base: str) -> None:
        self.path, self.base = path, base
        self.environment = os.environ | {"XDG_STATE_HOME": str(path / "state"), "NO_COLOR": "1"}

    def write(self, spec: str) -> None:
        text = spec.replace("http://localhost:8000", self.base)
        (self.path / "orders.toml").write_text(text, encoding="utf-8")

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "engine", *words],
            cwd=self.path,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def engine(self, *words: str, status: int = 0) -> str:
        process = self.start(*words)
        out, err = process.communicate(timeout=60)
        assert process.returncode == status, out + err
        return out


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    answers = {"/orders.json": [(200, JSON, GOOD), (200, JSON, BAD)] + [(200, JSON, GOOD)] * 9}
    with serving(answers) as base:
        yield Folder(tmp_path, base)


def test_the_tutorial_is_what_happens(folder: Folder) -> None:
    first, second, _, last = SPECS
    folder.write(first)
    assert plain(folder.engine("run", "orders.toml")) in shown()
    folder.write(second)
    assert plain(folder.engine("run", "orders.toml", status=1)) in shown()
    folder.write(SPECS[2])
    folder.engine("check", "orders.toml", status=1)
    folder.write(last.partition("\n[nodes.approve]")[0])
    told = plain(folder.engine("check", "--worst-case", "orders.toml"))
    assert told[:-1] in shown() or told in shown()

    folder.write(last)
    (folder.path / "counted").touch()
    assert plain(folder.engine("run", "orders.toml", status=3)) in shown()

    (folder.path / "counted").unlink()
    killed = folder.start("run", "orders.toml")
    deadline = time.monotonic() + 30
    while "stock" not in _logged(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    killed.kill()
    killed.wait()
    for stream in (killed.stdout, killed.stderr):
        with contextlib.suppress(AttributeError):
            stream.close()  # type: ignore[union-attr]
    [run] = re.findall(r"^(\w+) +orders +interrupted", folder.engine("runs"), re.MULTILINE)

    (folder.path / "counted").touch()
    assert plain(folder.engine("resume", run, status=3)) in shown()
    assert plain(folder.engine("resume", run, "--answer", "approve=ship")) in shown()


def _logged(folder: Folder) -> str:
    """The events of the latest run, as far as they are on disk."""
    found = re.findall(r"^(\w{16}) ", folder.engine("runs"), re.MULTILINE)
    process = folder.start("show", found[0], "--events")
    out, _ = process.communicate(timeout=60)
    return out if '"run_ended"' not in out and '"run_waiting"' not in out else ""
