"""`http` with files and credentials, and `http.pages`, against a real server."""

from __future__ import annotations

import email
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.schemas.validation import validate_value
from engine.sdk.context import PROGRESS_PREFIX, Exit, Failure
from engine.tasks import transfer_progress
from engine.tasks.http.request import TASK
from tests.tasks.test_basic import context, do


class Echo(BaseHTTPRequestHandler):
    """Keeps what it is asked; `/page/N` are three pages, `/data` bytes."""

    asked: list[tuple[str, dict[str, str], bytes]]
    url = ""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        name, _, number = self.path.partition("?")[0].strip("/").partition("/")
        headers: dict[str, str] = {}
        data, status = b"\x00data", 200
        if name == "page":
            at = int(number)
            after = f"/page/{at + 1}" if at < 3 else None
            headers = {"Link": f'</first>; rel="first", <{after}>; rel="next"'} if after else {}
            deep = "deep" in self.asked[0][0]
            data = json.dumps({"list": [at], "next": after} if deep else [at]).encode()
        elif name == "broken":
            status = 500
        self.send_response(status)
        for key, value in {
            "Content-Type": "application/json" if name == "page" else "x/y",
            **headers,
        }.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[Any]:
    handler = type("Handler", (Echo,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        handler.url = f"http://127.0.0.1:{server.server_port}"
        yield handler
        server.shutdown()
        thread.join()


def ask(id: str, folder: Path, **inputs: Any) -> Exit:
    found: Exit = do(id, inputs, context(folder))
    return found


def test_a_file_is_sent(server: Any, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\x00\xff")
    ask("http", tmp_path, url=server.url, method="POST", file="a.bin")
    assert server.asked[0][2] == b"\x00\xff"
    with pytest.raises(Failure, match=r"none\.bin`: no such file"):
        ask("http", tmp_path, url=server.url, method="POST", file="none.bin")


def test_a_download_that_takes_long_tells_how_far_it_is(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer_progress, "REPORT_INTERVAL", 0.0)
    notes: list[str] = []
    do("http", {"url": f"{server.url}/data", "to": "a"}, context(tmp_path, notes=notes))
    assert notes == [f"{PROGRESS_PREFIX}1.0 0.0 of 0.0 MB"]


def test_files_are_sent_in_a_form(server: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    files = {
        "table": {"path": "a.csv", "type": "text/csv"},
        "other": {"path": "a.csv", "name": "b.csv"},
    }
    ask("http", tmp_path, url=server.url, method="POST", files=files, data={"year": 2026})
    [(_, headers, body)] = server.asked
    head = f"Content-Type: {headers['content-type']}\r\n\r\n".encode()
    parts = email.message_from_bytes(head + body).get_payload()
    found = {
        part.get_param("name", header="content-disposition"): (
            part.get_filename(),
            part.get_content_type(),
            part.get_payload(),
        )
        for part in parts  # type: ignore[union-attr]
    }
    assert found["year"][2] == "2026"
    assert found["table"] == ("a.csv", "text/csv", "x\n1\n")
    assert found["other"][0] == "b.csv"


def test_credentials_are_headers(server: Any, tmp_path: Path) -> None:
    ask("http", tmp_path, url=server.url, bearer="t0ken")
    ask("http", tmp_path, url=server.url, basic={"user": "me", "password": "pass:word"})
    assert [headers["authorization"] for _, headers, _ in server.asked] == [
        "Bearer t0ken",
        "Basic bWU6cGFzczp3b3Jk",
    ]
    [problem] = validate_value(
        TASK.input_schema, {"url": "http://x", "bearer": "a", "basic": {"user": "", "password": ""}}
    )
    assert str(problem) == "`basic` and `bearer` exclude each other"


def test_an_answer_goes_into_a_file(server: Any, tmp_path: Path) -> None:
    found = ask("http", tmp_path, url=server.url + "/data", to="in/x.bin")
    assert found.output["body"] == {"path": str(tmp_path / "in/x.bin"), "size": 5}
    assert (tmp_path / "in/x.bin").read_bytes() == b"\x00data"
    failed = ask("http", tmp_path, url=server.url + "/broken", to="y.bin")
    assert (failed.code, (tmp_path / "y.bin").exists()) == ("server_error", False)


def test_all_pages_are_asked_for(server: Any, tmp_path: Path) -> None:
    found = ask(
        "http.pages", tmp_path, url=server.url + "/page/1", params={"q": 1}, max_pages=9, bearer="t"
    )
    assert (found.code, found.output) == (0, {"items": [1, 2, 3], "pages": 3})
    assert [path for path, *_ in server.asked] == ["/page/1?q=1", "/page/2", "/page/3"]
    assert {headers["authorization"] for _, headers, _ in server.asked} == {"Bearer t"}


def test_a_page_may_say_where_the_next_is(server: Any, tmp_path: Path) -> None:
    found = ask(
        "http.pages",
        tmp_path,
        url=server.url + "/page/1?deep",
        max_pages=9,
        items="list",
        next="next",
    )
    assert found.output == {"items": [1, 2, 3], "pages": 3}


def test_more_pages_than_may_be_are_an_exit(server: Any, tmp_path: Path) -> None:
    found = ask("http.pages", tmp_path, url=server.url + "/page/1", max_pages=2)
    assert (found.code, found.output) == ("more", {"items": [1, 2], "pages": 2})


def test_a_page_that_fails_is_the_exit(server: Any, tmp_path: Path) -> None:
    found = ask("http.pages", tmp_path, url=server.url + "/broken", max_pages=2)
    assert (found.code, found.output["pages"]) == ("server_error", 0)
    with pytest.raises(Failure, match="a page has no list"):
        ask("http.pages", tmp_path, url=server.url + "/data", max_pages=2)
