"""The kinds of events -> `docs/reference/events.md`."""

from __future__ import annotations

from typing import get_args

from engine.record.events import EventKind

__all__ = ["FIELDS", "page"]

FIELDS: dict[str, tuple[str, str]] = {
    "run_started": ("The run begins.", "run hash pipeline state"),
    "attempt_started": ("An attempt of a step begins. For a sub-pipeline, the event also has fields of `run_started`.", "key visit attempt pipeline state"),
    "attempt_noted": ("A task reports progress, or prints a line.", "message progress"),
    "attempt_stopping": ("An attempt is asked to stop: by a timeout, a deadline or a cancellation.", "key why"),
    "attempt_ended": ("An attempt ends. `outcome` is an exit code, or a word such as `error` or `timeout`.", "key visit attempt outcome error output permanent retry_after status message outputs"),
    "attempt_rerun": ("An attempt that was lost when the engine died runs again.", "key"),
    "attempt_known": ("The result of an attempt is taken over from an earlier run.", "key visit attempt outcome error output permanent retry_after status message outputs"),
    "state_set": ("A step writes states. `state` has their names and new values.", "state"),
    "person_asked": ("A `human` step asks its question.", "key prompt options show feedback"),
    "resource_opening": ("A resource is about to be opened.", "resource"),
    "resource_closed": ("A resource is closed.", "resource error"),
    "retry_planned": ("The step will be tried again after `delay` seconds.", "outcome attempt delay"),
    "route_taken": ("A route is taken. The step `to` starts after `delay` seconds.", "outcome to delay"),
    "item_settled": ("An item of a fan-out has its result.", "result reason message label done failed items output"),
    "node_settled": ("A node has its result.", "result reason message label because items gathered output"),
    "cancel_asked": ("The run, or one node, is to be cancelled.", "message"),
    "run_waiting": ("The run waits for answers of people. `at` is the time of day, in seconds since 1970.", "at message"),
    "run_ended": ("The run ended. `status` is `succeeded`, `failed` or `cancelled`.", "status message outputs"),
    "taken_over": ("A resumed run, or one made by `rerun`, takes over the results of earlier attempts.", "only why"),
}  # fmt: skip
"""Of each kind: what happened, and the fields that it may have besides `event`, `time` and `path`."""

_HEAD = """\
# Events

A run reports its progress as a sequence of events. `--events FILE` writes each as one line of JSON, `--webhook URL` posts them,
and `engine show RUN --events` prints those of a stored run. In Python they are `engine.Event` with `kind`, `time`, `path` and `data`.

Every event has these fields; the other fields depend on its kind. A field without a value is null or missing.

| field | meaning |
|---|---|
| `event` | the kind |
| `time` | seconds since the run began |
| `path` | `node` or `node/step`; `node[3]` or `node[3]/step` for an item of a fan-out; inside a sub-pipeline, the path begins with the step that runs it; empty for the run itself |

"""


def page() -> str:
    """The whole page; KeyError for a kind that is not described here."""
    parts = []
    for kind in sorted(get_args(EventKind), key=list(FIELDS).index):
        about, fields = FIELDS[kind]
        listed = ", ".join(f"`{field}`" for field in fields.split())
        parts.append(f"| `{kind}` | {about} | {listed} |\n")
    return _HEAD + "| kind | meaning | fields |\n|---|---|---|\n" + "".join(parts)
