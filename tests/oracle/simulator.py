"""The semantics of a run once more: naive, slow, obvious; an independent judge of the real engine.

`simulate(doc, script, inputs)` plays a parsed TOML document on a virtual clock. Each comment `§n`
names the section of docs/language.md that the lines below it say again: 1 A document; 2 Nodes and
steps, Limits, Sub-pipelines; 3 Outcomes; 4 Retry; 5 Routes; 6 Results, of a node; 7 Edges and joins;
8 Results, of a run; 9 Expressions; 10 Fan-out; 11 State; 12 What is done at the end; 14 Cancellation. Nothing is remembered that can
be looked up: an edge is settled if its source has a result, a place is taken if an attempt is
running. It imports nothing of the engine and presumes that the document is right. Out of scope:
services, resources, people, CEL beyond paths, jitter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

__all__ = ["TASKS", "NeverEnds", "seconds", "simulate"]

TASKS: dict[str, dict[str, Any]] = {
    "shell": {"exits": {"success": 0}, "open": True},
    "probe": {"exits": {"success": 0, "failure": 1, "needs_review": 2}, "open": False},
}
CHILD_EXITS = {"success": 0, "failure": 1}  # §2 what a sub-pipeline's attempt can end with
ABSENT: Any = type("Absent", (), {"__repr__": lambda _: "ABSENT"})()


class NeverEnds(Exception):
    """Nothing can happen any more and the run is not finished: an attempt hangs for ever."""


class CannotEvaluate(Exception):
    """§9 An expression reads what is not there, or gives what is not wanted."""


@dataclass(eq=False)
class Run:
    doc: dict[str, Any]
    prefix: str  # of the keys in the script: "" or "node/step/"
    inputs: dict[str, Any]
    began: float
    parent: Attempt | None  # §2 the attempt of which this run is the body
    state: dict[str, Any]
    nodes: dict[str, Node] = field(default_factory=dict)
    cause: str | None = None  # §8 the first cause names the status: "failed" or "cancelled"
    must_cancel: bool = False  # an unhandled failure under on_failure = "cancel", not yet applied
    why: str = ""  # §8 why it is being cancelled
    closing: Run | None = None  # §12 its `finally` nodes, once all others have a result
    of: Run | None = None  # of these: the run that they are the end of


@dataclass(eq=False)
class Node:
    run: Run
    name: str
    spec: dict[str, Any]
    order: int  # §1 the first appearance in the file
    phase: str = (
        "edges"  # then "ready" (wants a place), "running", "waiting" (until wake_at), "ended"
    )
    step: str = ""
    visits: dict[str, int] = field(default_factory=dict)
    tries: int = 0  # attempts of this visit
    served: dict[int, int] = field(default_factory=dict)  # §4 retries of this visit, by clause
    taken: dict[tuple[str, str], int] = field(default_factory=dict)  # §5 by written route
    steps: dict[str, Any] = field(
        default_factory=dict
    )  # §9 output of each step's latest ended attempt
    wake_at: float = inf
    deadline_at: float = inf
    attempt: Attempt | None = None  # the running one
    attempts: list[Attempt] = field(default_factory=list)
    result: str | None = None
    reason: str = ""
    label: str | None = None
    label_names: tuple[Any, ...] = ()  # other ways to write the label in `needs`: code and names
    output: Any = ABSENT
    items: list[Node] | None = None  # §10 of a fan-out, once it has its list
    fan: Node | None = None  # of an item: its fan-out, and which it is there
    index: int = 0
    value: Any = None
    doomed: bool = False  # its failure ends the run, or that of a node before it
    must_give_up: bool = False  # too many items failed, and the run is to be cancelled for it
    gave_up: bool = False
    struck: bool = False  # its deadline has struck


@dataclass(eq=False)
class Attempt:
    node: Node
    step: str
    visit: int
    number: int
    started: float
    will: Any = 0  # the outcome if nothing comes between
    output: Any = ABSENT
    ends: float = inf
    timeout_at: float = inf
    permanent: bool = False
    child: Run | None = None
    stopping: str = ""  # "timeout", "deadline" or "cancelled", while its child does what ends it
    outcome: Any = None
    ended: float | None = None


def simulate(
    doc: dict[str, Any],
    script: Mapping[str, Any],
    inputs: dict[str, Any] | None = None,
    *,
    tasks: Mapping[str, Any] = TASKS,
    cancel_at: float | None = None,
) -> dict[str, Any]:
    """Play one run and give its record: status, nodes with attempts, and outputs if it succeeded.

    `script` maps "node/step" (inside a sub-pipeline with the parent's "node/step/" before it) to
    entries `{"exit": n | "outcome": "error" | "interrupted" | "hang", "duration": seconds, "output": JSON}`; each
    attempt uses up one, the last repeats, none at all is exit 0 after 1 s. Times are seconds from
    the start of the root run; `cancel_at` is a request to cancel at that time. Raises `NeverEnds`,
    and ValueError for bad inputs of the root.
    """
    return Simulation(doc, script, tasks, inf if cancel_at is None else cancel_at).play(
        inputs or {}
    )


# ------------------------------------------------------------ the clock


class Simulation:
    """One run in progress; `now` is the virtual clock."""

    def __init__(self, doc: Any, script: Any, tasks: Any, cancel_at: float) -> None:
        self.doc, self.script, self.tasks, self.cancel_at = doc, script, tasks, cancel_at
        self.now = 0.0
        self.used: dict[str, int] = {}  # script entries used up, by key, for the whole run

    def play(self, inputs: dict[str, Any]) -> dict[str, Any]:
        problem, values = bind_inputs(self.doc, inputs)
        if problem:
            raise ValueError(problem)
        self.root = self.start_run(self.doc, "", values, None)
        while True:
            self.instant()
            if finished(self.root):
                return record(self.root)
            self.now = self.next_time()

    def instant(self) -> None:
        """§6 At one instant: ends of attempts, deadlines from outermost in, wake-ups, places."""
        while True:
            self.end_attempts()
            self.apply_cancellations()
            self.strike_deadlines()
            self.apply_cancellations()
            self.wake()
            self.give_places()
            again = any(self.is_over(a) for a in running(self.root))
            if not again and not any(must_stop(run) for run in active(self.root)):
                return

    def next_time(self) -> float:
        times = [self.cancel_at]
        for run in active(self.root):
            times.append(run.began + seconds(settings(run).get("deadline")))
            times += [
                t for n in (*still_open(run), *parts(run)) for t in (n.wake_at, n.deadline_at)
            ]
        times += [t for a in running(self.root) for t in (a.ends, a.timeout_at)]
        later = min((t for t in times if t > self.now), default=inf)
        if later == inf:
            raise NeverEnds(f"nothing can happen after {self.now} s")
        return later

    def wake(self) -> None:
        for run in active(self.root):
            for node in parts(run):
                if node.phase == "waiting" and node.wake_at <= self.now:
                    node.phase, node.wake_at = "ready", inf

    # ------------------------------------------------------------ places

    def give_places(self) -> None:
        """§2 One queue: the first that can start, starts; then look again.

        It may have brought a child's nodes, which come next.
        """
        while True:
            ready = [n for run in active(self.root) for n in parts(run) if n.phase == "ready"]
            able = [n for n in sorted(ready, key=queue_key) if self.has_place(n)]
            if not able:
                return
            self.start_attempt(able[0])

    def has_place(self, node: Node) -> bool:
        # §2 a pool counts the running attempts of its nodes, sub-pipelines included
        pool = node.spec.get("pool")
        mine = [n for n in parts(node.run) if n.attempt and n.spec.get("pool") == pool]
        if pool and len(mine) >= node.run.doc["pools"][pool]:
            return False
        if node.fan and node.fan.items:  # §10 at most `max_parallel` at a time
            going = [item for item in node.fan.items if item.attempt]
            most = settings(node.run).get("max_parallel", 32)
            if len(going) >= node.spec.get("max_parallel", most):
                return False
        # §2 a sub-pipeline's attempt holds no run place; others hold one in each enclosing run
        if "pipeline" in step_spec(node):
            return True
        run: Run | None = node.run
        while run:
            leaves = [a for a in running(run) if "pipeline" not in step_spec(a.node)]
            if len(leaves) >= settings(run).get("max_parallel", 32):
                return False
            run = run.parent.node.run if run.parent else None
        return True

    # ------------------------------------------------------------ starting

    def start_run(self, doc: Any, prefix: str, inputs: Any, parent: Attempt | None) -> Run:
        # §11 `initial`; a fresh run of a child has its own state
        state = {name: evaluate(s["initial"], {}) for name, s in doc.get("state", {}).items()}
        run = Run(doc, prefix, inputs, self.now, parent, state)
        for order, (name, spec) in enumerate(doc["nodes"].items()):
            run.nodes[name] = Node(run, name, spec, order)
        self.decide_all(run)
        return run

    def close(self, run: Run) -> None:
        """§12 When all nodes have a result those of `finally` begin, each with a deadline."""
        if "finally" not in run.doc or run.closing or unfinished(run):
            return
        doc = {key: run.doc[key] for key in ("pools", "state") if key in run.doc}
        most = {key: settings(run)[key] for key in ("max_parallel",) if key in settings(run)}
        run.closing = Run({**doc, "pipeline": most}, run.prefix, run.inputs, inf, run.parent, {})
        run.closing.of = run
        for order, (name, spec) in enumerate(run.doc["finally"].items()):
            node = Node(run.closing, name, {"deadline": "30s", **spec}, order)
            run.closing.nodes[name] = node
        self.decide_all(run.closing)

    def start_attempt(self, node: Node) -> None:
        step = step_spec(node)
        node.tries += 1
        attempt = Attempt(node, node.step, node.visits[node.step], node.tries, self.now)
        whole = node.fan or node
        if (
            whole.deadline_at == inf
        ):  # §6 a node's deadline runs from the start of its first attempt
            whole.deadline_at = self.now + seconds(node.spec.get("deadline"))
        node.phase, node.attempt = "running", attempt
        node.attempts.append(attempt)
        key = f"{node.run.prefix}{named(node)}/{node.step}"
        entry = self.next_entry(key)
        try:  # §9 `with` is evaluated anew for each attempt
            given = evaluate(step.get("with", {}), scope(node.run, node, attempt))
            if "pipeline" in step:
                child = self.doc["pipelines"][step["pipeline"]]
                problem, given = bind_inputs(child, given)
                if problem:  # §2 bad inputs: `error`
                    raise CannotEvaluate(problem)
        except CannotEvaluate:  # §3 bad input is a permanent `error`; it counts as an attempt
            attempt.will, attempt.ends, attempt.permanent = "error", self.now, True
            return
        attempt.timeout_at = self.now + seconds(step.get("timeout"))
        if "pipeline" in step:  # §2 each attempt is a fresh run of the child
            attempt.child = self.start_run(child, key + "/", given, attempt)
        else:
            self.plan_end(attempt, entry)

    def next_entry(self, key: str) -> dict[str, Any]:
        entries = next((self.script[k] for k in addresses(key) if k in self.script), [{"exit": 0}])
        self.used[key] = self.used.get(key, 0) + 1
        return entries[min(self.used[key], len(entries)) - 1]

    def plan_end(self, attempt: Attempt, entry: dict[str, Any]) -> None:
        if entry.get("outcome") == "hang":
            return
        attempt.ends = self.now + entry.get("duration", 1)
        code = entry.get("exit", 0)
        task = self.tasks[step_spec(attempt.node)["task"]]
        declared = set(self.names(attempt.node).values())
        # §3 `error`: the task raised, or a closed task returned an undeclared code
        if entry.get("outcome") == "error" or not (task["open"] or code in declared):
            attempt.will = "error"
        elif entry.get("outcome") == "interrupted":
            attempt.will = "interrupted"
        else:
            attempt.will, attempt.output = code, entry.get("output")

    def names(self, node: Node) -> dict[str, int]:
        """§3 Every valid name of an exit of the present step: the step's, and the task's own."""
        step = step_spec(node)
        own = CHILD_EXITS if "pipeline" in step else self.tasks[step["task"]]["exits"]
        return {**own, **step.get("exits", {})}

    def name_of(self, node: Node, outcome: Any) -> str:
        """§3 A code's name is the step's, else the task's, else its decimal number."""
        step = step_spec(node)
        for table in (step.get("exits", {}), self.names(node)):
            for name, code in table.items():
                if code == outcome:
                    return str(name)
        return str(outcome)

    # ------------------------------------------------------------ ending

    def is_over(self, attempt: Attempt) -> bool:
        return finished(attempt.child) if attempt.child else attempt.ends <= self.now

    def end_attempts(self) -> None:
        """All attempts that end now; a child run that ends so ends its parent's attempt too."""
        while over := [a for a in running(self.root) if self.is_over(a)]:
            for attempt in over:
                if attempt.stopping:
                    self.stopped(attempt)
                elif attempt.child:
                    # §2 succeeded: 0 with its [outputs]; failed: 1; its own deadline: `timeout`
                    status, outputs = verdict(attempt.child)
                    outcome = {"succeeded": 0, "failed": 1, "cancelled": "timeout"}[status]
                    attempt.output = outputs if outcome == 0 else ABSENT
                    self.end_attempt(attempt, outcome)
                else:
                    self.end_attempt(attempt, attempt.will)

    def end_attempt(self, attempt: Attempt, outcome: Any) -> None:
        """The attempt ended by itself or by its timeout: retry, route, or end the node."""
        node = attempt.node
        # §9 `steps.X` is absent if the latest ended attempt ended without an exit
        node.steps[node.step] = attempt.output if isinstance(outcome, int) else ABSENT
        if isinstance(outcome, int):
            try:
                self.write(attempt)
            except CannotEvaluate:  # §6 in `set` it is the attempt's `error`
                outcome, node.steps[node.step] = "error", ABSENT
        self.leave(attempt, outcome)
        wait = None if attempt.permanent else self.retry_wait(node, outcome)
        if wait is not None:
            self.pause(node, wait)
        else:
            self.route(node, outcome)

    def write(self, attempt: Attempt) -> None:
        """§11 `set`, when an attempt ends with an exit code: all of it or nothing."""
        run = whole_of(attempt.node.run)
        written = evaluate(
            step_spec(attempt.node).get("set", {}), scope(attempt.node.run, attempt.node, attempt)
        )
        for name, value in written.items():
            if not fits(run.doc["state"][name], value):
                raise CannotEvaluate(f"`state.{name}` does not fit its schema")
        run.state = {**run.state, **written}

    def leave(self, attempt: Attempt, outcome: Any) -> None:
        attempt.outcome, attempt.ended, attempt.node.attempt = outcome, self.now, None

    def stop(self, node: Node, why: str) -> bool:
        """Whether its attempt is over: §2 a child is cancelled with its parent, §12 and has `finally`."""
        attempt = node.attempt
        if not attempt:
            return True
        if not attempt.stopping or why == "cancelled" or attempt.stopping == "timeout":
            attempt.stopping = why
        if attempt.child:
            self.cancel_run(attempt.child, "parent")
            if not finished(attempt.child):
                return False
        if why != "timeout":
            self.leave(attempt, "cancelled")
        return True

    def stopped(self, attempt: Attempt) -> None:
        """The child of an attempt that was to stop has done what ends it."""
        node = attempt.node
        if attempt.stopping == "timeout":
            self.end_attempt(attempt, "timeout")
            return
        self.leave(attempt, "cancelled")
        whole = node.fan or node
        if node.fan:
            reason = "deadline" if whole.struck else "failure" if whole.gave_up else node.run.why
            node.result, node.reason, node.phase = "cancelled", reason, "ended"
        if not any(item.attempt for item in whole.items or []):
            self.end_stopped(whole)

    def end_stopped(self, node: Node) -> None:
        if node.struck:
            self.give_result(node, "failed", "deadline", "timeout")
        elif node.gave_up:
            self.give_result(node, "failed", "tolerance", "failure")
        else:
            node.result, node.reason, node.phase = "cancelled", node.run.why, "ended"
            self.close(node.run)

    def pause(self, node: Node, wait: float) -> None:
        """§2 Backoff and route delays hold no place."""
        node.phase, node.wake_at = ("waiting", self.now + wait) if wait else ("ready", inf)

    def enter(self, node: Node, step: str, delay: float) -> None:
        """A visit begins: retries are counted anew, routes are not."""
        node.step, node.tries, node.served = step, 0, {}
        node.visits[step] = node.visits.get(step, 0) + 1
        self.pause(node, delay)

    # ------------------------------------------------------------ §4 retry

    def retry_wait(self, node: Node, outcome: Any) -> float | None:
        """Seconds to wait before the next attempt of this visit; None: the outcome is routed."""
        clauses = step_spec(node).get("retry", [])
        for index, clause in enumerate([clauses] if isinstance(clauses, dict) else clauses):
            if not self.serves(node, clause, outcome):
                continue
            # §4 served by the first clause that matches, only by that, `attempts - 1` times
            if node.served.get(index, 0) >= clause["attempts"] - 1:
                return None
            node.served[index] = k = node.served.get(index, 0) + 1
            wait = seconds(clause.get("delay", "0s")) * clause.get("factor", 1) ** (k - 1)
            return min(seconds(clause.get("max_delay")), wait)
        return None

    def serves(self, node: Node, clause: dict[str, Any], outcome: Any) -> bool:
        if "on" in clause:
            keys = [self.exit_of(node, key) for key in clause["on"]]
            return outcome in keys or ("*" in keys and outcome != 0)
        # §4 default: `error`, `timeout`, the non-zero exits, less those with an own route
        routed = ["interrupted"] + [
            self.exit_of(node, key) for key in step_spec(node).get("routes", {})
        ]
        return outcome != 0 and outcome not in routed

    def exit_of(self, node: Node, key: str | int) -> Any:
        """A key of `on` or `routes`: a code, or "error", "timeout", "interrupted", "*"."""
        if isinstance(key, int) or key.isdecimal():
            return int(key)
        return key if key in ("error", "timeout", "interrupted", "*") else self.names(node)[key]

    # ------------------------------------------------------------ §5 routes

    def route(self, node: Node, outcome: Any) -> None:
        routes = step_spec(node).get("routes", {})
        listed = [key for key in routes if self.exit_of(node, key) == outcome]
        stars = [key for key in routes if key == "*" and outcome != 0]
        if not listed and not stars:
            # §5 not listed: 0 goes to `done`, everything else to `fail` with reason `unrouted`
            ended = ("succeeded", "completed") if outcome == 0 else ("failed", "unrouted")
            self.end_node(node, *ended, None)
            return
        key = (listed or stars)[0]  # §5 a listed outcome beats "*"
        route = routes[key] if isinstance(routes[key], dict) else {"to": routes[key]}
        times = node.taken.get((node.step, key), 0)
        if times >= route.get("max", inf):
            # §5 after `max` times `then`, by default "fail"; it counts nothing and waits no delay
            self.go(node, route.get("then", "fail"), "exhausted", 0)
        else:
            node.taken[node.step, key] = times + 1
            self.go(node, route["to"], "routed", seconds(route.get("delay", "0s")))

    def go(self, node: Node, target: str, reason: str, delay: float) -> None:
        end, _, label = target.partition(":")
        if end in ("done", "fail"):
            self.end_node(node, "succeeded" if end == "done" else "failed", reason, label or None)
        else:
            self.enter(node, target, delay)

    # ------------------------------------------------------------ §6 results

    def end_node(self, node: Node, result: str, reason: str, label: str | None) -> None:
        """The machine came to an end: label and output."""
        last = node.attempts[-1]
        code = last.outcome if isinstance(last.outcome, int) else None
        output = ABSENT
        # §6 an output if the last attempt ended with a code, and not with a sub-pipeline's failure
        if code is not None and not ("pipeline" in step_spec(node) and code == 1):
            output = last.output
            if "outputs" in node.spec:
                try:
                    output = evaluate(node.spec["outputs"], scope(node.run, node, last))
                except CannotEvaluate:
                    self.give_result(node, "failed", "evaluation", "error")
                    return
        if label is None:  # §6 else the last exit by its own step's names, `error` or `timeout`
            label = self.name_of(node, last.outcome)
            if code is not None:  # the code, and any other valid name of it, stand for the label
                others = [name for name, value in self.names(node).items() if value == code]
                node.label_names = (code, *others)
        self.give_result(node, result, reason, label, output)

    def give_result(
        self, node: Node, result: str, reason: str, label: str | None = None, output: Any = ABSENT
    ) -> None:
        node.result, node.reason, node.label, node.output = result, reason, label, output
        node.phase = "ended"
        if node.fan:
            self.item_ended(node.fan)
            return
        # §8 handled: a live edge names the failure, or the node says `allow_failure`
        handled = node.spec.get("allow_failure", False) or any(
            names_failure(edges(other)[0].get(node.name), node) for other in node.run.nodes.values()
        )
        if result == "failed" and not handled:
            run = whole_of(node.run)
            run.cause = run.cause or "failed"
            node.run.must_cancel = settings(node.run).get("on_failure") == "cancel"
            node.doomed = node.run.must_cancel
        self.decide_all(node.run)

    # ------------------------------------------------------------ §7 edges

    def decide_all(self, run: Run) -> None:
        for node in run.nodes.values():
            sources = [run.nodes[name] for name in all_edges(node)]
            # §7 a node decides when all its edges have settled, never earlier
            if node.phase == "edges" and all(source.result for source in sources):
                self.decide(node)
        self.close(run)

    def decide(self, node: Node) -> None:
        behind = any(node.run.nodes[name].doomed for name in all_edges(node))
        written, implied = edges(node)
        live = [is_live(condition, node.run.nodes[name]) for name, condition in written.items()]
        # §7 `join` speaks of the written edges, implied ones must be live besides
        joined = any(live) or not live if node.spec.get("join") == "any" else all(live)
        if not joined or not all(is_live(c, node.run.nodes[name]) for name, c in implied.items()):
            node.doomed = behind
            self.give_result(node, "skipped", "needs")
            return
        if behind:  # §8 cancelled with the rest, in this instant
            return
        try:
            wanted = evaluate_when(node)
        except CannotEvaluate:  # §6
            self.give_result(node, "failed", "evaluation", "error")
            return
        if not wanted:
            self.give_result(node, "skipped", "when")
        elif "for_each" in node.spec:
            self.fan_out(node)
        else:
            self.enter(node, machine(node)[1], 0)

    # ------------------------------------------------------------ §10 fan-out

    def fan_out(self, node: Node) -> None:
        """The node's body, once an item."""
        try:
            values = evaluate(node.spec["for_each"], scope(node.run))
            if not isinstance(values, list):
                raise CannotEvaluate("no list")
        except CannotEvaluate:  # §6
            self.give_result(node, "failed", "evaluation", "error")
            return
        node.phase, node.items = "items", []
        for index, value in enumerate(values):
            item = Node(node.run, node.name, node.spec, node.order, fan=node, index=index)
            item.value = value
            node.items.append(item)
            self.enter(item, machine(item)[1], 0)
        if not values:  # an empty list succeeds
            self.give_result(node, "succeeded", "completed", "success", [])

    def item_ended(self, fan: Node) -> None:
        items = fan.items or []
        lost = len([i for i in items if i.result == "failed"]) > tolerated(fan)
        if all(item.result for item in items):
            ended = (
                ("failed", "tolerance", "failure")
                if lost
                else ("succeeded", "completed", "success")
            )
            self.give_result(fan, *ended, [given(item) for item in items])
            return
        handled = fan.spec.get("allow_failure", False)
        for other in fan.run.nodes.values():
            condition = edges(other)[0].get(fan.name)
            named = isinstance(condition, list) and "failure" in condition
            handled = handled or named or condition == "failure"
        # §8 what an unhandled failure does to the rest, it does to the rest of the items
        lost = lost and not (fan.gave_up or fan.struck or fan.run.why)
        fan.must_give_up = lost and not handled and settings(fan.run).get("on_failure") == "cancel"

    def cut(self, node: Node, why: str, reason: str) -> bool:
        """Whether a node is over, now that it is to stop: its attempt, and its items without a result."""
        over = self.stop(node, why)
        for item in node.items or []:
            if not item.result:
                if self.stop(item, why):
                    item.result, item.reason, item.phase = "cancelled", reason, "ended"
                else:
                    over = False
        return over

    # ------------------------------------------------------------ §6, §14 deadlines, cancelling

    def strike_deadlines(self) -> None:
        """From the outermost in: the run's, its nodes', their attempts', those of child runs."""
        if self.cancel_at == self.now:
            self.cancel_run(self.root, "requested")
        level = [self.root]
        while level:
            for run in level:
                if run.began + seconds(settings(run).get("deadline")) == self.now:
                    self.cancel_run(run, "deadline")
            for node in [n for run in level for n in still_open(run)]:
                if node.deadline_at == self.now and not node.run.why:
                    # §6 the attempt is cancelled, nothing is retried or routed
                    node.struck = True
                    if self.cut(node, "deadline", "deadline"):
                        self.end_stopped(node)
            going = [n.attempt for run in level for n in parts(run) if n.attempt]
            for attempt in [a for a in going if a.timeout_at == self.now and not a.stopping]:
                if not attempt.stopping and self.stop(attempt.node, "timeout"):
                    self.end_attempt(attempt, "timeout")
            level = [
                n.attempt.child
                for run in level
                for n in parts(run)
                if n.attempt and n.attempt.child
            ]
        self.end_attempts()  # of sub-pipelines whose child ended by one of these

    def apply_cancellations(self) -> None:
        """§8 on_failure = "cancel"; of runs to be cancelled at one instant the outermost first."""
        while runs := [run for run in active(self.root) if must_stop(run)]:
            for fan in [node for run in runs for node in unfinished(run) if node.must_give_up]:
                fan.must_give_up, fan.gave_up = False, True
                if self.cut(fan, "cancelled", "failure"):
                    self.end_stopped(fan)
            for run in sorted([run for run in runs if run.must_cancel], key=depth):
                run.must_cancel = False
                self.cancel_run(run, "failure")
            self.end_attempts()

    def cancel_run(self, run: Run, reason: str) -> None:
        """§8, §14 Every node without a result is cancelled; all its edges are dead."""
        if finished(run) or run.why:
            return
        run.cause = run.cause or "cancelled"  # §8 the first cause names the status
        run.why = reason
        for node in unfinished(run):
            if self.cut(node, "cancelled", reason):
                node.result, node.reason, node.phase = "cancelled", reason, "ended"
        self.close(run)


# ------------------------------------------------------------ looking things up


def settings(run: Run) -> dict[str, Any]:
    return run.doc.get("pipeline", {})


def machine(node: Node) -> tuple[dict[str, Any], str]:
    """§2 Steps of a node, and its start; a step written in the node bears the node's name."""
    if "steps" in node.spec:
        return node.spec["steps"], node.spec["start"]
    return {node.name: node.spec}, node.name


def step_spec(node: Node) -> dict[str, Any]:
    return machine(node)[0][node.step]


def finished(run: Run) -> bool:
    over = all(node.result for node in run.nodes.values())
    return over and ("finally" not in run.doc or bool(run.closing and finished(run.closing)))


def unfinished(run: Run) -> list[Node]:
    return [node for node in run.nodes.values() if not node.result]


def still_open(run: Run) -> list[Node]:
    """Those of `finally` too, once they have begun."""
    return [*unfinished(run), *(unfinished(run.closing) if run.closing else [])]


def whole_of(run: Run) -> Run:
    return run.of or run


def parts(run: Run) -> list[Node]:
    """The nodes of a run, with their items in place of those that are fan-outs."""
    nodes = [*run.nodes.values(), *(run.closing.nodes.values() if run.closing else [])]
    return [part for n in nodes for part in ([n] if n.items is None else n.items)]


def must_stop(run: Run) -> bool:
    return run.must_cancel or any(node.must_give_up for node in unfinished(run))


def tolerated(fan: Node) -> float:
    """§10 How many items may fail: a number, or a share of all."""
    tolerate = fan.spec.get("tolerate", 0)
    if isinstance(tolerate, int):
        return tolerate
    return len(fan.items or []) * float(tolerate.removesuffix("%")) / 100


def given(item: Node) -> Any:
    """What stands for an item in the output of its node: null if it failed, or gave nothing."""
    return None if item.result != "succeeded" or item.output is ABSENT else item.output


def named(node: Node) -> str:
    return f"{node.name}[{node.index}]" if node.fan else node.name


def addresses(key: str) -> Iterator[str]:
    """The keys of a script that serve a path: one item goes before all, in the outer node first."""
    yield key
    found = re.search(r"\[\d+\]", key)
    if found:
        head, tail = key[: found.end()], key[found.end() :]
        yield from (head + rest for rest in addresses(tail) if rest != tail)
        yield from (key[: found.start()] + rest for rest in addresses(tail))


def running(run: Run) -> Iterator[Attempt]:
    """The running attempts of a run and of all runs inside it."""
    for node in parts(run):
        if node.attempt:
            yield node.attempt
            if node.attempt.child:
                yield from running(node.attempt.child)


def active(run: Run) -> list[Run]:
    """The run itself and all runs going on inside it."""
    return [run, *(attempt.child for attempt in running(run) if attempt.child)]


def depth(run: Run) -> int:
    return 1 + depth(run.parent.node.run) if run.parent else 0


def queue_key(node: Node) -> tuple[tuple[int, int], ...]:
    """§2 The lowest `priority`, then order in the file; from the root run inwards."""
    own = ((node.spec.get("priority", 100), node.order), *[(0, node.index)] * bool(node.fan))
    return queue_key(node.run.parent.node) + own if node.run.parent else own


UNITS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}


def seconds(text: str | None) -> float:
    """§1 A duration in seconds; None, no such limit, is endless."""
    if text is None:
        return inf
    parts = re.findall(r"([\d.]+)(ms|h|m|s)", text)
    return sum(float(number) * UNITS[unit] for number, unit in parts) / 1000


# ------------------------------------------------------------ §7 edges


def edges(node: Node) -> tuple[dict[str, Any], dict[str, Any]]:
    """The edges that `needs` writes and those that references imply: source -> condition."""
    needs = node.spec.get("needs", {})
    written = needs if isinstance(needs, dict) else dict.fromkeys(needs, "success")
    when = node.spec.get("when", "")
    texts = [when if "${" in when else f"${{{when}}}", node.spec.get("outputs")]
    texts.append(node.spec.get("for_each"))
    texts += [step.get(key) for step in machine(node)[0].values() for key in ("with", "set")]
    guarded: dict[str, list[bool]] = {}
    for name, has_default in references(texts):
        if name in node.run.nodes and name not in written:
            guarded.setdefault(name, []).append(has_default)
    return written, {n: "always" if all(g) else "success" for n, g in guarded.items()}


def all_edges(node: Node) -> list[str]:
    written, implied = edges(node)
    return [*written, *implied]


def is_live(condition: Any, source: Node) -> bool:
    if source.result == "cancelled":  # §7 all edges of a cancelled node are dead
        return False
    if isinstance(condition, list):  # labels, of done and fail ends alike
        return any(label_is(item, source) for item in condition)
    holds = {
        "success": ["succeeded"],
        "failure": ["failed"],
        "finished": ["succeeded", "failed"],
        "always": ["succeeded", "failed", "skipped"],
    }
    return source.result in holds[condition]


def label_is(item: Any, source: Node) -> bool:
    return item == source.label or item in source.label_names


def names_failure(condition: Any, source: Node) -> bool:
    """§8 "failure" or its label; "finished" and "always" only look on."""
    if isinstance(condition, list):
        return is_live(condition, source)
    return condition == "failure"


# ------------------------------------------------------------ §9 data and expressions

PATH = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[\d+\])*"
EXPRESSION = re.compile(rf"\$\$\{{|\$\{{\s*({PATH})\s*(?:\?\?\s*('[^']*'|[^'}}]*?)\s*)?\}}")


def scope(run: Run, node: Node | None = None, attempt: Attempt | None = None) -> dict[str, Any]:
    """Everything that can be read, by its first name; what is absent is left out."""
    nodes = [*run.nodes.values(), *(run.of.nodes.values() if run.of else [])]
    values = {n.name: n.output for n in nodes if n.output is not ABSENT}
    values |= {"inputs": run.inputs, "state": whole_of(run).state}
    if node:
        values["steps"] = {step: value for step, value in node.steps.items() if value is not ABSENT}
        if node.fan:
            values |= {"item": node.value, "index": node.index}
    if attempt:
        values["run"] = {"attempt": attempt.number, "visit": attempt.visit}
    return values


def evaluate(value: Any, names: dict[str, Any]) -> Any:
    """A JSON value with every `${…}` in its strings replaced."""
    if isinstance(value, dict):
        return {key: evaluate(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [evaluate(item, names) for item in value]
    if not isinstance(value, str):
        return value
    if value.count("${") != len(EXPRESSION.findall(value)):
        raise ValueError(f"beyond this oracle: {value}")
    whole = EXPRESSION.fullmatch(value)
    if whole and whole[1]:  # one whole `${…}` keeps the value's type
        return read(whole[1], whole[2], names)

    def put(match: re.Match[str]) -> str:
        if not match[1]:  # `$${` is a literal
            return "${"
        result = read(match[1], match[2], names)
        return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)

    return EXPRESSION.sub(put, value)


def read(path: str, default: str | None, names: Any) -> Any:
    """A path, with a default for what is absent or null."""
    value = names
    for key, index in re.findall(r"([A-Za-z_]\w*)|\[(\d+)\]", path):
        if key:
            value = value.get(key, ABSENT) if isinstance(value, dict) else ABSENT
        else:
            there = isinstance(value, list) and int(index) < len(value)
            value = value[int(index)] if there else ABSENT
    if default is not None and (value is ABSENT or value is None):
        return default[1:-1] if default.startswith("'") else json.loads(default)
    if value is ABSENT:
        raise CannotEvaluate(f"`{path}` does not exist")
    return value


def evaluate_when(node: Node) -> bool:
    """§7 `when`, `${…}` or a bare expression; it gives true or false, nothing else."""
    when = node.spec.get("when")
    if when is None:
        return True
    value = evaluate(when if "${" in when else f"${{{when}}}", scope(node.run))
    if not isinstance(value, bool):
        raise CannotEvaluate("`when` is neither true nor false")
    return value


def references(value: Any) -> Iterator[tuple[str, bool]]:
    """The first name of every path read in a value, and whether it has a default."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from references(item)
    elif isinstance(value, str):
        for match in EXPRESSION.finditer(value):
            if match[1]:
                yield re.split(r"[.\[]", match[1])[0], match[2] is not None


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


JSON_TYPES = {
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: is_number(v) and v == int(v),
    "number": is_number,
    "string": lambda v: isinstance(v, str),
    "null": lambda v: v is None,
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
}


def fits(schema: dict[str, Any], value: Any) -> bool:
    """Whether a value is of a schema that says `type`, `maximum` or `maxLength`."""
    kinds = schema.get("type", list(JSON_TYPES))
    if not any(JSON_TYPES[k](value) for k in ([kinds] if isinstance(kinds, str) else kinds)):
        return False
    if is_number(value) and value > schema.get("maximum", inf):
        return False
    return not isinstance(value, str) or len(value) <= schema.get("maxLength", inf)


def bind_inputs(doc: dict[str, Any], given: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """§1 The inputs of a run, defaults filled in; or what is wrong with them."""
    schemas = doc.get("inputs", {})
    values = {name: schema["default"] for name, schema in schemas.items() if "default" in schema}
    values |= given
    for name in [*values, *schemas]:
        if name not in schemas:
            return f"no input `{name}`", {}
        if name not in values:  # no default = required
            return f"input `{name}` is not given", {}
        if not fits(schemas[name], values[name]):
            return f"input `{name}` has the wrong type", {}
    return None, values


# ------------------------------------------------------------ the record


def verdict(run: Run) -> tuple[str, Any]:
    """§8 Status of a finished run, and its outputs: evaluated only when it succeeded."""
    if run.cause:
        return run.cause, ABSENT
    try:
        return "succeeded", evaluate(run.doc.get("outputs", {}), scope(run))
    except CannotEvaluate:
        return "failed", ABSENT


def record(run: Run) -> dict[str, Any]:
    status, outputs = verdict(run)
    nodes = [*run.nodes.values(), *(run.closing.nodes.values() if run.closing else [])]
    entry = {"status": status, "nodes": {n.name: record_node(n) for n in nodes}}
    entry |= {"state": run.state} if "state" in run.doc else {}
    return entry if outputs is ABSENT else {**entry, "outputs": outputs}


def record_node(node: Node) -> dict[str, Any]:
    entry = {
        "result": node.result,
        "label": node.label,
        "reason": {"kind": node.reason},
        "attempts": [record_attempt(attempt) for attempt in node.attempts],
    }
    if node.items is not None:
        entry["items"] = [record_node(item) for item in node.items]
        for item in entry["items"]:  # what stands in the list is not said again
            if item["result"] == "succeeded" and node.output is not ABSENT:
                item.pop("output", None)
    return entry if node.output is ABSENT else {**entry, "output": node.output}


def record_attempt(attempt: Attempt) -> dict[str, Any]:
    entry = {
        "step": attempt.step,
        "visit": attempt.visit,
        "attempt": attempt.number,
        "outcome": attempt.outcome,
        "started": attempt.started,
        "ended": attempt.ended,
    }
    return {**entry, "run": record(attempt.child)} if attempt.child else entry
