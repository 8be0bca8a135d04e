"""What a store keeps: the header of a run, who holds it, its events; and JSON for all of them.

What is larger than `LARGE` is kept in a file of its own, named by its hash, and an event's data has
the name in its place. Source: LANGUAGE.md sections 14 and 15 (T6).
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
"""The version of what is written; older ones are read."""
LARGE = 1024 * 1024
"""Characters of JSON up to which an output is kept with its event."""

_FILE = "$file"
_MARK = f'"{_FILE}":'.encode()
_PART = 100
"""Events that are encoded at once: what is made of more would wake the garbage collector."""
_OUTPUTS = ("output", "outputs")


@frozen(kw_only=True)
class Header:
    """What is known of a run before its first event. `files` are the spec and those it includes, by their paths; `created` is
    seconds since 1970; `origin` is the run that this one takes successes over from."""

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
    """Given by who started it: one run for each key and pipeline."""


@frozen
class Holder:
    """A process that may write a run's events: it is alive as long as its host has not been started anew, and its pid is of the
    process that began at `began`."""

    host: str
    boot: str
    pid: int
    began: str

    @property
    def alive(self) -> bool | None:
        """Whether it lives; None if it is on another host, where only its lease tells."""
        me = myself()
        if self.host != me.host:
            return None
        return self.boot == me.boot and began(self.pid) == self.began

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@frozen(kw_only=True)
class Kept:
    """A run as the store has it. `status` is `running` as long as it has not ended, whoever holds it, or nobody."""

    header: Header
    status: str
    message: str = ""
    ended: float | None = None
    holder: Holder | None = None

    @property
    def shown(self) -> str:
        """Its status for people: a run that nobody runs is `interrupted`."""
        return "interrupted" if self.status == "running" and self.holder is None else self.status


def myself() -> Holder:
    """This process."""
    pid = os.getpid()
    return Holder(socket.gethostname(), boot(), pid, began(pid))


def encoded(events: Sequence[Event], keep: Callable[[str], str]) -> str:
    """Events that are written together as one JSON array; `keep` stores a large text and gives the name it has then."""
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
    """Those events again; `fetch` gives the text that was stored under a name."""
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
