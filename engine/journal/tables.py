"""The tables of a journal, the same in every database."""

from __future__ import annotations

import re

__all__ = ["TABLES", "hide_password"]

TABLES = (
    """CREATE TABLE IF NOT EXISTS run (
        id TEXT PRIMARY KEY, pipeline TEXT NOT NULL, path TEXT NOT NULL, hash TEXT NOT NULL,
        files TEXT NOT NULL, inputs TEXT NOT NULL, env TEXT NOT NULL, seed TEXT NOT NULL,
        created {real} NOT NULL, engine TEXT NOT NULL, format INTEGER NOT NULL,
        origin TEXT, key TEXT, status TEXT NOT NULL, message TEXT NOT NULL, ended {real})""",
    "CREATE UNIQUE INDEX IF NOT EXISTS run_by_key ON run (path, pipeline, key)",
    "CREATE INDEX IF NOT EXISTS run_by_time ON run (created)",
    """CREATE TABLE IF NOT EXISTS event (
        run TEXT NOT NULL, last INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (run, last)){lean}""",
    """CREATE TABLE IF NOT EXISTS lease (
        run TEXT PRIMARY KEY, epoch INTEGER NOT NULL, host TEXT NOT NULL, boot TEXT NOT NULL,
        pid INTEGER NOT NULL, began TEXT NOT NULL, expires {real} NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS request (
        id {serial} PRIMARY KEY, run TEXT NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL, at {real} NOT NULL)""",
)


def hide_password(location: str) -> str:
    """Return a path or URL without its password."""
    return re.sub(r"(?<=://)([^/@:]*):[^/@]*@", r"\1:***@", location)
