"""`docker.run` and `ssh.run`: what the clients are told, what their statuses mean, and that nothing is left.

The clients are stand-ins on the PATH which write down what they are told and do what a real one does on this machine; ssh is tried
against a real server too.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import trio

import engine
from engine.runtime.options import Options
from engine.runtime.trio_runs import open_run
from engine.sdk.context import Failure, Permanent
from engine.toml.source import Source
from tests.support.plans import children
from tests.support.ssh_server import serving
from tests.tasks.test_basic import context, do

Doc = dict[str, Any]

DOCKER = """\
#!{python}
import json, os, subprocess, sys
folder = {folder!r}
with open(folder + "/told", "a") as file:
    print(json.dumps([sys.argv[1:], os.environ.get("TOKEN")]), file=file)
if sys.argv[1] == "kill":
    sys.exit(0)
words = sys.argv[2:]
image = words.index("alpine")
command = words[image + 1:] or ["true"]
if command == ["daemon"]:
    print("docker: no daemon\\n\\nRun 'docker run --help' for more", file=sys.stderr)
    sys.exit(125)
if command == ["nothing"]:
    print("docker: no such file", file=sys.stderr)
    sys.exit(127)
sys.exit(subprocess.run(command).returncode)
"""
SSH = """\
#!{python}
import json, subprocess, sys
with open({folder!r} + "/told", "a") as file:
    print(json.dumps([sys.argv[1:], None]), file=file)
at = sys.argv.index("--")
if sys.argv[at + 1] == "nowhere":
    print("ssh: could not resolve nowhere", file=sys.stderr)
    sys.exit(255)
sys.exit(subprocess.run(["/bin/sh", "-c", sys.argv[at + 2]]).returncode)
"""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the stand-ins were told so far."""
    for name, text in (("docker", DOCKER), ("ssh", SSH)):
        path = tmp_path / name
        path.write_text(text.format(python=sys.executable, folder=str(tmp_path)))
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return lambda: [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]


def test_a_container_is_run_and_removed(told: Any, tmp_path: Path) -> None:
    volumes = [{"from": "data", "to": "/in"}, {"from": "/out", "to": "/out", "read_only": False}]
    found = do(
        "docker.run",
        {
            "image": "alpine", "argv": ["sh", "-c", "cat; exit 3"], "stdin": "a b", "network": "none",
            "env": {"TOKEN": "a-secret"}, "volumes": volumes, "memory": "64m",
        },
        context(tmp_path),
    )  # fmt: skip
    assert (found.code, found.output["stdout"]) == (3, "a b")
    [[argv, token]] = told()
    assert argv[:4] == ["run", "--rm", "--interactive", "--name"]
    assert argv[5:] == [
        *("--network", "none", "--memory", "64m", "--env", "TOKEN"),
        *("--mount", f"type=bind,source={tmp_path}/data,target=/in,readonly"),
        *("--mount", "type=bind,source=/out,target=/out"),
        *("alpine", "sh", "-c", "cat; exit 3"),
    ]
    assert token == "a-secret"


def test_what_docker_itself_cannot_do_is_an_error(told: Any) -> None:
    with pytest.raises(Failure, match=r"^docker: no daemon$"):
        do("docker.run", {"image": "alpine", "argv": ["daemon"]})
    with pytest.raises(Permanent, match="cannot be started in `alpine`"):
        do("docker.run", {"image": "alpine", "argv": ["nothing"]})


WORDS = ["printf", "%s\n", "a b", "$HOME; echo no", "it's", "*"]


def test_no_shell_reads_the_arguments_of_a_remote_command(told: Any, tmp_path: Path) -> None:
    (tmp_path / "in here").mkdir()
    found = do("ssh.run", {"host": "web", "argv": WORDS, "output": "lines"})
    assert found.output["stdout"] == WORDS[2:]
    given = {
        "host": "web",
        "user": "me",
        "port": 2222,
        "cwd": str(tmp_path / "in here"),
        "env": {"X": "1 2"},
    }
    found = do(
        "ssh.run", given | {"argv": ["sh", "-c", 'pwd; echo "$X"; exit 4'], "output": "lines"}
    )
    assert (found.code, found.output["stdout"]) == (4, [str(tmp_path / "in here"), "1 2"])
    argv = told()[-1][0]
    assert argv[:3] == ["-T", "-o", "BatchMode=yes"]
    assert argv[5:9] == ["-p", "2222", "-l", "me"]


def test_what_ssh_itself_cannot_do_is_an_error(told: Any) -> None:
    with pytest.raises(Failure, match=r"^ssh: could not resolve nowhere$"):
        do("ssh.run", {"host": "nowhere", "argv": ["true"]})
    with pytest.raises(Permanent, match="`host` is not a valid host"):
        do("ssh.run", {"host": "-oProxyCommand=x", "argv": ["true"]})


@pytest.mark.parametrize(("id", "client"), [("docker.run", "docker"), ("ssh.run", "ssh")])
def test_a_client_that_is_not_there_is_told(
    id: str, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    inputs = {"image": "alpine"} if client == "docker" else {"host": "web", "argv": ["true"]}
    with pytest.raises(Permanent, match=f"the client `{client}` is not installed"):
        do(id, inputs)


@pytest.mark.parametrize("id", ["docker.run", "ssh.run"])
def test_cancelled_nothing_is_left(id: str, told: Any, tmp_path: Path) -> None:
    first = {"image": "alpine"} if id == "docker.run" else {"host": "web"}
    with_ = first | {"argv": ["sleep", "987"]}
    plan = engine.load_plan(
        Source("x.toml", tomli_w.dumps({"engine": 1, "nodes": {"n": {"task": id, "with": with_}}}))
    )
    before = children()

    async def main() -> engine.Result:
        async with open_run(plan, {}, Options(grace=2.0)) as run:
            while not (tmp_path / "told").exists():
                await trio.sleep(0.01)
            run.cancel("enough")
            return await run.result()

    assert trio.run(main).nodes["n"].result == "cancelled"
    assert children() - before == set()
    if id == "docker.run":
        (begun, _), (ended, _) = told()
        assert ended == ["kill", begun[4]]


# -- a real client and a real server ---------------------------------------------------------------

REAL = pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh client")


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Doc]:
    """What a command on the other machine, which is this one, needs."""
    with serving(tmp_path) as port:
        yield {
            "host": "127.0.0.1", "port": port, "user": "somebody", "identity": str(tmp_path / "key"),
            "known_hosts": str(tmp_path / "known_hosts"),
        }  # fmt: skip


@REAL
def test_a_command_runs_on_another_machine(far: Doc, tmp_path: Path) -> None:
    notes: list[str] = []
    given = far | {"argv": ["sh", "-c", 'cat; echo "$X" >&2; pwd; exit 7'], "stdin": "a b\n"}
    more = {"env": {"X": "it's"}, "cwd": str(tmp_path), "output": "lines"}
    found = do("ssh.run", given | more, context(notes=notes))
    assert (found.code, found.output["stdout"]) == (7, ["a b", str(tmp_path)])
    assert notes == ["it's"]
    found = do("ssh.run", far | {"argv": WORDS, "output": "lines"})
    assert found.output["stdout"] == WORDS[2:]


@REAL
def test_a_machine_that_is_not_known_is_an_error(far: Doc, tmp_path: Path) -> None:
    (tmp_path / "known_hosts").write_text("")
    with pytest.raises(Failure, match=r"^ssh: .*verification failed"):
        do("ssh.run", far | {"argv": ["true"]})


@REAL
@pytest.mark.parametrize("polite", [True, False])
def test_cancelled_the_command_ends_on_the_other_machine_too(
    far: Doc, tmp_path: Path, polite: bool
) -> None:
    line = "touch there; trap '' TERM; " if not polite else "touch there; "
    with_ = far | {"argv": ["sh", "-c", line + "while true; do sleep 0.1; echo x >> log; done"]}
    with_["cwd"] = str(tmp_path)
    doc = {"engine": 1, "nodes": {"n": {"task": "ssh.run", "with": with_}}}
    plan = engine.load_plan(Source("x.toml", tomli_w.dumps(doc)))

    async def main() -> engine.Result:
        async with open_run(plan, {}, Options(grace=2.0)) as run:
            while not (tmp_path / "there").exists():
                await trio.sleep(0.01)
            run.cancel("enough")
            return await run.result()

    assert trio.run(main).nodes["n"].result == "cancelled"
    marked = str(tmp_path).encode()
    lives = [path for path in Path("/proc").glob("[0-9]*/cwd") if _at(path).encode() == marked]
    assert lives == []


@pytest.mark.skipif(shutil.which("docker") is None, reason="there is no docker client")
def test_the_real_docker_client_without_a_daemon_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(Failure, match=r"^docker: "):
        do("docker.run", {"image": "alpine", "argv": ["true"], "pull": "never", "network": "none"})


def _at(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


@pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh client")
def test_the_real_client_takes_these_arguments() -> None:
    argv = ["ssh", "-G", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=3", "-p", "22"]
    argv += ["-l", "me", "--", "web"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "batchmode yes" in done.stdout
