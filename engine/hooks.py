"""Hooks: functions that are called before and after runs, nodes and attempts.

They come from the caller, or from a plug-in that the project names. They observe a run and cannot change it: their
arguments are values of their own, without secrets. A hook that raises before a run refuses the run; before a node or
an attempt it makes that attempt the outcome `error`, which is not retried but may be routed. With the policy "warn",
and always after, the failure is only reported. The contract does not define hooks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

import attrs

from engine.record.result import Outcome, Result

__all__ = ["Hook", "HookContext"]


@attrs.frozen(kw_only=True)
class HookContext:
    """The run, node or attempt that a hook is called for.

    `path` is empty for a run, the path of a node, or `node/step` for an attempt.
    """

    run_id: str
    pipeline: str
    path: str = ""
    task: str | None = None
    visit: int = 0
    attempt: int = 0
    inputs: Mapping[str, Any] = attrs.field(factory=dict)
    """Of a run, or of an attempt of a task."""


BeforeHook = Callable[[HookContext], Awaitable[None] | None]


@attrs.frozen(kw_only=True)
class Hook:
    """A set of sync or async functions to call at points of a run.

    `before_node` is called before the first attempt of a task: a node that is skipped, or that only runs sub-pipelines,
    has an end and no beginning.
    """

    name: str = "hook"
    policy: Literal["fail", "warn"] = attrs.field(
        default="fail", validator=attrs.validators.in_(("fail", "warn"))
    )
    before_run: BeforeHook | None = None
    after_run: Callable[[HookContext, Result], Awaitable[None] | None] | None = None
    before_node: BeforeHook | None = None
    after_node: Callable[[HookContext, Mapping[str, Any]], Awaitable[None] | None] | None = None
    """Its second argument has `result`, `label`, `reason` and `message` of the node."""
    before_attempt: BeforeHook | None = None
    after_attempt: Callable[[HookContext, Outcome], Awaitable[None] | None] | None = None
