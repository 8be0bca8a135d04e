"""Where events go besides: files and webhooks, which may fail as they like."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import engine
from engine import sinks
from engine.cli import main
from engine.errors import EngineError
from engine.record.events import Event
from engine.toml.source import Source

SPEC = 'engine = 1\n[nodes.a]\ntask = "collect"\nwith = { t = "${secrets.TOKEN}" }\n'
PLAIN = SPEC.replace('with = { t = "${secrets.TOKEN}" }\n', "")
KINDS = ["run_started", "attempt_started", "attempt_ended", "node_settled", "run_ended"]


class Hook(BaseHTTPRequestHandler):
    """Answers with one status after the other, the last again and again."""

    statuses: list[int]
    heard: list[tuple[str | None, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status < 400:
            self.heard.append((self.headers["Authorization"], body))
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(sinks, "_RETRY_DELAYS", (0.01, 0.01))
    handler = type("Handler", (Hook,), {"statuses": [204], "heard": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        handler.url = f"http://127.0.0.1:{server.server_port}/"  # type: ignore[attr-defined]
        yield handler
        server.shutdown()
        thread.join()


def run(*given: Any, text: str = PLAIN, **options: Any) -> engine.Result:
    plan = engine.load_plan(Source("x.toml", text))
    return engine.run(plan, {}, sinks=list(given), run_id="r1", **options)


def kinds(hook: Any) -> list[str]:
    return [event["event"] for _, body in hook.heard for event in body["events"]]


def test_events_are_lines_of_json_after_those_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"before": true}\n')
    with sinks.JsonLines(path) as lines:
        run(lines, text=SPEC, secrets={"TOKEN": "a-secret-word"})
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line.get("event") for line in found] == [None, *KINDS]
    assert "a-secret-word" not in path.read_text()


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="is a directory"):
        sinks.JsonLines(tmp_path)


def test_a_webhook_hears_all_in_order(hook: Any) -> None:
    with sinks.Webhook(hook.url, "t0ken") as webhook:
        run(webhook)
    assert (kinds(hook), webhook.lost) == (KINDS, 0)
    assert {(token, body["run"]) for token, body in hook.heard} == {("Bearer t0ken", "r1")}


def test_what_a_server_cannot_take_is_posted_again(hook: Any) -> None:
    hook.statuses = [503, 429, 200]
    with sinks.Webhook(hook.url) as webhook:
        run(webhook)
    assert (kinds(hook), webhook.lost) == (KINDS, 0)


@pytest.mark.parametrize("status", [500, 404])
def test_what_is_given_up_is_counted_and_harms_no_run(hook: Any, status: int) -> None:
    hook.statuses = [status]
    with sinks.Webhook(hook.url) as webhook:
        assert run(webhook).status == "succeeded"
    assert (kinds(hook), webhook.lost) == ([], 5)


def test_nobody_there_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "_RETRY_DELAYS", (0.01,))
    with sinks.Webhook("http://127.0.0.1:9/") as webhook:
        assert run(webhook).status == "succeeded"
    assert webhook.lost == 5


def test_a_sink_that_raises_is_left_alone_and_others_hear_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[str] = []

    def bad(event: Event) -> None:
        raise LookupError(event.kind)

    result = run(bad, lambda event: heard.append(event.kind))
    assert (result.status, heard) == ("succeeded", KINDS)
    assert len(caplog.records) == 1


def test_what_is_no_webhook_or_no_sink_is_refused() -> None:
    with pytest.raises(EngineError, match="must begin with http"):
        sinks.Webhook("file:///etc/passwd")
    with pytest.raises(TypeError, match="`sinks` must be a list of functions"):
        run(3)


def test_the_command_has_both(
    hook: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_WEBHOOK_TOKEN", "t0ken")
    spec, events = tmp_path / "a.toml", tmp_path / "e.jsonl"
    spec.write_text(PLAIN)
    call = ["run", str(spec), "--events", str(events), "--webhook", hook.url, "--durability", "off"]
    assert main.main(call) == 0
    assert [json.loads(line)["event"] for line in events.read_text().splitlines()] == KINDS
    assert kinds(hook) == KINDS
    hook.statuses = [500]
    assert main.main(call) == 0
    assert "warning: 5 events could not be delivered to 127.0.0.1" in capsys.readouterr().err
