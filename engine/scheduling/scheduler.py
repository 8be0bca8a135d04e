"""Decide what a run stops and starts next, without doing any input or output itself.

`Scheduler` holds the outermost run and all runs of sub-pipelines inside it. Its caller reports which attempts have
ended and what time it is; the scheduler answers which attempts to stop and which to start. It has no clock (`now` is
passed in), does not import trio, and runs no task. At one instant the caller calls `process_due` until it returns
nothing to stop, then `start_ready`. Their phases, in the order in which they happen and in which the methods stand:

1. Ends (`_take_ends`): runs whose resources are closed end. Attempts that ended give their slots back, and the
   machine of each node decides what follows (`_advance_machine`): a retry, another step, or a result.
2. Results (`_settle`): a node gets its result and settles its edges. With its last node, a run ends.
3. Joins (`_decide`): a node whose edges are all settled is skipped, waits for slots, or fans out. Then phase 1 again,
   until nothing changes.
4. Cancellations (`_settle_instant`), unless bodies have to stop first: nodes cancelled alone, fan-outs that are given
   up, runs that have failed. Then phase 1 again.
5. The clock (`_process_deadlines`): a requested cancellation, then deadlines from the outermost run inwards. Then
   phases 1 to 4 again.
6. Starts (`start_ready`): wake-ups, then slots: attempts begin in order (`_begin_attempt`).

Source: docs/language.md, "Nodes and steps", "Outcomes", "Retry", "Routes", "Edges and joins", "Results", "Limits",
"Fan-out", "Sub-pipelines", "What is done at the end", "Cancellation".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from engine.base.durations import round_to_nanoseconds
from engine.expressions.model import EvaluationError
from engine.plan.fan_out import FanOut
from engine.plan.machine import Retry, Stop, advance, begin
from engine.plan.plan import Edge, Plan, StepBody
from engine.record.events import Event
from engine.record.result import (
    ABSENT,
    Attempt,
    ItemResult,
    NodeResult,
    Outcome,
    Reason,
    Result,
    Status,
)
from engine.scheduling import attempts, event_data
from engine.scheduling.carry_over import CarriedOver
from engine.scheduling.reasons import cancel_reason, fan_out_reason, machine_reason, skip_reason
from engine.scheduling.scopes import node_scope, run_scope
from engine.scheduling.slots import SlotLimit, SlotQueue
from engine.scheduling.state import (
    AttemptState,
    CancelReason,
    FanOutState,
    ItemState,
    NodeState,
    RunState,
    StopReason,
    start_fan_out,
)
from engine.scheduling.timers import DeadlineOwner, Timers
from engine.scheduling.values import RunValues

__all__ = ["AttemptState", "Scheduler"]


class Scheduler:
    """The scheduler of one run, its sub-pipelines included.

    At each instant, call `process_due` and `start_ready` until neither returns anything; then sleep until `next_time`.
    Time starts at `now`, in seconds. For an attempt in `known` the caller reports the end at once: there is no wait
    before it. `listen`, if given, is called with every `Event` as it happens. `turn` counts the calls of `process_due`.
    """

    def __init__(
        self,
        plan: Plan,
        values: RunValues,
        run_id: str,
        seed: int | str = 0,
        listen: Callable[[Event], None] | None = None,
        known: CarriedOver | None = None,
        now: float = 0.0,
        on_unused: Callable[[RunState, str], None] | None = None,
    ) -> None:
        self.now = now
        self._known = known or CarriedOver()
        self.turn = 0
        self._is_delivering = self.brief = False
        """`brief` is whether the listener needs only the kinds and paths of events."""
        self.result: Result | None = None
        self.run_id, self._seed, self.listen = run_id, seed, listen
        self._places: SlotQueue[NodeState] = SlotQueue()
        self._ended: list[tuple[AttemptState, Outcome | None]] = []
        self._deciding: list[NodeState] = []
        self._stops: list[AttemptState] = []
        self._bodies = 0
        self.asked = 0
        """The number of attempts that wait for a person."""
        self._cancelling: list[RunState] = []
        self._giving_up: list[FanOutState] = []
        self._released: list[RunState] = []
        self._cut: list[NodeState] = []
        self.on_unused = on_unused
        """Called when the last node that uses an open resource has its result."""
        self._alarms = Timers()
        self.root = RunState(plan, None, values)
        if listen is not None:
            self._emit(
                "run_started", "", run=run_id, hash=plan.hash, **event_data.run_started(plan)
            )
        self._start_run(self.root)

    # -- what the runtime reports ------------------------------------------------------------------------------

    def attempt_ended(self, attempt: AttemptState, outcome: Outcome | None) -> None:
        """Record that the body of an attempt has ended; None: it was stopped before that."""
        self._ended.append((attempt, outcome))

    def cancel(self, message: str, now: float) -> None:
        """Request, at `now`, that the run is cancelled.

        The next `process_due` does it, like the outermost deadline of its instant. A later request changes nothing.
        """
        if self.result is None and self.root.cause is None and not self.root.asked:
            self.now = now
            self.root.asked = True
            self.root.message = self.root.message or message
            self._emit_request("", message)

    def cancel_node(self, name: str, message: str, now: float) -> None:
        """Request, at `now`, that one node of the outermost run is cancelled.

        What the node runs is stopped, its edges are dead, and the other nodes go on. Nothing happens if the node does
        not exist, has its result already, or its run is being cancelled.
        """
        node = next((each for each in self.root.nodes if each.plan.name == name), None)
        if node is None or node.is_over or node.asked or self.root.cause is not None:
            return
        self.now = now
        node.asked = message
        self._cut.append(node)
        self._emit_request(name, message)

    def note(
        self, attempt: AttemptState, message: str, now: float, progress: float | None = None
    ) -> None:
        """Emit a progress line of a running task, reported at `now`."""
        self.now = now
        if self.listen is not None:
            data = {"message": message} | ({} if progress is None else {"progress": progress})
            self.listen(Event("attempt_noted", now, attempt.path, data, self.turn))

    def rerun(self, attempt: AttemptState, now: float) -> AttemptState:
        """Start the same attempt again after its task was lost without a trace.

        Its timeout starts again at `now`. Return the state of the new attempt, which keeps its inputs and its key.
        """
        self.now = now
        again = AttemptState(attempt.node, attempt.body, attempt.record)
        again.inputs, again.runs, again.scope = attempt.inputs, attempt.runs, attempt.scope
        again.execution = attempt.execution + 1
        attempt.is_over = True
        attempt.node.attempt = again
        if attempt.body.timeout is not None:
            self._set_deadline(attempt.body.timeout, attempt.node.run, again)
        self._emit("attempt_rerun", again.path, key=again.key)
        return again

    def resource_opening(self, run: RunState, name: str, now: float) -> None:
        """Record that a resource is being opened; the run does not end before it is closed."""
        self.now = now
        run.held.add(name)
        self._emit("resource_opening", run.prefix, resource=name)

    def resource_closed(self, run: RunState, name: str, error: str | None, now: float) -> None:
        """Record that a resource is closed, or could not be closed if `error` is given.

        A resource that cannot be closed fails the run, unless the run has been cancelled already.
        """
        self.now = now
        run.held.discard(name)
        self._emit("resource_closed", run.prefix, resource=name, error=error)
        if error is not None and run.cause is None:
            run.failed = run.failed or f"resource `{name}` could not be closed: {error}"
        if run.is_over and not run.held:
            self._released.append(run)

    def find_run(self, prefix: str) -> RunState | None:
        """Return the active run whose paths begin with this prefix, or None."""
        return next((run for run in self.root.iter_active_runs() if run.prefix == prefix), None)

    def release_resources(self, now: float) -> None:
        """Release the resources that were lost with the engine that had opened them."""
        for run in self.root.iter_active_runs():
            for name in sorted(run.held):
                self.resource_closed(run, name, None, now)

    # -- what the runtime requests -----------------------------------------------------------------------------

    @property
    def has_pending_ends(self) -> bool:
        """Return whether this instant still has ends or cancellations to process."""
        if self._ended or self._deciding or self._giving_up or self._cancelling:
            return True
        if self._cut or self._released:
            return True
        return self.root.asked and self.root.cause is None and self.result is None

    @property
    def is_idle(self) -> bool:
        """Return whether nothing happens any more until a task ends."""
        return not self.has_pending_ends and self.next_time == math.inf and self.result is None

    @property
    def waits_for_people(self) -> bool:
        """Return whether the run waits for people alone: only an answer or a deadline can continue it."""
        alone = self.asked and self.asked == self._bodies and not self.has_pending_ends
        return bool(alone and self.result is None and not self._alarms.wakeups and not self._stops)

    def suspend(self, at: float, now: float) -> Result:
        """Return the result so far of a run that is suspended to wait for people.

        `at` is the time of day, in seconds since 1970.
        """
        asked = ", ".join(f"`{path}`" for path in self.running_paths)
        message = f"for an answer to {asked}"
        self.now = now
        self._emit("run_waiting", "", at=at, message=message)
        return Result(
            "waiting",
            {node.plan.name: node.current_result for node in self.root.all_nodes},
            message=message,
            id=self.run_id,
            pipeline=self.root.plan.name,
            state=self.root.values.state,
        )

    @property
    def running_paths(self) -> tuple[str, ...]:
        """Return the paths of the attempts whose tasks are running, in order."""
        attempts = (
            attempt for run in self.root.iter_active_runs() for attempt in run.active_attempts
        )
        return tuple(attempt.path for attempt in attempts if attempt.child is None)

    @property
    def next_time(self) -> float:
        """Return the time of the next deadline or wake-up; infinity if there is none."""
        return self._alarms.next_time

    # -- one instant: its phases in order ----------------------------------------------------------------------

    def process_due(self, now: float) -> list[AttemptState]:
        """Process ends, then cancellations, then deadlines up to `now`; return the attempts to stop.

        Call it again until it returns none: bodies that stop at this instant end before anything that comes next.
        """
        self.now = now
        self.turn += 1
        self._settle_instant()
        if not self._stops and (self._alarms.deadlines or self.root.asked):
            self._process_deadlines(now)
        stops, self._stops = self._stops, []
        return stops

    def _settle_instant(self) -> None:
        """Process all ends and what they cause, in the order of the nodes, then cancellations.

        These are phases 1 to 4 of the module's list. It returns early when attempts have to stop first.
        """
        while True:
            self._take_ends()
            if self._stops:  # what stops at this instant ends before anything is cancelled
                return
            if self._cut:
                self._cancel_nodes()
            elif self._giving_up:
                self._stop_given_up_fan_outs()
            elif self._cancelling:
                self._cancel_failed_runs()
            else:
                return

    def _process_deadlines(self, now: float) -> None:
        if self.root.asked and self.root.cause is None:
            self._cancel(self.root, "requested", self.root.message)
        owner = self._alarms.pop_deadline(now)
        if owner is not None:
            while owner is not None:
                self._apply_deadline(owner)
                owner = self._alarms.pop_deadline(now)
            self._settle_instant()

    def start_ready(self, now: float) -> list[AttemptState]:
        """Process wake-ups up to `now`, then hand out slots; return the attempts to start, in order."""
        self.now = now
        while self._alarms.wakeups and (node := self._alarms.pop_wakeup(now)) is not None:
            self._enqueue(node)
        starts: list[AttemptState] = []
        while self._places and (self.root.cause is not None or not self.root.asked):
            first = self._places.pop_ready()
            if first is None:
                break
            attempt = self._begin_attempt(first)
            if attempt is not None:
                starts.append(attempt)
        return starts

    # -- 1. ends of attempts -----------------------------------------------------------------------------------

    def _take_ends(self) -> None:
        """Process the ends of runs with closed resources, then of attempts, until there are none.

        Each end may let nodes decide, which is done at once.
        """
        while self._ended or self._deciding or self._released:
            while self._released:
                self._end_run(self._released.pop())
            ended, self._ended = self._ended, []
            if len(ended) > 1:
                ended.sort(key=_end_order)
            for attempt, outcome in ended:
                self._end_attempt(attempt, outcome)
            if self._deciding:
                self._decide_all()

    def _end_attempt(self, attempt: AttemptState, outcome: Outcome | None) -> None:
        node, record = attempt.node, attempt.record
        attempt.is_over = True
        node.attempt = None
        if attempt.runs:
            self._bodies -= 1
            self.asked -= attempt.body.needs_person
        self._places.release(node.limits)
        record.ended = self.now
        outcome = attempts.record_outcome(attempt, outcome)
        written: dict[str, Any] = {}
        if outcome is not None and type(outcome.code) is int and attempt.body.set is not None:
            outcome, written = attempts.apply_state(attempt, outcome, self.run_id)
        if self.listen is not None:
            self._emit_for(
                "attempt_ended", attempt.path, event_data.attempt_ended, attempt, outcome
            )
            if written:
                self._emit("state_set", attempt.path, state=written)
        if outcome is not None:
            self._advance_machine(attempt, outcome)
        elif node.is_deadline_expired:
            self._end_at_deadline(node)
        else:
            self._settle_cancelled(node)

    def _advance_machine(self, attempt: AttemptState, outcome: Outcome) -> None:
        """Let the machine decide what follows the outcome of an attempt."""
        node = attempt.node
        assert node.state is not None
        machine, at = node.plan.machine, node.state.step
        ends = attempt.record.outcome
        assert ends is not None
        assert ends != "cancelled"
        if node.plan.reads_steps:
            node.set_step_output(attempt.record.step, outcome.output)
        draw = partial(attempts.draw_jitter, self._seed, attempt)
        permanent, asked = outcome.permanent, outcome.retry_after
        after, move = advance(machine, node.state, ends, draw, permanent, asked)
        node.state = after
        if isinstance(move, Stop):
            self._settle_ended_machine(node, move, at, outcome)
            return
        if self.listen is not None:
            kind, data = event_data.retry_or_route(attempt, after, move)
            self._emit(kind, attempt.path, **data)
        if move.delay and not self._is_known(node):
            self._alarms.set_wakeup(round_to_nanoseconds(self.now + move.delay), node)
        elif isinstance(move, Retry):
            self._places.enqueue(node)  # the same step needs the same places
        else:
            self._enqueue(node)

    def _is_known(self, node: NodeState) -> bool:
        """Return whether the end of a node's next attempt is carried over."""
        state = node.state
        if not self._known.outcomes or state is None:
            return False
        step = node.plan.name_of(state.step)
        return (
            node.attempt_key(step, state.visits[state.step], state.attempt) in self._known.outcomes
        )

    def _enqueue(self, node: NodeState) -> None:
        """Queue the next attempt of a node, with the limits that it needs a slot of."""
        node.limits = self._collect_limits(node, node.plan.bodies[node.state.step])  # type: ignore[union-attr]
        self._places.enqueue(node)

    def _collect_limits(self, node: NodeState, body: StepBody) -> tuple[SlotLimit, ...]:
        run, pool = node.run, node.plan.pool
        if body.needs_person:
            return ()
        own = () if body.plan is not None else run.limits
        if node.fan is not None:
            own = (*own, node.fan.limit)
        return own if pool is None else (*own, run.pools[pool])

    # -- 2. results of nodes, items and runs -------------------------------------------------------------------

    def _settle_ended_machine(self, node: NodeState, stop: Stop, at: int, outcome: Outcome) -> None:
        """Determine the result of a node or item whose machine has ended."""
        output = outcome.output
        if node.plan.outputs is not None and output is not ABSENT:
            try:
                output = node.plan.outputs.evaluate(node_scope(node, self.run_id))
            except EvaluationError as error:
                self._settle(node, "failed", Reason("evaluation", f"outputs: {error}"), "error")
                return
        self._settle(
            node, stop.result, machine_reason(node, stop, at), stop.label, output, stop.code, at
        )

    def _settle_cancelled(self, node: NodeState) -> None:
        self._settle(node, "cancelled", cancel_reason(node))

    def _end_at_deadline(self, node: NodeState) -> None:
        self._settle(node, "failed", Reason("deadline", "its deadline passed"), "timeout")

    def _settle(
        self,
        node: NodeState,
        result: Literal["succeeded", "failed", "skipped", "cancelled"],
        reason: Reason,
        label: str | None = None,
        output: Any = ABSENT,
        code: int | None = None,
        at: int | None = None,
    ) -> None:
        """Give a node its result, settle its edges, and check whether its run has failed or ended."""
        run, name, items = node.run, node.plan.name, None
        node.queued = node.wake_ticket = 0
        if node.fan is not None:
            if isinstance(node, ItemState):
                assert result != "skipped"
                self._settle_item(node, result, reason, label, output)
                return
            items = node.fan.complete_results(ItemResult("cancelled", cancel_reason(node)))
        attempts = tuple(node.attempts)
        node.result = NodeResult(name, result, reason, label, output, attempts, items)
        node.steps = None
        if output is not ABSENT:
            run.values.set_output(name, output)
        if self.listen is not None:
            self._emit_for("node_settled", node.path, event_data.node_settled, node, node.result)
        step = node.plan.machine.steps[at] if at is not None else None
        handled = node.plan.allow_failure
        for edge in run.plan.targets[node.plan.index]:
            live = run.cause is None and edge.condition.holds(result, label, code, step)
            handled = handled or (live and edge.condition.handles_failure)
            self._settle_edge(run.nodes[edge.target], edge, live)
        if result == "failed" and not handled:
            node.ends_run = run.plan.on_failure == "cancel"
            self._record_unhandled_failure(run, node)
        if node.plan.uses:
            self._release_resources(node)
        run.left -= 1
        if not run.left:
            self._end_run(run)

    def _release_resources(self, node: NodeState) -> None:
        """Release the resources of a node that has its result."""
        run = node.run.main_run or node.run
        for name in node.plan.uses:
            run.users[name] -= 1
            if not run.users[name] and name in run.held and self.on_unused is not None:
                self.on_unused(run, name)

    def _record_unhandled_failure(self, run: RunState, node: NodeState) -> None:
        run = run.main_run or run
        if run.failed or run.cause is not None:
            return
        reason = node.result.reason if node.result else Reason("")
        run.failed = f"`{node.plan.name}` failed: {reason.message}"
        if run.plan.on_failure == "cancel":
            self._cancelling.append(run)

    def _settle_edge(self, target: NodeState, edge: Edge, live: bool) -> None:
        target.open -= 1
        if live:
            target.taken += edge.is_explicit
        else:
            if target.dead_sources is None:
                target.dead_sources = []
            target.dead_sources.append(edge.source)
        if not target.open and target.result is None:
            self._deciding.append(target)

    def _settle_item(
        self,
        item: ItemState,
        result: Literal["succeeded", "failed", "cancelled"],
        reason: Reason,
        label: str | None,
        output: Any,
    ) -> None:
        """Give an item its result; the last item settles the fan-out."""
        fan = item.fan
        assert fan is not None
        fan.close(item, ItemResult(result, reason, label, output, tuple(item.attempts)))
        if self.listen is not None:
            self._emit_for("item_settled", item.path, event_data.item_settled, item, fan)
        if fan.is_over:
            self._end_fan_out(fan)
        elif fan.has_failed and not (fan.is_halted or fan.is_given_up) and fan.ends_run:
            fan.is_given_up = True
            self._giving_up.append(fan)

    def _end_fan_out(self, fan: FanOutState) -> None:
        whole = fan.owner_node
        if whole.is_deadline_expired:
            self._end_at_deadline(whole)
        elif fan.is_given_up and fan.is_halted:
            self._settle(whole, "failed", fan_out_reason(fan), "failure")
        elif fan.is_halted:
            self._settle_cancelled(whole)
        elif fan.has_failed:
            self._settle(whole, "failed", fan_out_reason(fan), "failure", fan.gathered_outputs)
        else:
            self._settle(whole, "succeeded", fan_out_reason(fan), "success", fan.gathered_outputs)

    def _end_run(self, run: RunState) -> None:
        """Start the nodes of `[finally]` once all others have results; end the run after those.

        A run with open resources ends only when they are closed.
        """
        run = run.main_run or run
        if run.plan.finally_plan is not None and run.closing is None:
            run.closing = RunState(run.plan.finally_plan, run.parent, run.values, run)
            self._start_run(run.closing)
            return
        if run.held:
            return  # until its resources are closed
        status, message, outputs = self._determine_result(run)
        nodes = {node.plan.name: node.result for node in run.all_nodes if node.result}
        state = run.values.state
        result = Result(status, nodes, outputs, message, self.run_id, run.plan.name, state)
        if run.parent is None:
            self.result = result
            self._emit("run_ended", "", status=status, message=message, outputs=outputs)
        else:
            run.parent.record.run = result
            self._ended.append((run.parent, attempts.outcome_of_run(result)))

    def _determine_result(self, run: RunState) -> tuple[Status, str, dict[str, Any]]:
        """Return the status of an ended run, its message and its outputs; the first cause counts."""
        if run.failed:
            return "failed", run.failed, {}
        if run.cause in ("deadline", "requested", "parent"):
            return "cancelled", run.message, {}
        if run.cancelled_node:
            return "cancelled", run.cancelled_node, {}
        if run.plan.outputs is None:
            return "succeeded", run.message, {}
        try:
            return "succeeded", run.message, run.plan.outputs.evaluate(run_scope(run, self.run_id))
        except EvaluationError as error:
            return "failed", f"outputs: {error}", {}

    # -- 3. joins: what a node does when its edges are settled -------------------------------------------------

    def _decide_all(self) -> None:
        """Start or skip the nodes whose edges have settled, in file order, until none is left."""
        while self._deciding:
            deciding, self._deciding = self._deciding, []
            if len(deciding) > 1:
                deciding.sort(key=_file_order)
            for node in deciding:
                if node.result is None and node.run.cause is None:
                    self._decide(node)

    def _decide(self, node: NodeState) -> None:
        """Start or skip a node whose edges have all settled.

        A node that would start behind a failure that ends the run is cancelled with the other nodes.
        """
        run = node.run
        if run.failed:
            node.ends_run = any(run.nodes[edge.source].ends_run for edge in node.plan.edges)
        if not node.join_holds:
            self._settle(node, "skipped", skip_reason(node))
            return
        if node.ends_run:
            return
        only = self._known.rerunnable_nodes
        if only is not None and node.run is self.root and node.plan.name not in only:
            self._settle(node, "skipped", Reason("when", "this rerun does not include it"))
            return
        when = node.plan.when
        if when is not None:
            try:
                wanted = when.evaluate(node_scope(node, self.run_id))
                if not isinstance(wanted, bool):
                    raise EvaluationError(f"expected true or false, found {type(wanted).__name__}")
            except EvaluationError as error:
                self._settle(node, "failed", Reason("evaluation", f"when: {error}"), "error")
                return
            if not wanted:
                self._settle(node, "skipped", Reason("when", "its `when` is false"))
                return
        if node.plan.fan is not None:
            self._start_fan_out(node, node.plan.fan)
            return
        node.state = begin(node.plan.machine)
        self._enqueue(node)

    def _start_fan_out(self, node: NodeState, fan: FanOut) -> None:
        """Start a fan-out: evaluate its list and open the first items."""
        try:
            node.fan = start_fan_out(node, fan, node_scope(node, self.run_id))
        except EvaluationError as error:
            self._settle(node, "failed", Reason("evaluation", f"for_each: {error}"), "error")
            return
        self._open_next_item(node.fan)

    def _open_next_item(self, fan: FanOutState) -> None:
        """Queue the first attempt of the next item.

        Without one, the list is empty or all its items have been opened.
        """
        item = fan.open()
        if item is not None:
            item.state = begin(item.plan.machine)
            self._enqueue(item)
        elif fan.is_over:
            self._end_fan_out(fan)

    def _start_run(self, run: RunState) -> None:
        if run.plan.deadline is not None:
            self._set_deadline(run.plan.deadline, run, run)
        self._deciding += [node for node in run.nodes if not node.open]
        self._decide_all()

    # -- 4. cancellations --------------------------------------------------------------------------------------

    def _cancel_nodes(self) -> None:
        """Stop the nodes that were requested to be cancelled alone."""
        for node in self._cut:
            if not node.is_over:
                node.run.cancelled_node = (
                    node.run.cancelled_node or f"`{node.name}` was cancelled: {node.asked}"
                )
                self._stop_node(node, "cancelled")
        self._cut = []

    def _stop_given_up_fan_outs(self) -> None:
        """Stop the fan-outs of which more items have failed than are tolerated."""
        given_up, self._giving_up = self._giving_up, []
        for fan in given_up:
            if not fan.is_over:
                self._stop_node(fan.owner_node, "cancelled")

    def _cancel_failed_runs(self) -> None:
        """Cancel the runs that an unhandled failure ends, from the outermost in."""
        failed, self._cancelling = self._cancelling, []
        for run in sorted(failed, key=lambda run: run.depth):
            self._cancel(run, "failure", run.failed)

    def _cancel(self, run: RunState, why: CancelReason, message: str) -> None:
        """Cancel every node without a result, at once or when its attempts have stopped."""
        if run.cause is not None or run.is_over:
            return
        run.cause = why
        run.message = run.message or message
        for node in run.nodes:
            if node.result is None:
                self._stop_node(node, "cancelled")

    def _stop_node(self, node: NodeState, why: StopReason) -> None:
        """Give a node its result at once, or when its attempts have stopped."""
        if node.fan is not None:
            node.fan.is_halted = True
            for item in list(node.fan.active_items.values()):
                if item.attempt is None:
                    self._settle_cancelled(item)
                else:
                    self._stop(item.attempt, why)
        elif node.attempt is not None:
            self._stop(node.attempt, why)
        elif node.is_deadline_expired:
            self._end_at_deadline(node)
        else:
            self._settle_cancelled(node)

    def _stop(self, attempt: AttemptState, why: StopReason) -> None:
        if attempt.is_over:
            return
        first = not attempt.stopping
        # A body may take its time to stop, and a stop of more than the attempt may come meanwhile.
        if first or why == "cancelled" or attempt.stopping == "timeout":
            attempt.stopping = why
            self._emit("attempt_stopping", attempt.path, key=attempt.key, why=why)
        if attempt.child is not None:
            self._cancel(attempt.child, "parent", f"`{attempt.path}` was stopped")
        elif first:
            self._stops.append(attempt)

    # -- 5. deadlines ------------------------------------------------------------------------------------------

    def _set_deadline(self, seconds: float, run: RunState, owner: DeadlineOwner) -> None:
        self._alarms.set_deadline(round_to_nanoseconds(self.now + seconds), run, owner)

    def _apply_deadline(self, owner: DeadlineOwner) -> None:
        if owner.is_over:
            return
        if isinstance(owner, RunState):
            self._cancel(owner, "deadline", f"the deadline of `{owner.plan.name}` passed")
        elif isinstance(owner, AttemptState):
            if not owner.stopping:
                self._stop(owner, "timeout")
        elif owner.run.cause is None:
            owner.is_deadline_expired = True
            self._stop_node(owner, "deadline")

    # -- 6. starts ---------------------------------------------------------------------------------------------

    def _begin_attempt(self, node: NodeState) -> AttemptState | None:
        """Start the next attempt of a node that has its slots.

        Return None if the attempt is a sub-pipeline or has already ended.
        """
        state = node.state
        assert state is not None
        body = node.plan.bodies[state.step]
        step = node.plan.name_of(state.step)
        run = node.run
        record = Attempt(step, state.visits[state.step], state.attempt, self.now)
        attempt = AttemptState(node, body, record)
        plan, first = node.plan, not node.attempts
        node.attempts.append(record)
        node.attempt = attempt
        if first and (plan.deadline is not None or plan.fan is not None):
            self._note_first_attempt(node)
        if self.listen is not None:
            self._emit_for("attempt_started", attempt.path, event_data.attempt_started, attempt)
        if body.timeout is not None:
            self._set_deadline(body.timeout, run, attempt)
        problem = attempts.evaluate_inputs(attempt, self.run_id)
        if problem is not None:
            self._ended.append((attempt, Outcome("error", error=problem, permanent=True)))
        elif attempt.child is not None:
            self._start_run(attempt.child)
        else:
            attempt.runs = True
            self._bodies += 1
            if body.needs_person:
                self.asked += 1
                self._emit("person_asked", attempt.path, key=attempt.key, **attempt.inputs)
            return attempt
        return None

    def _note_first_attempt(self, node: NodeState) -> None:
        """Handle the start of the first attempt of a node or an item; the next item may then queue."""
        fan, deadline = node.fan, node.plan.deadline
        if deadline is not None and not (fan and fan.has_begun):
            self._set_deadline(deadline, node.run, fan.owner_node if fan else node)
        if fan is not None:
            fan.has_begun = True
            self._open_next_item(fan)

    # -- events ------------------------------------------------------------------------------------------------

    def _emit_request(self, path: str, message: str) -> None:
        """Emit a request to cancel.

        If a listener makes the request while it receives an event, it belongs to the current turn, otherwise to the
        next.
        """
        if self.listen is not None:
            turn = self.turn if self._is_delivering else self.turn + 1
            self.listen(Event("cancel_asked", self.now, path, {"message": message}, turn))

    def _emit_for(
        self, kind: Any, path: str, data: Callable[..., dict[str, Any]], *of: Any
    ) -> None:
        if self.listen is not None:
            self._deliver(kind, path, {} if self.brief else data(*of))

    def _emit(self, kind: Any, path: str, **data: Any) -> None:
        if self.listen is not None:
            self._deliver(kind, path, data)

    def _deliver(self, kind: Any, path: str, data: dict[str, Any]) -> None:
        assert self.listen is not None
        self._is_delivering = True
        self.listen(Event(kind, self.now, path, data, self.turn))
        self._is_delivering = False


# -- helpers without state -------------------------------------------------------------------------------------


def _end_order(ended: tuple[AttemptState, Outcome | None]) -> tuple[int, ...]:
    return _file_order(ended[0].node)


def _file_order(node: NodeState) -> tuple[int, ...]:
    return node.order[1::2]
