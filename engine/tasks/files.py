"""`file.*`: read, write, find, copy and hash files.

Paths are relative to the spec's directory, and links are followed. A file is written as a whole or not at all: it is
written beside its target, synced to disk, and then moved there. A missing file is an exit of its own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

from engine.sdk.context import Context, Exit, Failure
from engine.sdk.task import Task
from engine.tasks.schema_helpers import (
    FileMissing,
    describe_os_error,
    object_schema,
    resolve_path,
    run_in_abandonable_thread,
    run_write_in_thread,
)
from engine.tasks.transfer_progress import TransferProgress

__all__ = [
    "COPY",
    "EXITS_WITH_MISSING",
    "GLOB",
    "HASH",
    "READ",
    "WRITE",
    "decode_text",
    "hash_content",
    "read_limited_bytes",
    "write_bytes",
]

EXITS_WITH_MISSING = {"success": 0, "missing": 2}
MAX_FILE_SIZE = 100_000_000
_CHUNK_SIZE = 1 << 20


def read_limited_bytes(path: Path, limit: int = MAX_FILE_SIZE) -> bytes:
    """Return the content of a file; raises Failure if it is longer than `limit` bytes."""
    with _open_file(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Failure(f"`{path}` is longer than {limit} bytes")
    return data


def _open_file(path: Path) -> IO[bytes]:
    """Open a regular file for reading; anything else, such as a pipe, might block for ever and raises Failure."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise Failure(f"`{path}` is not a file")
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise FileMissing(describe_os_error(error)) from None


def decode_text(data: bytes, path: Path) -> str:
    """Decode the content of a file as UTF-8, without a byte order mark; raises Failure."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Failure(f"`{path}` is not UTF-8 text, at byte {error.start}") from None


def write_bytes(
    path: Path, chunks: Iterator[bytes], stop: threading.Event, mode: str = "replace"
) -> int:
    """Write a file as a whole, and return its length in bytes.

    `mode` "new" fails if the file exists, "append" adds to it. If `stop` is set before the end, nothing is written and 0
    is returned.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    target = Path(os.path.realpath(path))
    new = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        with open(new, "xb") as file:
            if mode == "append" and target.exists():
                _append_file(file, target)
            for part in chunks:
                file.write(part)
                if stop.is_set():
                    return 0
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        if target.exists():
            new.chmod(target.stat().st_mode & 0o7777)
        if stop.is_set():
            return 0
        if mode == "new":
            os.link(new, target)
        else:
            new.replace(target)
    finally:
        new.unlink(missing_ok=True)
    return size


def _append_file(file: IO[bytes], source: Path) -> None:
    with source.open("rb") as before:
        while part := before.read(_CHUNK_SIZE):
            file.write(part)


def hash_content(path: Path, algorithm: str, context: Context) -> tuple[str, int]:
    """Return the hexadecimal hash of a file, and its length in bytes."""
    found, size = hashlib.new(algorithm), 0
    with _open_file(path) as file:
        for part in _iter_chunks(file, context):
            found.update(part)
            size += len(part)
    return found.hexdigest(), size


def _iter_chunks(file: IO[bytes], context: Context) -> Iterator[bytes]:
    """Yield the content of a file in chunks, and report progress."""
    progress = TransferProgress(context, os.fstat(file.fileno()).st_size)
    return progress.count_chunks(iter(partial(file.read, _CHUNK_SIZE), b""))


# -- the bodies ------------------------------------------------------------------------------------


async def read_file(inputs: dict[str, Any], context: Context) -> Exit:
    """Read a file; exit `missing` if it does not exist."""
    path = resolve_path(context, inputs["path"])
    try:
        data = await run_in_abandonable_thread(
            partial(read_limited_bytes, path, inputs.get("max_size", MAX_FILE_SIZE))
        )
    except FileMissing:
        return Exit("missing", {"content": None, "size": 0})
    return Exit(
        0, {"content": _encode_content(data, inputs.get("as", "text"), path), "size": len(data)}
    )


def _encode_content(data: bytes, form: str, path: Path) -> Any:
    if form == "base64":
        return base64.b64encode(data).decode()
    text = decode_text(data, path)
    return text.splitlines() if form == "lines" else text


async def write_file(inputs: dict[str, Any], context: Context) -> dict[str, Any]:
    """Write a file and return its path and size."""
    path, content = resolve_path(context, inputs["path"]), inputs["content"]
    form = inputs.get("as", "text")
    data = _content_to_bytes(content, form)
    mode = inputs.get("mode", "replace")
    size = await run_write_in_thread(lambda stop: write_bytes(path, iter([data]), stop, mode))
    return {"path": str(path), "size": size}


def _content_to_bytes(content: Any, form: str) -> bytes:
    if form == "base64":
        try:
            return base64.b64decode(content, validate=True)
        except ValueError as error:
            raise Failure(f"`content` is not base64: {error}") from None
    if form == "lines":
        return "".join(f"{line}\n" for line in content).encode()
    if not isinstance(content, str):
        return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()
    return content.encode()


async def find_files(inputs: dict[str, Any], context: Context) -> dict[str, Any]:
    """Return the paths that match a pattern, sorted."""
    base = resolve_path(context, inputs.get("folder", "."))
    kind, most = inputs.get("kind", "files"), inputs.get("max", 100_000)
    paths = await run_in_abandonable_thread(
        partial(_find_paths, base, inputs["pattern"], kind, most)
    )
    return {"paths": paths}


def _find_paths(base: Path, pattern: str, kind: str, max_paths: int) -> list[str]:
    if not base.is_dir():
        raise Failure(f"`{base}` is not a folder")
    wanted = {"files": Path.is_file, "folders": Path.is_dir, "all": Path.exists}[kind]
    found = sorted(str(path.relative_to(base)) for path in base.glob(pattern) if wanted(path))
    if len(found) > max_paths:
        raise Failure(f"`{pattern}` matches {len(found)} paths, more than {max_paths}")
    return found


async def copy_file(inputs: dict[str, Any], context: Context) -> Exit:
    """Copy a file; exit `missing` if it does not exist."""
    source, target = resolve_path(context, inputs["from"]), resolve_path(context, inputs["to"])
    try:
        mode = inputs.get("mode", "replace")
        size = await run_write_in_thread(partial(_copy_content, source, target, mode, context))
    except FileMissing:
        return Exit("missing", {"path": str(target), "size": 0})
    return Exit(0, {"path": str(target), "size": size})


def _copy_content(
    source: Path, target: Path, mode: str, context: Context, stop: threading.Event
) -> int:
    with _open_file(source) as file:
        return write_bytes(target, _iter_chunks(file, context), stop, mode)


async def hash_file(inputs: dict[str, Any], context: Context) -> Exit:
    """Hash a file; exit `missing` if it does not exist."""
    path, algorithm = resolve_path(context, inputs["path"]), inputs.get("algorithm", "sha256")
    try:
        found, size = await run_in_abandonable_thread(
            partial(hash_content, path, algorithm, context)
        )
    except FileMissing:
        return Exit("missing", {"hash": None, "size": 0})
    return Exit(0, {"hash": found, "size": size})


# -- the declarations ------------------------------------------------------------------------------

_PATH = {
    "type": "string",
    "minLength": 1,
    "description": "The path of the file, relative to the spec's folder.",
}
_SIZE = {"type": "integer", "description": "The size of the file in bytes."}
_MODE = {
    "enum": ["replace", "new", "append"],
    "default": "replace",
    "description": "What happens if the file exists: it is replaced, the attempt fails, or the content is appended.",
}

READ = Task(
    id="file.read",
    body=read_file,
    name="Read a file",
    description="Read a file as text, lines or base64.",
    input_schema=object_schema(
        {
            "path": _PATH,
            "as": {
                "enum": ["text", "lines", "base64"], "default": "text",
                "description": "The form of `content`; text and lines are decoded as UTF-8.",
            },
            "max_size": {
                "type": "integer", "minimum": 1, "default": MAX_FILE_SIZE,
                "description": "The maximum size of the file in bytes; a larger file is an error.",
            },
        },
        ["path"],
    ),
    output_schema=object_schema(
        {"content": {"description": "The content of the file; null if there is no such file."}, "size": _SIZE}, ["content", "size"]
    ),
    output_contract="exact",
    exits=EXITS_WITH_MISSING,
    may_request_delay=False,
    example='[nodes.notes]\ntask = "file.read"\nwith = { path = "notes.md" }\n',
)  # fmt: skip

WRITE = Task(
    id="file.write",
    body=write_file,
    name="Write a file",
    description="Write a file, completely or not at all.",
    input_schema=object_schema(
        {
            "path": _PATH,
            "content": {"description": "The content to write. Text is written unchanged, any other value as JSON."},
            "as": {"enum": ["text", "lines", "base64"], "default": "text", "description": "The form of `content`."},
            "mode": _MODE,
        },
        ["path", "content"],
        allOf=[
            {
                "if": {"properties": {"as": {"const": "lines"}}, "required": ["as"]},
                "then": {"properties": {"content": {"type": "array", "items": {"type": "string"}}}},
            },
            {
                "if": {"properties": {"as": {"const": "base64"}}, "required": ["as"]},
                "then": {"properties": {"content": {"type": "string"}}},
            },
        ],
    ),
    output_schema=object_schema({"path": {"type": "string", "description": "The path of the file."}, "size": _SIZE}, ["path", "size"]),
    output_contract="exact",
    may_request_delay=False,
    example='[nodes.keep]\ntask = "file.write"\nwith = { path = "out/report.md", content = "${report.text}" }\n',
)  # fmt: skip

GLOB = Task(
    id="file.glob",
    body=find_files,
    name="Find files",
    description="Find files that match a pattern, sorted by path.",
    input_schema=object_schema(
        {
            "pattern": {
                "type": "string", "minLength": 1,
                "description": "The pattern, such as `*.csv`; `**/*.csv` also searches all folders below.",
            },
            "folder": {"type": "string", "default": ".", "description": "The folder to search, relative to the spec's folder."},
            "kind": {"enum": ["files", "folders", "all"], "default": "files", "description": "Whether to find files, folders or both."},
            "max": {"type": "integer", "minimum": 1, "default": 100_000, "description": "The maximum number of paths; more are an error."},
        },
        ["pattern"],
    ),
    output_schema=object_schema(
        {"paths": {"type": "array", "items": {"type": "string"}, "description": "The paths found, relative to `folder`."}}, ["paths"]
    ),
    output_contract="exact",
    may_request_delay=False,
    example='[nodes.tables]\ntask = "file.glob"\nwith = { pattern = "*.csv", folder = "data" }\n',
)  # fmt: skip

COPY = Task(
    id="file.copy",
    body=copy_file,
    name="Copy a file",
    description="Copy a file, completely or not at all.",
    input_schema=object_schema(
        {
            "from": {**_PATH, "description": "The path of the file to copy, relative to the spec's folder."},
            "to": {**_PATH, "description": "The path of the copy, relative to the spec's folder."},
            "mode": {
                **_MODE, "enum": ["replace", "new"],
                "description": "What happens if the file exists: it is replaced, or the attempt fails.",
            },
        },
        ["from", "to"],
    ),
    output_schema=object_schema({"path": {"type": "string", "description": "The path of the copy."}, "size": _SIZE}, ["path", "size"]),
    output_contract="exact",
    exits=EXITS_WITH_MISSING,
    may_request_delay=False,
    example='[nodes.backup]\ntask = "file.copy"\nwith = { from = "orders.csv", to = "backup/orders.csv" }\n',
)  # fmt: skip

HASH = Task(
    id="file.hash",
    body=hash_file,
    name="Hash a file",
    description="Compute the hash of a file.",
    input_schema=object_schema(
        {
            "path": _PATH,
            "algorithm": {
                "enum": ["sha256", "sha512", "sha1", "md5", "blake2b"], "default": "sha256",
                "description": "The hash algorithm.",
            },
        },
        ["path"],
    ),
    output_schema=object_schema(
        {
            "hash": {"type": ["string", "null"], "description": "The hash in hexadecimal digits; null if there is no such file."},
            "size": _SIZE,
        },
        ["hash", "size"],
    ),
    output_contract="exact",
    exits=EXITS_WITH_MISSING,
    may_request_delay=False,
    example='[nodes.sum]\ntask = "file.hash"\nwith = { path = "orders.csv" }\n',
)  # fmt: skip
