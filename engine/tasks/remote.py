"""`docker.run` and `ssh.run`: commands in a container or on another machine, through the installed client.

The status of the command is the exit; a failure of the client itself (125 of docker, 255 of ssh) is the outcome
`error`. No shell interprets the arguments: ssh, which passes a single line to the remote shell, gets a line in which
each is quoted. On cancellation the client is stopped, and the remote command, which carries the attempt's name, is
stopped by another call of the client.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engine.processes import children
from engine.sdk.context import Context, Exit, Failure, Permanent
from engine.sdk.task import Task
from engine.tasks.schema_helpers import object_schema
from engine.tasks.shell import decode_stream, parse_stdout

__all__ = ["DOCKER", "SSH"]


async def run_container(inputs: dict[str, Any], context: Context) -> Exit:
    """Run a command in a new container, which is removed afterwards."""
    name = _build_remote_name(context)
    argv = [
        "docker",
        "run",
        "--rm",
        "--interactive",
        "--name",
        name,
        *_iter_docker_options(inputs, context),
    ]
    argv += [inputs["image"], *inputs.get("argv", ())]
    ended = False
    try:
        done = await _run_client(argv, inputs, context)
        ended = True
    finally:
        if not ended:
            await _stop_remote(["docker", "kill", name], context)
    if done.returncode == 125:
        raise Failure(_find_client_error(done.stderr, "docker"))
    if done.returncode in (126, 127):
        raise Permanent(
            f"the command cannot be started in `{inputs['image']}`: {_find_client_error(done.stderr, 'docker')}"
        )
    return _build_exit(done, inputs, argv[0])


def _iter_docker_options(inputs: Mapping[str, Any], context: Context) -> Iterator[str]:
    for key, flag in (("pull", "--pull"), ("user", "--user"), ("workdir", "--workdir"), ("network", "--network"),
                      ("memory", "--memory"), ("cpus", "--cpus"), ("entrypoint", "--entrypoint")):  # fmt: skip
        if key in inputs:
            yield from (flag, str(inputs[key]))
    for name in inputs.get("env", {}):
        yield from (
            "--env",
            name,
        )  # its value goes by the client's environment, which the command line does not show
    for volume in inputs.get("volumes", ()):
        source = os.path.abspath(os.path.join(context.folder, volume["from"]))
        mode = ",readonly" if volume.get("read_only", True) else ""
        yield from ("--mount", f"type=bind,source={source},target={volume['to']}{mode}")


async def run_over_ssh(inputs: dict[str, Any], context: Context) -> Exit:
    """Run a command on another machine."""
    argv = [
        "ssh",
        "-T",
        "-o",
        "BatchMode=yes",
        "-o",
        f"ConnectTimeout={inputs.get('connect_timeout', 10)}",
    ]
    if "port" in inputs:
        argv += ["-p", str(inputs["port"])]
    if "user" in inputs:
        argv += ["-l", inputs["user"]]
    if "identity" in inputs:
        argv += ["-i", os.path.join(context.folder, inputs["identity"])]
    if "known_hosts" in inputs:
        argv += ["-o", f"UserKnownHostsFile={os.path.join(context.folder, inputs['known_hosts'])}"]
    if inputs["host"].startswith("-"):
        raise Permanent("`host` is not a valid host")
    argv += ["--", inputs["host"]]
    name, ended = _build_remote_name(context), False
    try:
        done = await _run_client([*argv, _build_remote_command(inputs, name)], inputs, context)
        ended = True
    finally:
        if not ended:
            await _stop_remote([*argv, _build_kill_command(name, context.grace)], context)
    if done.returncode == 255:
        raise Failure(_find_client_error(done.stderr, "ssh"))
    return _build_exit(done, inputs, "ssh")


def _build_remote_command(inputs: Mapping[str, Any], name: str) -> str:
    """Return the line for the remote shell: the command in a shell that stays, and is found by its name."""
    words = [f"{name}={shlex.quote(value)}" for name, value in inputs.get("env", {}).items()]
    command = " ".join([*(["env", *words] if words else []), *map(shlex.quote, inputs["argv"])])
    marked = f"""exec /bin/sh -c '"$@"; exit $?' {name} {command}"""
    return f"cd {shlex.quote(inputs['cwd'])} && {marked}" if "cwd" in inputs else marked


def _build_kill_command(name: str, grace: float) -> str:
    """Return the line that stops the remote command: SIGTERM, and SIGKILL after half the grace period."""
    itself = f"[{name[0]}]{name[1:]}"  # which this line does not contain
    return f"""\
for g in $(ps -A -o pgid= -o args= | sed -n 's/^ *\\([0-9]*\\) .*{itself} .*/\\1/p' | sort -u); do
  kill -s TERM -- -$g; n=0
  while kill -s 0 -- -$g 2>/dev/null && [ $n -lt {int(grace * 5)} ]; do sleep 0.1; n=$((n + 1)); done
  kill -s KILL -- -$g 2>/dev/null
done"""


# -- both ------------------------------------------------------------------------------------------


def _build_remote_name(context: Context) -> str:
    """Return the name by which the remote command is found; it is unique to the attempt."""
    return f"engine-{hashlib.sha256(context.key.encode()).hexdigest()[:16]}-{context.attempt}"


async def _stop_remote(argv: Sequence[str], context: Context) -> None:
    """Stop what the client started remotely, which would go on without it; cannot be cancelled."""
    import trio

    with trio.CancelScope(shield=True), trio.move_on_after(max(context.grace, 1.0)):
        try:
            await trio.run_process(argv, capture_stdout=True, capture_stderr=True, check=False)
        except OSError:
            return


async def _run_client(
    argv: Sequence[str], inputs: Mapping[str, Any], context: Context
) -> children.Completed:
    if any("\0" in word for word in argv):
        raise Permanent("a null character cannot be passed to a program")
    env = inputs.get("env", {}) if argv[0] == "docker" else {}
    stdin = inputs.get("stdin")
    try:
        return await children.run_child(
            argv,
            cwd=context.folder,
            env={**os.environ, **env},
            stdin=None if stdin is None else stdin.encode(),
            grace=context.grace,
            on_line=context.note,
        )
    except FileNotFoundError:
        raise Permanent(f"the client `{argv[0]}` is not installed, or not on the PATH") from None
    except (OSError, children.OutputTooLarge) as error:
        raise Failure(str(error)) from None


def _build_exit(done: children.Completed, inputs: Mapping[str, Any], command: str) -> Exit:
    if done.returncode < 0:
        raise Failure(f"{command} was killed by {children.describe_signal(-done.returncode)}")
    stdout = parse_stdout(done, inputs.get("output", "text"), command)
    output = {"stdout": stdout, "stderr": decode_stream(done.stderr), "status": done.returncode}
    return Exit(done.returncode, output)


def _find_client_error(data: bytes, client: str) -> str:
    """Return the client's own error line, or its last line."""
    lines = decode_stream(data).strip().splitlines() or [f"{client}: it gave no reason"]
    own = next((line for line in lines if line.startswith(f"{client}: ")), f"{client}: {lines[-1]}")
    return own[:500]


_TEXT = {"type": "string", "minLength": 1}
_ARGV = {
    "type": "array",
    "items": {"type": "string"},
    "description": "The program and its arguments, passed on unchanged.",
}
_ENV = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "description": "The environment variables of the command.",
}
_COMMON = {
    "env": _ENV,
    "stdin": {"type": "string", "description": "The text for standard input; empty by default."},
    "output": {
        "enum": ["text", "json", "lines"],
        "default": "text",
        "description": "The form of `stdout`: text, the JSON value in it, or an array of its lines.",
    },
}
_OUTPUT = object_schema(
    {
        "stdout": {
            "description": "What the command wrote to standard output, in the form that `output` asks for."
        },
        "stderr": {"type": "string", "description": "What the command wrote to standard error."},
        "status": {
            "type": "integer",
            "minimum": 0,
            "maximum": 255,
            "description": "The exit status of the command.",
        },
    },
    ["stdout", "stderr", "status"],
)

DOCKER = Task(
    id="docker.run",
    body=run_container,
    name="Docker container",
    description="Run a command in a new container, with the client `docker`. The exit status of the command is the exit.",
    input_schema=object_schema(
        {
            "image": {**_TEXT, "pattern": "^[^-]", "description": "The image of the container."},
            "argv": {**_ARGV, "description": "The command and its arguments; by default those of the image."},
            "entrypoint": {**_TEXT, "description": "The entry point, instead of the one of the image."},
            "volumes": {
                "type": "array",
                "description": "Folders and files of this machine to mount in the container.",
                "items": object_schema(
                    {
                        "from": {**_TEXT, "pattern": "^[^,]*$", "description": "The path on this machine, relative to the spec's folder."},
                        "to": {**_TEXT, "pattern": "^[^,]*$", "description": "The path in the container."},
                        "read_only": {"type": "boolean", "default": True, "description": "Whether the container can only read it."},
                    },
                    ["from", "to"],
                ),
            },
            "workdir": {**_TEXT, "description": "The working directory in the container."},
            "user": {**_TEXT, "description": "The user in the container."},
            "network": {**_TEXT, "description": "The network of the container, such as `none`."},
            "memory": {**_TEXT, "description": "The maximum memory, such as `512m`."},
            "cpus": {"type": "number", "exclusiveMinimum": 0, "description": "The maximum number of processors; fractions are allowed."},
            "pull": {"enum": ["missing", "always", "never"], "description": "When to pull the image."},
            **_COMMON,
        },
        ["image"],
    ),
    output_schema=_OUTPUT,
    output_contract="exact",
    open_exits=True,
    may_request_delay=False,
    example="""\
[nodes.convert]
task = "docker.run"
timeout = "10m"
with.image = "alpine:3"
with.argv = ["wc", "-l", "/in/orders.csv"]
with.network = "none"
with.volumes = [{ from = "data", to = "/in" }]
""",
)  # fmt: skip

SSH = Task(
    id="ssh.run",
    body=run_over_ssh,
    name="Command on another machine",
    description="Run a command on another machine, with the client `ssh`. The exit status of the command is the exit.",
    input_schema=object_schema(
        {
            "host": {**_TEXT, "description": "The host, or its name in the configuration of `ssh`."},
            "argv": {**_ARGV, "minItems": 1},
            "user": {**_TEXT, "description": "The user on the other machine."},
            "port": {"type": "integer", "minimum": 1, "maximum": 65535, "description": "The port; 22 by default."},
            "identity": {**_TEXT, "description": "The path of the private key, relative to the spec's folder."},
            "known_hosts": {**_TEXT, "description": "The path of the file of known hosts, relative to the spec's folder."},
            "connect_timeout": {"type": "integer", "minimum": 1, "default": 10, "description": "The seconds to wait for a connection."},
            "cwd": {**_TEXT, "description": "The working directory on the other machine."},
            **_COMMON,
        },
        ["host", "argv"],
    ),
    output_schema=_OUTPUT,
    output_contract="exact",
    open_exits=True,
    may_request_delay=False,
    example="""\
[nodes.restart]
task = "ssh.run"
timeout = "2m"
with.host = "web1.example.org"
with.user = "deploy"
with.argv = ["systemctl", "--user", "restart", "shop"]
""",
)  # fmt: skip
