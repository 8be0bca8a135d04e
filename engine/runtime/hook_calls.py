"""Call the hooks of a run, and decide what follows when one raises."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from engine.errors import InputError
from engine.hooks import Hook, HookContext
from engine.record.events import Event
from engine.record.result import Outcome, Result
from engine.scheduling.scheduler import AttemptState

__all__ = ["HookCaller"]

_log = logging.getLogger("engine")
_CLOSING_TIMEOUT = 30.0
"""Seconds that the hooks after nodes have when the run is over."""


class HookCaller:
    """Calls the hooks of one run."""

    def __init__(
        self,
        hooks: Sequence[Hook],
        run_id: str,
        pipeline: str,
        redact: Callable[[Any], Any],
    ) -> None:
        self._hooks, self._redact = hooks, redact
        self._run = HookContext(run_id=run_id, pipeline=pipeline)
        self._begun_nodes: set[str] = set()
        self._send, self._receive = trio.open_memory_channel[Event](math.inf)

    @asynccontextmanager
    async def deliver(self) -> AsyncIterator[None]:
        """Call `after_node` hooks in the background, in order, while the block around the run is open."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._call_node_hooks)
            try:
                yield
            finally:
                self._send.close()
                nursery.cancel_scope.deadline = trio.current_time() + _CLOSING_TIMEOUT

    def on_event(self, event: Event) -> None:
        """Queue the event of a node that has ended."""
        if event.kind == "node_settled":
            self._send.send_nowait(event)

    async def before_run(self, inputs: Any) -> None:
        """Call the `before_run` hooks; raise InputError if one refuses the run."""
        about = self._build_context(inputs=self._redact(dict(inputs)))
        for hook in self._hooks:
            problem = await self._call(hook, "before_run", about)
            if problem is not None and hook.policy == "fail":
                raise InputError((f"hook `{hook.name}` refuses the run: {problem}",))

    async def after_run(self, result: Result) -> None:
        """Call all `after_run` hooks; an exception in one does not stop the others."""
        for hook in self._hooks:
            await self._call(hook, "after_run", self._run, result)

    async def before_attempt(self, attempt: AttemptState) -> Outcome | None:
        """Call the hooks before an attempt; return the outcome `error` if one refuses it, else None."""
        about = self._build_attempt_context(attempt)
        node = attempt.node.run.prefix + attempt.node.plan.name
        first = node not in self._begun_nodes
        self._begun_nodes.add(node)
        for hook in self._hooks:
            for name in ("before_node", "before_attempt") if first else ("before_attempt",):
                subject = self._build_context(path=node) if name == "before_node" else about
                problem = await self._call(hook, name, subject)
                if problem is not None and hook.policy == "fail":
                    message = f"hook `{hook.name}`: {problem}"
                    return Outcome("error", error=message, permanent=True)
        return None

    async def after_attempt(self, attempt: AttemptState, outcome: Outcome) -> None:
        """Call all `after_attempt` hooks; an exception in one does not stop the others."""
        about = self._build_attempt_context(attempt)
        for hook in self._hooks:
            await self._call(hook, "after_attempt", about, outcome)

    # -- one call ----------------------------------------------------------------------------------

    async def _call(self, hook: Hook, name: str, *given: Any) -> str | None:
        """Call one hook and return a description of its error, or None; the error is logged too."""
        function = getattr(hook, name)
        if function is None:
            return None
        try:
            found = function(*given)
            if inspect.isawaitable(found):
                await found
        except Exception as error:  # the hook's own
            text = str(self._redact(f"{type(error).__name__}: {error}"))
            _log.warning("hook `%s` failed in `%s`: %s", hook.name, name, text)
            return text
        return None

    async def _call_node_hooks(self) -> None:
        async for event in self._receive:
            about = self._build_context(path=event.path)
            for hook in self._hooks:
                await self._call(hook, "after_node", about, dict(event.data))

    def _build_attempt_context(self, attempt: AttemptState) -> HookContext:
        record, task = attempt.record, attempt.body.task
        return self._build_context(
            path=attempt.path,
            task=task.id if task else None,
            visit=record.visit,
            attempt=record.attempt,
            inputs=self._redact(dict(attempt.inputs)),
        )

    def _build_context(self, **more: Any) -> HookContext:
        return HookContext(run_id=self._run.run_id, pipeline=self._run.pipeline, **more)
