"""What people see while a run goes on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.record.events import Event
from engine.render.progress import LastNotes, ProgressView, format_event, shorten_path
from engine.render.text import plain_text, text_width


def started(path: str, time: float = 0.0, visit: int = 1, attempt: int = 1) -> Event:
    return Event("attempt_started", time, path, {"visit": visit, "attempt": attempt})


def ended(path: str, outcome: Any, error: str | None = None, attempt: int = 1) -> Event:
    data = {"visit": 1, "attempt": attempt, "outcome": outcome, "error": error, "output": None}
    return Event("attempt_ended", 12.34, path, data)


def noted(path: str, message: str) -> Event:
    return Event("attempt_noted", 3.0, path, {"message": message})


def settled(path: str, result: str, label: str | None = None, message: str = "") -> Event:
    data = {"result": result, "reason": "kind", "label": label, "message": message}
    return Event("node_settled", 75.0, path, data)


def item(path: str, result: str, done: int, items: int, failed: int = 0) -> Event:
    label = "2" if result == "failed" else "success"
    data = {"result": result, "reason": "kind", "label": label, "message": "why"}
    counts = {"done": done, "items": items, "failed": failed}
    return Event("item_settled", 75.0, path, data | counts)


def frame(board: ProgressView, now: float = 20.0, width: int = 80, height: int = 24) -> list[str]:
    return [
        "".join(map(plain_text, pieces)) for pieces in board.render_frame(now, width, height, "*")
    ]


# -- a line an event ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event, shown",
    [
        (
            Event("run_started", 0.0, "", {"run": "f00", "pipeline": "release", "hash": "1"}),
            "   0.0s  release started, run f00",
        ),
        (started("fetch/fetch"), "   0.0s  fetch  started"),
        (started("build/test", attempt=2), "   0.0s  build/test  attempt 2 started"),
        (started("a/b", visit=3), "   0.0s  a/b  visit 3, attempt 1 started"),
        (ended("build/test", 2, attempt=2), "  12.3s  build/test  attempt 2: exit 2"),
        (ended("a/b", "error", "no\nway"), r"  12.3s  a/b  attempt 1: error: no\nway"),
        (ended("a/b", "cancelled"), "  12.3s  a/b  attempt 1: cancelled"),
        (ended("a/b", 0), None),
        (started("fan[3]/fan"), None),
        (ended("fan[3]/fan", 2), None),
        (item("fan[3]", "succeeded", 4, 100), None),
        (item("fan[3]", "succeeded", 10, 100), "  1m15s  fan  10/100 items"),
        (item("a/b/fan[3]", "succeeded", 1, 3), "  1m15s  a/b/fan  1/3 items"),
        (
            item("fan[3]", "failed", 9, 100, 2),
            "  1m15s  fan[3]  failed `2`: why (9/100 items, 2 failed)",
        ),
        (item("fan[3]", "failed", 50, 100, 11), "  1m15s  fan  50/100 items, 11 failed"),
        (item("fan[3]", "cancelled", 50, 100), None),
        (started("fan[3]/sub/inner/x"), None),
        (settled("fan[3]/sub/inner", "succeeded"), None),
        (settled("fan[3]/sub/inner", "failed", "2"), "  1m15s  fan[3]/sub/inner  failed `2`"),
        (noted("a/a", "\x1b[2Jhi"), r"   3.0s  a  | \x1b[2Jhi"),
        (
            Event("route_taken", 0.0, "a/b", {"outcome": 0, "to": "c", "delay": 0.0}),
            "   0.0s  a/b  next: c",
        ),
        (
            Event("route_taken", 0.0, "a/b", {"outcome": 2, "to": "c", "delay": 90.0}),
            "   0.0s  a/b  next: c in 1m30s",
        ),
        (settled("a/a/b", "succeeded", "success"), "  1m15s  a/b  succeeded"),
        (settled("a", "failed", "reject", "exit 3"), "  1m15s  a  failed `reject`: exit 3"),
        (settled("a", "skipped", None, "needs `b`"), "  1m15s  a  skipped: needs `b`"),
        (
            Event("cancel_asked", 1.0, "", {"message": "SIGINT received"}),
            "   1.0s  cancelling: SIGINT received",
        ),
        (Event("run_ended", 9.0, "", {"status": "failed"}), None),
    ],
)
def test_lines(event: Event, shown: str | None) -> None:
    assert format_event(event) == shown


@pytest.mark.parametrize(
    "path, shown",
    [("a", "a"), ("a/a", "a"), ("a/b", "a/b"), ("a/a/b/c", "a/b/c"), ("a/b/b/b", "a/b/b")],
)
def test_a_step_that_bears_its_nodes_name_is_left_out(path: str, shown: str) -> None:
    assert shorten_path(path) == shown


# -- a few lines redrawn -----------------------------------------------------------------------


def board_of(*events: Event, total: int = 5) -> ProgressView:
    board = ProgressView(total)
    for event in events:
        board.add_event(event)
    return board


def test_a_frame() -> None:
    board = board_of(
        started("fetch/fetch"),
        settled("lint", "failed"),
        started("build/test", 12.5, attempt=2),
        noted("build/test", "compiling\tmain.c "),
        started("docs/docs"),
        ended("docs/docs", 1),
    )
    assert frame(board) == [
        "* 20.0s  1/5 done  1 failed  2 running  1 waiting",
        "  fetch        20.0s",
        "  build/test    7.5s  attempt 2  compiling    main.c",
    ]


def test_a_sub_pipeline_is_shown_by_what_runs_inside_it() -> None:
    board = board_of(started("a/a"), started("a/a/b/b"))
    assert frame(board)[1:] == ["  a/b   20.0s"]
    board.add_event(ended("a/a/b/b", 0))
    assert frame(board)[1:] == ["  a   20.0s"]


def test_what_has_no_room_is_counted() -> None:
    board = board_of(*(started(f"n{at}/n{at}") for at in range(20)))
    assert frame(board, height=5) == [
        "* 20.0s  0/5 done  20 running",
        "  n0   20.0s",
        "  n1   20.0s",
        "  and 18 more",
    ]
    assert len(frame(board, height=100)) == 8


def test_cancelling_is_told() -> None:
    board = board_of(Event("cancel_asked", 1.0, "", {"message": "why"}))
    assert frame(board) == ["* 20.0s  0/5 done  cancelling"]


PATHS = st.sampled_from(["a/a", "a/long_name_of_a_step", "b/b", "b/b/c/c", "b/b/c/d", "e/e"])
EVENTS = st.one_of(
    st.builds(started, PATHS),
    st.builds(ended, PATHS, st.sampled_from([0, 1, "error", "timeout", "cancelled"])),
    st.builds(noted, PATHS, st.text()),
    st.builds(settled, PATHS.map(lambda path: path.rpartition("/")[0]), st.just("failed")),
)


@given(st.lists(EVENTS), st.integers(1, 90), st.integers(1, 40))
def test_a_frame_never_leaves_its_terminal(events: list[Event], width: int, height: int) -> None:
    lines = frame(board_of(*events), width=width, height=height)
    assert 1 <= len(lines) <= max(1, height - 1)
    assert all(text_width(line) <= max(width - 1, 0) and line.isprintable() for line in lines)


# -- what is left of it ------------------------------------------------------------------------


def test_notes_keep_the_last_words_of_what_did_not_succeed() -> None:
    notes = LastNotes(max_lines=2)
    for event in (
        noted("a/a", "of the first attempt"),
        ended("a/a", 1),
        started("a/a", attempt=2),
        *(noted("a/a", str(at)) for at in range(3)),
        noted("b/b", "well"),
        ended("b/b", 0),
    ):
        notes.add_event(event)
    assert {path: list(kept) for path, kept in notes.by_path.items()} == {"a/a": ["1", "2"]}


def test_of_a_fan_out_a_terminal_shows_how_many_have_ended() -> None:
    board = ProgressView(2)
    board.add_event(started("fan[0]/fan"))
    board.add_event(ended("fan[0]/fan", 0))
    board.add_event(item("fan[0]", "succeeded", 37, 100, 2))
    board.add_event(started("fan[37]/fan", 1.0))
    assert frame(board, now=9.0)[0] == "* 9.0s  0/2 done  1 running"
    assert frame(board, now=9.0)[1:] == ["  fan  37/100 items, 2 failed", "  fan[37]    8.0s"]
    board.add_event(settled("fan", "succeeded"))
    assert frame(board)[1:] == ["  fan[37]   19.0s"]
