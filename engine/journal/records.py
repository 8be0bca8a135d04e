"""The records of a store: the header of a run, its lease holder, its events, and their JSON encoding.

An output larger than `MAX_INLINE_SIZE` is stored as a blob named by its hash, and the event holds that name in its place.
Source: docs/language.md, "Engines that die".
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
from engine.processes.identity import began, boot
from engine.record.events import Event

__all__ = ["FORMAT", "LARGE", "Header", "Holder", "Kept", "decoded", "encoded", "myself"]

FORMAT = 1
"""The version of the stored format; older ones can be read."""
LARGE = 1024 * 1024
"""Maximum size, in characters of JSON, of an output stored inside its event."""

_FILE = "$file"
_MARK = f'"{_FILE}":'.encode()
_PART = 100
"""The number of events encoded at once: a larger batch would trigger the garbage collector."""
_OUTPUTS = ("output", "outputs")


@frozen(kw_only=True)
class Header:
    """The properties of a run that are known before its first event.

    `files` are the spec and the files it includes, by path; `created` is in seconds since 1970; `origin` is the run whose
    successes this one carries over.
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
    format: int = FORMAT
    origin: str | None = None
    key: str | None = None
    """The idempotency key given by the caller: a pipeline has at most one run for each key."""


@frozen
class Holder:
    """The process that may write a run's events.

    The process is alive as long as its host has not been rebooted and the process with its pid began at `began`.
    """

    host: str
    boot: str
    pid: int
    began: str

    @property
    def alive(self) -> bool | None:
        """Whether the process is alive; None if it is on another host, where only the lease can tell."""
        me = myself()
        if self.host != me.host:
            return None
        return self.boot == me.boot and began(self.pid) == self.began

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@frozen(kw_only=True)
class Kept:
    """A run as it is stored.

    `status` is `running` as long as the run has not ended, whether or not a process holds it.
    """

    header: Header
    status: str
    message: str = ""
    ended: float | None = None
    holder: Holder | None = None

    @property
    def shown(self) -> str:
        """The status to display: a running run that no process holds is `interrupted`."""
        return "interrupted" if self.status == "running" and self.holder is None else self.status


def myself() -> Holder:
    """Return this process as a lease holder."""
    pid = os.getpid()
    return Holder(socket.gethostname(), boot(), pid, began(pid))


def encoded(events: Sequence[Event], keep: Callable[[str], str]) -> str:
    """Encode events that are written together as one JSON array.

    `put_blob` stores a large text and returns its name.
    """
    parts = (events[at : at + _PART] for at in range(0, len(events), _PART))
    return f"[{b','.join(_encoded(part, keep)[1:-1] for part in parts).decode()}]"


def _encoded(events: Sequence[Event], keep: Callable[[str], str]) -> bytes:
    text = _written([(e.turn, e.time, e.kind, e.path, e.data) for e in events])
    if len(text) > LARGE or _MARK in text:
        small = [(e.turn, e.time, e.kind, e.path, _without_large(e.data, keep)) for e in events]
        text = _written(small)
    return text


def _written(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # what JSON can say and this library cannot: numbers of more than 64 bits
        return _json(value).encode()


def _without_large(data: Mapping[str, Any], keep: Callable[[str], str]) -> Mapping[str, Any]:
    for name in _OUTPUTS:
        value = data.get(name)
        if value:
            text = _written(value).decode()
            if len(text) > LARGE or (type(value) is dict and _FILE in value):
                data = {**data, name: {_FILE: keep(text)}}
    return data


def decoded(text: str, fetch: Callable[[str], str]) -> list[Event]:
    """Decode an array of events; `get_blob` returns the text stored under a name."""
    found = [
        Event(kind, seconds, path, data, turn)
        for turn, seconds, kind, path, data in json.loads(text)
    ]
    for event in found if _MARK.decode() in text else ():
        _make_whole(event.data, fetch)
    return found


def _make_whole(data: dict[str, Any], fetch: Callable[[str], str]) -> None:
    for name in _OUTPUTS:
        value = data.get(name)
        if type(value) is dict and _FILE in value:
            data[name] = json.loads(fetch(value[_FILE]))


_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
