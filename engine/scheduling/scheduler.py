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
"Fan-out", "Sub-pipelines", "Cancellation".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from engine.base.durations import whole
from engine.expressions.model import EvaluationError
from engine.plan.fan_out import Fan
from engine.plan.machine import Retry, Stop, advance, begin
from engine.plan.plan import Body, Edge, Plan
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
from engine.scheduling.carry_over import Known
from engine.scheduling.reasons import of_cancel, of_fan, of_needs, of_stop
from engine.scheduling.scopes import of_node, of_run
from engine.scheduling.slots import Limit, Places
from engine.scheduling.state import (
    LiveAttempt,
    LiveFan,
    LiveItem,
    LiveNode,
    LiveRun,
    Stopping,
    Why,
    fan_of,
)
from engine.scheduling.timers import Alarms, Owner
from engine.scheduling.values import Values

__all__ = ["LiveAttempt", "Scheduler"]


class Scheduler:
    """The scheduler of one run, its sub-pipelines included.

    At each instant, call `process_due` and `start_ready` until neither returns anything; then sleep until `next_time`.
    Time starts at `now`, in seconds. For an attempt in `known` the caller reports the end at once: there is no wait
    before it. `listen`, if given, is called with every `Event` as it happens. `turn` counts the calls of `process_due`.
    """

    def __init__(
        self,
        plan: Plan,
        values: Values,
        run_id: str,
        seed: int | str = 0,
        listen: Callable[[Event], None] | None = None,
        known: Known | None = None,
        now: float = 0.0,
        unused: Callable[[LiveRun, str], None] | None = None,
    ) -> None:
        self.now = now
        self._known = known or Known()
        self.turn = 0
        self._telling = self.brief = False
        """Whether the listener needs only the kinds and paths of events."""
        self.result: Result | None = None
        self.run_id, self._seed, self.listen = run_id, seed, listen
        self._places: Places[LiveNode] = Places()
        self._ended: list[tuple[LiveAttempt, Outcome | None]] = []
        self._deciding: list[LiveNode] = []
        self._stops: list[LiveAttempt] = []
        self._bodies = 0
        self.asked = 0
        """The number of attempts that wait for a person."""
        self._cancelling: list[LiveRun] = []
        self._giving_up: list[LiveFan] = []
        self._released: list[LiveRun] = []
        self._cut: list[LiveNode] = []
        self.unused = unused
        """Called when the last node that uses an open resource has its result."""
        self._alarms = Alarms()
        self.root = LiveRun(plan, None, values)
        if listen is not None:
            self._tell("run_started", "", run=run_id, hash=plan.hash, **event_data.of_run(plan))
        self._start_run(self.root)

    # -- what the runtime tells --------------------------------------------------------------------------------

    def ended(self, attempt: LiveAttempt, outcome: Outcome | None) -> None:
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
            self._tell_asked("", message)

    def cancel_node(self, name: str, message: str, now: float) -> None:
        """Request, at `now`, that one node of the outermost run is cancelled.

        What the node runs is stopped, its edges are dead, and the other nodes go on. Nothing happens if the node does not
        exist, has its result already, or its run is being cancelled.
        """
        node = next((each for each in self.root.nodes if each.plan.name == name), None)
        if node is None or node.over or node.asked or self.root.cause is not None:
            return
        self.now = now
        node.asked = message
        self._cut.append(node)
        self._tell_asked(name, message)

    def note(
        self, attempt: LiveAttempt, message: str, now: float, progress: float | None = None
    ) -> None:
        """Emit a progress line of a running task, reported at `now`."""
        self.now = now
        if self.listen is not None:
            data = {"message": message} | ({} if progress is None else {"progress": progress})
            self.listen(Event("attempt_noted", now, attempt.path, data, self.turn))

    def rerun(self, attempt: LiveAttempt, now: float) -> LiveAttempt:
        """Start the same attempt again after its task was lost without a trace.

        Its timeout starts anew at `now`. Return the state of the new attempt, which keeps its inputs and its key.
        """
        self.now = now
        again = LiveAttempt(attempt.node, attempt.body, attempt.record)
        again.inputs, again.runs, again.scope = attempt.inputs, attempt.runs, attempt.scope
        again.life = attempt.life + 1
        attempt.over = True
        attempt.node.attempt = again
        if attempt.body.timeout is not None:
            self._deadline(attempt.body.timeout, attempt.node.run, again)
        self._tell("attempt_rerun", again.path, key=again.key)
        return again

    def opening(self, run: LiveRun, name: str, now: float) -> None:
        """Record that a resource is being opened; the run does not end before it is closed."""
        self.now = now
        run.held.add(name)
        self._tell("resource_opening", run.prefix, resource=name)

    def closed(self, run: LiveRun, name: str, error: str | None, now: float) -> None:
        """Record that a resource is closed, or could not be closed if `error` is given.

        A resource that cannot be closed fails the run, unless the run has been cancelled already.
        """
        self.now = now
        run.held.discard(name)
        self._tell("resource_closed", run.prefix, resource=name, error=error)
        if error is not None and run.cause is None:
            run.failed = run.failed or f"resource `{name}` could not be closed: {error}"
        if run.over and not run.held:
            self._released.append(run)

    def run_at(self, prefix: str) -> LiveRun | None:
        """Return the active run whose paths begin with this prefix, or None."""
        return next((run for run in self.root.tree() if run.prefix == prefix), None)

    def lose(self, now: float) -> None:
        """Release the resources that were lost with the engine that had opened them."""
        for run in self.root.tree():
            for name in sorted(run.held):
                self.closed(run, name, None, now)

    # -- what the runtime asks ---------------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Return whether this instant still has ends or cancellations to process."""
        if self._ended or self._deciding or self._giving_up or self._cancelling:
            return True
        if self._cut or self._released:
            return True
        return self.root.asked and self.root.cause is None and self.result is None

    @property
    def idle(self) -> bool:
        """Return whether nothing happens any more until a task ends."""
        return not self.pending and self.next_time == math.inf and self.result is None

    @property
    def asking(self) -> bool:
        """Return whether the run waits for people alone: only an answer or a deadline can continue it."""
        alone = self.asked and self.asked == self._bodies and not self.pending
        return bool(alone and self.result is None and not self._alarms.wakes and not self._stops)

    def park(self, at: float, now: float) -> Result:
        """Return the result so far of a run that is suspended to wait for people.

        `at` is the time of day, in seconds since 1970.
        """
        asked = ", ".join(f"`{path}`" for path in self.running)
        message = f"for an answer to {asked}"
        self.now = now
        self._tell("run_waiting", "", at=at, message=message)
        return Result(
            "waiting",
            {node.plan.name: node.so_far for node in self.root.whole},
            message=message,
            id=self.run_id,
            pipeline=self.root.plan.name,
            state=self.root.values.state,
        )

    @property
    def running(self) -> tuple[str, ...]:
        """Return the paths of the attempts whose tasks are running, in order."""
        attempts = (attempt for run in self.root.tree() for attempt in run.attempts)
        return tuple(attempt.path for attempt in attempts if attempt.child is None)

    @property
    def next_time(self) -> float:
        """Return the time of the next deadline or wake-up; infinity if there is none."""
        return self._alarms.next_time

    # -- one instant: its phases in order ----------------------------------------------------------------------

    def strike(self, now: float) -> list[LiveAttempt]:
        """Process ends, then cancellations, then deadlines up to `now`; return the attempts to stop.

        Call it again until it returns none: bodies that stop at this instant end before anything that comes next.
        """
        self.now = now
        self.turn += 1
        self._settle_ends()
        if not self._stops and (self._alarms.deadlines or self.root.asked):
            self._strike_clock(now)
        stops, self._stops = self._stops, []
        return stops

    def _settle_ends(self) -> None:
        """Process all ends and what they cause, in the order of the nodes, then cancellations.

        These are phases 1 to 5 of the module's list. It returns early when attempts have to stop first.
        """
        while True:
            self._take_ends()
            if self._stops:  # what stops at this instant ends before anything is cancelled
                return
            if self._cut:
                self._cancel_cut()
            elif self._giving_up:
                self._give_up()
            elif self._cancelling:
                self._cancel_failed()
            else:
                return

    def _strike_clock(self, now: float) -> None:
        if self.root.asked and self.root.cause is None:
            self._cancel(self.root, "requested", self.root.message)
        owner = self._alarms.struck(now)
        if owner is not None:
            while owner is not None:
                self._strike(owner)
                owner = self._alarms.struck(now)
            self._settle_ends()

    def give(self, now: float) -> list[LiveAttempt]:
        """Process wake-ups up to `now`, then hand out slots; return the attempts to start, in order."""
        self.now = now
        while self._alarms.wakes and (node := self._alarms.awake(now)) is not None:
            self._ask(node)
        starts: list[LiveAttempt] = []
        while self._places and (self.root.cause is not None or not self.root.asked):
            first = self._places.next()
            if first is None:
                break
            attempt = self._begin(first)
            if attempt is not None:
                starts.append(attempt)
        return starts

    # -- 1. ends of attempts -----------------------------------------------------------------------------------

    def _take_ends(self) -> None:
        """Ends of runs whose resources are closed, then of attempts, then the nodes that these let decide; until there are none."""
        while self._ended or self._deciding or self._released:
            while self._released:
                self._end_run(self._released.pop())
            ended, self._ended = self._ended, []
            if len(ended) > 1:
                ended.sort(key=_end_order)
            for attempt, outcome in ended:
                self._end(attempt, outcome)
            if self._deciding:
                self._decide_all()

    def _end(self, attempt: LiveAttempt, outcome: Outcome | None) -> None:
        node, record = attempt.node, attempt.record
        attempt.over = True
        node.attempt = None
        if attempt.runs:
            self._bodies -= 1
            self.asked -= attempt.body.asks
        self._places.free(node.limits)
        record.ended = self.now
        outcome = attempts.recorded(attempt, outcome)
        written: dict[str, Any] = {}
        if outcome is not None and type(outcome.code) is int and attempt.body.set is not None:
            outcome, written = attempts.written(attempt, outcome, self.run_id)
        if self.listen is not None:
            self._tell_of("attempt_ended", attempt.path, event_data.of_end, attempt, outcome)
            if written:
                self._tell("state_set", attempt.path, state=written)
        if outcome is not None:
            self._advance(attempt, outcome)
        elif node.deadline_struck:
            self._deadline_end(node)
        else:
            self._cancelled(node)

    def _advance(self, attempt: LiveAttempt, outcome: Outcome) -> None:
        """Let the machine decide what follows the outcome of an attempt."""
        node = attempt.node
        assert node.state is not None
        machine, at = node.plan.machine, node.state.step
        ends = attempt.record.outcome
        assert ends is not None
        assert ends != "cancelled"
        if node.plan.remembers:
            node.remember(attempt.record.step, outcome.output)
        draw = partial(attempts.drawn, self._seed, attempt)
        permanent, asked = outcome.permanent, outcome.retry_after
        after, move = advance(machine, node.state, ends, draw, permanent, asked)
        node.state = after
        if isinstance(move, Stop):
            self._stopped(node, move, at, outcome)
            return
        if self.listen is not None:
            kind, data = event_data.of_move(attempt, after, move)
            self._tell(kind, attempt.path, **data)
        if move.delay and not self._is_known(node):
            self._alarms.set_wake(whole(self.now + move.delay), node)
        elif isinstance(move, Retry):
            self._places.ask(node)  # the same step needs the same places
        else:
            self._ask(node)

    def _is_known(self, node: LiveNode) -> bool:
        """Return whether the end of a node's next attempt is carried over."""
        state = node.state
        if not self._known.ends or state is None:
            return False
        step = node.plan.name_of(state.step)
        return node.key(step, state.visits[state.step], state.attempt) in self._known.ends

    def _ask(self, node: LiveNode) -> None:
        """Queue the next attempt of a node, with the limits that it needs a slot of."""
        node.limits = self._limits(node, node.plan.bodies[node.state.step])  # type: ignore[union-attr]
        self._places.ask(node)

    def _limits(self, node: LiveNode, body: Body) -> tuple[Limit, ...]:
        run, pool = node.run, node.plan.pool
        if body.asks:
            return ()
        own = () if body.plan is not None else run.limits
        if node.fan is not None:
            own = (*own, node.fan.limit)
        return own if pool is None else (*own, run.pools[pool])

    # -- 2. results of nodes, items and runs -------------------------------------------------------------------

    def _stopped(self, node: LiveNode, stop: Stop, at: int, outcome: Outcome) -> None:
        """Determine the result of a node or item whose machine has ended."""
        output = outcome.output
        if node.plan.outputs is not None and output is not ABSENT:
            try:
                output = node.plan.outputs.evaluate(of_node(node, self.run_id))
            except EvaluationError as error:
                self._settle(node, "failed", Reason("evaluation", f"outputs: {error}"), "error")
                return
        self._settle(node, stop.result, of_stop(node, stop, at), stop.label, output, stop.code, at)

    def _cancelled(self, node: LiveNode) -> None:
        self._settle(node, "cancelled", of_cancel(node))

    def _deadline_end(self, node: LiveNode) -> None:
        self._settle(node, "failed", Reason("deadline", "its deadline passed"), "timeout")

    def _settle(
        self,
        node: LiveNode,
        result: Literal["succeeded", "failed", "skipped", "cancelled"],
        reason: Reason,
        label: str | None = None,
        output: Any = ABSENT,
        code: int | None = None,
        at: int | None = None,
    ) -> None:
        """Give a node its result, settle its edges, and check whether its run has failed or ended."""
        run, name, items = node.run, node.plan.name, None
        node.queued = node.waking = 0
        if node.fan is not None:
            if isinstance(node, LiveItem):
                assert result != "skipped"
                self._settle_item(node, result, reason, label, output)
                return
            items = node.fan.fill(ItemResult("cancelled", of_cancel(node)))
        attempts = tuple(node.attempts)
        node.result = NodeResult(name, result, reason, label, output, attempts, items)
        node.steps = None
        if output is not ABSENT:
            run.values.put(name, output)
        if self.listen is not None:
            self._tell_of("node_settled", node.path, event_data.of_node, node, node.result)
        step = node.plan.machine.steps[at] if at is not None else None
        handled = node.plan.allow_failure
        for edge in run.plan.targets[node.plan.index]:
            live = run.cause is None and edge.condition.holds(result, label, code, step)
            handled = handled or (live and edge.condition.names_failure)
            self._edge(run.nodes[edge.target], edge, live)
        if result == "failed" and not handled:
            node.doomed = run.plan.on_failure == "cancel"
            self._unhandled(run, node)
        if node.plan.uses:
            self._let_go(node)
        run.left -= 1
        if not run.left:
            self._end_run(run)

    def _let_go(self, node: LiveNode) -> None:
        """Release the resources of a node that has its result."""
        run = node.run.of or node.run
        for name in node.plan.uses:
            run.users[name] -= 1
            if not run.users[name] and name in run.held and self.unused is not None:
                self.unused(run, name)

    def _unhandled(self, run: LiveRun, node: LiveNode) -> None:
        run = run.of or run
        if run.failed or run.cause is not None:
            return
        reason = node.result.reason if node.result else Reason("")
        run.failed = f"`{node.plan.name}` failed: {reason.message}"
        if run.plan.on_failure == "cancel":
            self._cancelling.append(run)

    def _edge(self, target: LiveNode, edge: Edge, live: bool) -> None:
        target.open -= 1
        if live:
            target.taken += edge.written
        else:
            if target.refused is None:
                target.refused = []
            target.refused.append(edge.source)
        if not target.open and target.result is None:
            self._deciding.append(target)

    def _settle_item(
        self,
        item: LiveItem,
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
            self._tell_of("item_settled", item.path, event_data.of_item, item, fan)
        if fan.over:
            self._end_fan(fan)
        elif fan.lost and not (fan.halted or fan.given_up) and fan.ends_run:
            fan.given_up = True
            self._giving_up.append(fan)

    def _end_fan(self, fan: LiveFan) -> None:
        whole = fan.whole
        if whole.deadline_struck:
            self._deadline_end(whole)
        elif fan.given_up and fan.halted:
            self._settle(whole, "failed", of_fan(fan), "failure")
        elif fan.halted:
            self._cancelled(whole)
        elif fan.lost:
            self._settle(whole, "failed", of_fan(fan), "failure", fan.outputs)
        else:
            self._settle(whole, "succeeded", of_fan(fan), "success", fan.outputs)

    def _end_run(self, run: LiveRun) -> None:
        """Start the nodes of `[finally]` once all others have results; end the run after those.

        A run with open resources ends only when they are closed.
        """
        run = run.of or run
        if run.plan.closing is not None and run.closing is None:
            run.closing = LiveRun(run.plan.closing, run.parent, run.values, run)
            self._start_run(run.closing)
            return
        if run.held:
            return  # until its resources are closed
        status, message, outputs = self._verdict(run)
        nodes = {node.plan.name: node.result for node in run.whole if node.result}
        state = run.values.state
        result = Result(status, nodes, outputs, message, self.run_id, run.plan.name, state)
        if run.parent is None:
            self.result = result
            self._tell("run_ended", "", status=status, message=message, outputs=outputs)
        else:
            run.parent.record.run = result
            self._ended.append((run.parent, attempts.of_child(result)))

    def _verdict(self, run: LiveRun) -> tuple[Status, str, dict[str, Any]]:
        """Return the status of an ended run, its message and its outputs; the first cause counts."""
        if run.failed:
            return "failed", run.failed, {}
        if run.cause in ("deadline", "requested", "parent"):
            return "cancelled", run.message, {}
        if run.cut:
            return "cancelled", run.cut, {}
        if run.plan.outputs is None:
            return "succeeded", run.message, {}
        try:
            return "succeeded", run.message, run.plan.outputs.evaluate(of_run(run, self.run_id))
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

    def _decide(self, node: LiveNode) -> None:
        """Start or skip a node whose edges have all settled.

        A node that would start behind a failure that ends the run is cancelled with the other nodes.
        """
        run = node.run
        if run.failed:
            node.doomed = any(run.nodes[edge.source].doomed for edge in node.plan.edges)
        if not node.joined:
            self._settle(node, "skipped", of_needs(node))
            return
        if node.doomed:
            return
        only = self._known.only
        if only is not None and node.run is self.root and node.plan.name not in only:
            self._settle(node, "skipped", Reason("when", "this rerun does not include it"))
            return
        when = node.plan.when
        if when is not None:
            try:
                wanted = when.evaluate(of_node(node, self.run_id))
                if not isinstance(wanted, bool):
                    raise EvaluationError(f"expected true or false, found {type(wanted).__name__}")
            except EvaluationError as error:
                self._settle(node, "failed", Reason("evaluation", f"when: {error}"), "error")
                return
            if not wanted:
                self._settle(node, "skipped", Reason("when", "its `when` is false"))
                return
        if node.plan.fan is not None:
            self._fan_out(node, node.plan.fan)
            return
        node.state = begin(node.plan.machine)
        self._ask(node)

    def _fan_out(self, node: LiveNode, fan: Fan) -> None:
        """Start a fan-out: evaluate its list and open the first items."""
        try:
            node.fan = fan_of(node, fan, of_node(node, self.run_id))
        except EvaluationError as error:
            self._settle(node, "failed", Reason("evaluation", f"for_each: {error}"), "error")
            return
        self._open(node.fan)

    def _open(self, fan: LiveFan) -> None:
        """Queue the first attempt of the next item.

        Without one, the list is empty or all its items have been opened.
        """
        item = fan.open()
        if item is not None:
            item.state = begin(item.plan.machine)
            self._ask(item)
        elif fan.over:
            self._end_fan(fan)

    def _start_run(self, run: LiveRun) -> None:
        if run.plan.deadline is not None:
            self._deadline(run.plan.deadline, run, run)
        self._deciding += [node for node in run.nodes if not node.open]
        self._decide_all()

    # -- 4. cancellations --------------------------------------------------------------------------------------

    def _cancel_cut(self) -> None:
        """Stop the nodes that somebody asked to cancel alone."""
        for node in self._cut:
            if not node.over:
                node.run.cut = node.run.cut or f"`{node.name}` was cancelled: {node.asked}"
                self._stop_node(node, "cancelled")
        self._cut = []

    def _give_up(self) -> None:
        """Stop the fan-outs of which an item has failed."""
        given_up, self._giving_up = self._giving_up, []
        for fan in given_up:
            if not fan.over:
                self._stop_node(fan.whole, "cancelled")

    def _cancel_failed(self) -> None:
        """Cancel the runs that an unhandled failure ends, from the outermost in."""
        failed, self._cancelling = self._cancelling, []
        for run in sorted(failed, key=lambda run: run.depth):
            self._cancel(run, "failure", run.failed)

    def _cancel(self, run: LiveRun, why: Why, message: str) -> None:
        """Cancel every node without a result, at once or when its attempts have stopped."""
        if run.cause is not None or run.over:
            return
        run.cause = why
        run.message = run.message or message
        for node in run.nodes:
            if node.result is None:
                self._stop_node(node, "cancelled")

    def _stop_node(self, node: LiveNode, why: Stopping) -> None:
        """Give a node its result at once, or when its attempts have stopped."""
        if node.fan is not None:
            node.fan.halted = True
            for item in list(node.fan.live.values()):
                if item.attempt is None:
                    self._cancelled(item)
                else:
                    self._stop(item.attempt, why)
        elif node.attempt is not None:
            self._stop(node.attempt, why)
        elif node.deadline_struck:
            self._deadline_end(node)
        else:
            self._cancelled(node)

    def _stop(self, attempt: LiveAttempt, why: Stopping) -> None:
        if attempt.over:
            return
        first = not attempt.stopping
        # A body may take its time to stop, and what ends more than the attempt may strike meanwhile.
        if first or why == "cancelled" or attempt.stopping == "timeout":
            attempt.stopping = why
            self._tell("attempt_stopping", attempt.path, key=attempt.key, why=why)
        if attempt.child is not None:
            self._cancel(attempt.child, "parent", f"`{attempt.path}` was stopped")
        elif first:
            self._stops.append(attempt)

    # -- 5. deadlines ------------------------------------------------------------------------------------------

    def _deadline(self, seconds: float, run: LiveRun, owner: Owner) -> None:
        self._alarms.set_deadline(whole(self.now + seconds), run, owner)

    def _strike(self, owner: Owner) -> None:
        if owner.over:
            return
        if isinstance(owner, LiveRun):
            self._cancel(owner, "deadline", f"the deadline of `{owner.plan.name}` passed")
        elif isinstance(owner, LiveAttempt):
            if not owner.stopping:
                self._stop(owner, "timeout")
        elif owner.run.cause is None:
            owner.deadline_struck = True
            self._stop_node(owner, "deadline")

    # -- 6. starts ---------------------------------------------------------------------------------------------

    def _begin(self, node: LiveNode) -> LiveAttempt | None:
        """Start the next attempt of a node that has its slots.

        Return None if the attempt is a sub-pipeline or has already ended.
        """
        state = node.state
        assert state is not None
        body = node.plan.bodies[state.step]
        step = node.plan.name_of(state.step)
        run = node.run
        record = Attempt(step, state.visits[state.step], state.attempt, self.now)
        attempt = LiveAttempt(node, body, record)
        plan, first = node.plan, not node.attempts
        node.attempts.append(record)
        node.attempt = attempt
        if first and (plan.deadline is not None or plan.fan is not None):
            self._first(node)
        if self.listen is not None:
            self._tell_of("attempt_started", attempt.path, event_data.of_start, attempt)
        if body.timeout is not None:
            self._deadline(body.timeout, run, attempt)
        problem = attempts.given(attempt, self.run_id)
        if problem is not None:
            self._ended.append((attempt, Outcome("error", error=problem, permanent=True)))
        elif attempt.child is not None:
            self._start_run(attempt.child)
        else:
            attempt.runs = True
            self._bodies += 1
            if body.asks:
                self.asked += 1
                self._tell("person_asked", attempt.path, key=attempt.key, **attempt.inputs)
            return attempt
        return None

    def _first(self, node: LiveNode) -> None:
        """Handle the start of the first attempt of a node or an item; the next item may then queue."""
        fan, deadline = node.fan, node.plan.deadline
        if deadline is not None and not (fan and fan.begun):
            self._deadline(deadline, node.run, fan.whole if fan else node)
        if fan is not None:
            fan.begun = True
            self._open(fan)

    # -- events ------------------------------------------------------------------------------------------------

    def _tell_asked(self, path: str, message: str) -> None:
        """Emit a request to cancel.

        If a listener makes the request while it receives an event, it belongs to the current turn, otherwise to the next.
        """
        if self.listen is not None:
            turn = self.turn if self._telling else self.turn + 1
            self.listen(Event("cancel_asked", self.now, path, {"message": message}, turn))

    def _tell_of(self, kind: Any, path: str, data: Callable[..., dict[str, Any]], *of: Any) -> None:
        if self.listen is not None:
            self._hear(kind, path, {} if self.brief else data(*of))

    def _tell(self, kind: Any, path: str, **data: Any) -> None:
        if self.listen is not None:
            self._hear(kind, path, data)

    def _hear(self, kind: Any, path: str, data: dict[str, Any]) -> None:
        assert self.listen is not None
        self._telling = True
        self.listen(Event(kind, self.now, path, data, self.turn))
        self._telling = False


# -- helpers without state -------------------------------------------------------------------------------------


def _end_order(ended: tuple[LiveAttempt, Outcome | None]) -> tuple[int, ...]:
    return _file_order(ended[0].node)


def _file_order(node: LiveNode) -> tuple[int, ...]:
    return node.order[1::2]
