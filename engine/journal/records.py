"""The records of a store: the header of a run, its lease holder, its events, and their JSON encoding.

An output larger than `MAX_INLINE_SIZE` is stored as a blob named by its hash, and the event holds that name in its
place. Source: docs/language.md, "Engines that die".
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import orjson

from engine.base.classes import frozen
from engine.processes.identity import boot_id, start_time
from engine.record.events import Event

__all__ = [
    "JOURNAL_FORMAT",
    "MAX_INLINE_SIZE",
    "Header",
    "LeaseHolder",
    "StoredRun",
    "decode_events",
    "encode_events",
    "this_process",
]

JOURNAL_FORMAT = 1
"""The version of the stored format; older ones can be read."""
MAX_INLINE_SIZE = 1024 * 1024
"""Maximum size, in characters of JSON, of an output stored inside its event."""

_BLOB_KEY = "$file"
_BLOB_MARK = f'"{_BLOB_KEY}":'.encode()
_CHUNK_SIZE = 100
"""The number of events encoded at once: a larger batch would trigger the garbage collector."""
_OUTPUT_KEYS = ("output", "outputs")


@frozen(kw_only=True)
class Header:
    """The properties of a run that are known before its first event.

    `files` are the spec and the files it includes, by path; `created` is in seconds since 1970; `origin` is the run
    whose successes this one carries over.
    """

    id: str
    pipeline: str
    path: str
    hash: str
    files: Mapping[str, str]
    inputs: Mapping[str, Any]
    env: Mapping[str, str]
    seed: int | str
    created: float = attrs.field(factory=time.time)
    engine: str = ""
    format: int = JOURNAL_FORMAT
    origin: str | None = None
    key: str | None = None
    """The idempotency key given by the caller: a pipeline has at most one run for each key."""


@frozen
class LeaseHolder:
    """The process that may write a run's events.

    The process is alive as long as its host has not been rebooted and the process with its pid began at `began`.
    """

    host: str
    boot: str
    pid: int
    began: str

    @property
    def is_alive(self) -> bool | None:
        """Whether the process is alive; None if it is on another host, where only the lease shows it."""
        me = this_process()
        if self.host != me.host:
            return None
        return self.boot == me.boot and start_time(self.pid) == self.began

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@frozen(kw_only=True)
class StoredRun:
    """A run as it is stored.

    `status` is `running` as long as the run has not ended, whether or not a process holds it.
    """

    header: Header
    status: str
    message: str = ""
    ended: float | None = None
    holder: LeaseHolder | None = None

    @property
    def display_status(self) -> str:
        """The status to display: a running run that no process holds is `interrupted`."""
        return "interrupted" if self.status == "running" and self.holder is None else self.status


def this_process() -> LeaseHolder:
    """Return this process as a lease holder."""
    pid = os.getpid()
    return LeaseHolder(socket.gethostname(), boot_id(), pid, start_time(pid))


def encode_events(events: Sequence[Event], put_blob: Callable[[str], str]) -> str:
    """Encode events that are written together as one JSON array.

    `put_blob` stores a large text and returns its name.
    """
    parts = (events[at : at + _CHUNK_SIZE] for at in range(0, len(events), _CHUNK_SIZE))
    return f"[{b','.join(_encode_chunk(part, put_blob)[1:-1] for part in parts).decode()}]"


def _encode_chunk(events: Sequence[Event], put_blob: Callable[[str], str]) -> bytes:
    text = _encode_json([(e.turn, e.time, e.kind, e.path, e.data) for e in events])
    if len(text) > MAX_INLINE_SIZE or _BLOB_MARK in text:
        small = [
            (e.turn, e.time, e.kind, e.path, _replace_large_outputs(e.data, put_blob))
            for e in events
        ]
        text = _encode_json(small)
    return text


def _encode_json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # what JSON can say and this library cannot: numbers of more than 64 bits
        return _encode_any_json(value).encode()


def _replace_large_outputs(
    data: Mapping[str, Any], put_blob: Callable[[str], str]
) -> Mapping[str, Any]:
    for name in _OUTPUT_KEYS:
        value = data.get(name)
        if value:
            text = _encode_json(value).decode()
            if len(text) > MAX_INLINE_SIZE or (type(value) is dict and _BLOB_KEY in value):
                data = {**data, name: {_BLOB_KEY: put_blob(text)}}
    return data


def decode_events(text: str, get_blob: Callable[[str], str]) -> list[Event]:
    """Decode an array of events; `get_blob` returns the text stored under a name."""
    found = [
        Event(kind, seconds, path, data, turn)
        for turn, seconds, kind, path, data in json.loads(text)
    ]
    for event in found if _BLOB_MARK.decode() in text else ():
        _restore_large_outputs(event.data, get_blob)
    return found


def _restore_large_outputs(data: dict[str, Any], get_blob: Callable[[str], str]) -> None:
    for name in _OUTPUT_KEYS:
        value = data.get(name)
        if type(value) is dict and _BLOB_KEY in value:
            data[name] = json.loads(get_blob(value[_BLOB_KEY]))


_encode_any_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
