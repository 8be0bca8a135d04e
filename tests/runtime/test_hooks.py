"""Hooks: when they are called, what they are given, and what one that raises does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import engine
from engine import InputError
from engine.errors import EngineError
from engine.hooks import Hook, HookContext
from engine.record.result import Outcome, Result
from engine.toml.source import Source

SPEC = """\
engine = 1
[inputs]
who = { type = "string", default = "me" }
[nodes.a]
task = "collect"
with = { t = "${secrets.TOKEN}", who = "${inputs.who}" }
[nodes.b]
start = "one"
needs = ["a"]
steps.one = { task = "collect", routes = { success = "two" } }
steps.two = { task = "fail", with = { message = "no" }, routes = { failure = "done" } }
[nodes.c]
task = "collect"
needs = { b = "failure" }
"""


def run(*hooks: Hook, text: str = SPEC) -> Result:
    plan = engine.load_plan(Source("x.toml", text))
    return engine.run(plan, {}, hooks=hooks, secrets={"TOKEN": "a-secret-word"}, run_id="r1")


class Listing:
    """A hook that lists its calls, some of which are async."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.given: list[Any] = []
        self.hook = Hook(
            before_run=lambda about: self.say("before run", about),
            after_run=self.after_run,
            before_node=self.before_node,
            after_node=lambda about, data: self.say(f"after {about.path} {data['result']}", data),
            before_attempt=lambda about: self.say(f"before {about.path} {about.task}", about),
            after_attempt=self.after_attempt,
        )

    def say(self, text: str, given: Any) -> None:
        self.calls.append(text)
        self.given.append(given)

    async def before_node(self, about: HookContext) -> None:
        self.say(f"before {about.path}", about)

    async def after_attempt(self, about: HookContext, outcome: Outcome) -> None:
        self.say(f"after {about.path} {outcome.code}", outcome)

    async def after_run(self, about: HookContext, result: Result) -> None:
        self.say(f"after run {result.status}", result)


def test_it_is_called_before_and_after_all_there_is() -> None:
    listing = Listing()
    assert run(listing.hook).status == "succeeded"
    calls = listing.calls
    assert (calls[0], calls[-1]) == ("before run", "after run succeeded")
    ends = [
        call
        for call in calls
        if call in ("after a succeeded", "after b succeeded", "after c skipped")
    ]
    assert ends == ["after a succeeded", "after b succeeded", "after c skipped"]
    assert [call for call in calls[1:-1] if call not in ends] == [
        *("before a", "before a/a collect", "after a/a 0"),
        *(
            "before b",
            "before b/one collect",
            "after b/one 0",
            "before b/two fail",
            "after b/two 1",
        ),
    ]
    assert "a-secret-word" not in str(listing.given)
    assert listing.given[0].inputs == {"who": "me"}


def test_one_that_raises_before_a_run_refuses_it() -> None:
    def refuse(about: HookContext) -> None:
        raise PermissionError("not tonight")

    listing = Listing()
    with pytest.raises(InputError) as caught:
        run(Hook(name="gate", before_run=refuse), listing.hook)
    assert caught.value.problems == ("hook `gate` refuses the run: PermissionError: not tonight",)
    assert listing.calls == []


@pytest.mark.parametrize("when", ["before_node", "before_attempt"])
def test_one_that_raises_before_a_node_is_its_error(when: str) -> None:
    def refuse(about: HookContext) -> None:
        if about.path.startswith("a"):
            raise ValueError("no a, and a-secret-word neither")

    result = run(Hook(name="gate", **{when: refuse}))
    assert (result.status, result.nodes["b"].result) == ("failed", "skipped")
    [attempt] = result.nodes["a"].attempts
    assert attempt.outcome == "error"
    assert attempt.error == "hook `gate`: ValueError: no a, and *** neither"


def test_it_may_only_warn(caplog: pytest.LogCaptureFixture) -> None:
    def raises(*given: Any) -> None:
        raise ValueError("hm")

    names = (
        "before_run",
        "before_node",
        "before_attempt",
        "after_attempt",
        "after_node",
        "after_run",
    )
    assert (
        run(Hook(name="loud", policy="warn", **dict.fromkeys(names, raises))).status == "succeeded"
    )
    told = {record.getMessage() for record in caplog.records}
    assert told == {f"hook `loud` failed in `{name}`: ValueError: hm" for name in names}


def test_what_is_no_hook_is_refused() -> None:
    with pytest.raises(TypeError, match="`hooks` must be a list of"):
        run(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="policy"):
        Hook(policy="maybe")  # type: ignore[arg-type]


# -- of plug-ins -----------------------------------------------------------------------------------


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution with a hook, and a project that names one."""
    folder = tmp_path / "site"
    info = folder / "audit_hooks-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: audit-hooks\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[engine.hooks]\naudit = audit_hooks:HOOK\nodd = audit_hooks:ODD\n"
    )
    (folder / "audit_hooks.py").write_text(
        "from engine.hooks import Hook\nSEEN = []\nODD = 3\n"
        "HOOK = Hook(name='audit', before_run=lambda about: SEEN.append(about.pipeline))\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    spec = tmp_path / "project" / "a.toml"
    spec.parent.mkdir()
    spec.write_text('engine = 1\n[nodes.a]\ntask = "collect"\n')
    return spec


def test_a_project_names_the_hooks_of_plugins(plugin: Path) -> None:
    engine.run(plugin)
    assert "audit_hooks" not in sys.modules
    (plugin.parent / "pyproject.toml").write_text('[tool.engine]\nhooks = ["audit"]\n')
    assert engine.run(plugin).status == "succeeded"
    assert sys.modules["audit_hooks"].SEEN == ["a"]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ('["nobody"]', "no entry point of `engine.hooks` is named `nobody`"),
        ('["odd"]', "hook `odd` is not an `engine.hooks.Hook`"),
        ("3", "expected an array of names of hooks"),
    ],
)
def test_a_hook_that_is_not_there_is_told(names: str, told: str, plugin: Path) -> None:
    (plugin.parent / "pyproject.toml").write_text(f"[tool.engine]\nhooks = {names}\n")
    with pytest.raises(EngineError, match=told):
        engine.run(plugin)
