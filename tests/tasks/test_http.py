"""The http task against real servers on loopback that say what a test tells them to."""

import gzip
import json
import socket
from typing import Any

import pytest
import trio
from jsonschema import Draft202012Validator

from engine.schemas.validation import validate_value
from engine.sdk.context import Context, Exit, Failure, Permanent
from engine.tasks.http.request import TASK

CONTEXT = Context("r", "p", "n", "s", 1, 1, "k")


class Server:
    """Answers the requests of a test, in turn, with bytes; keeps what was asked."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.asked: list[bytes] = []
        self.closed = trio.Event()
        self.url = ""

    async def serve(self, *, task_status: Any) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        await trio.serve_listeners(self.handle, [listener], task_status=task_status)

    async def handle(self, stream: trio.SocketStream) -> None:
        self.asked.append(await request(stream))
        if self.answers:
            await stream.send_all(self.answers.pop(0))
            if self.answers != [b"stay"]:
                return
        await stream.receive_some()
        self.closed.set()


async def request(stream: trio.SocketStream) -> bytes:
    """One request, its body included."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive_some()
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(x[15:]) for x in head.split(b"\r\n") if x[:15] == b"Content-Length:"), 0)
    while len(body) < length:
        body += await stream.receive_some()
    return head + b"\r\n\r\n" + body


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def do(inputs: dict[str, Any]) -> Exit:
    Draft202012Validator(TASK.input_schema).validate(inputs)
    with trio.fail_after(20):
        done = await TASK.body(inputs, CONTEXT)
    Draft202012Validator(TASK.output_schema).validate(done.output)
    assert isinstance(done.code, int) or done.code in TASK.exits
    return done


def ask(*answers: bytes, path: str = "/", **inputs: Any) -> tuple[Exit, list[bytes]]:
    """The exit of one attempt against a server, and what the server was asked."""

    async def main() -> tuple[Exit, list[bytes]]:
        server = Server(*answers)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            try:
                return await do({"url": server.url + path, **inputs}), server.asked
            finally:
                nursery.cancel_scope.cancel()

    try:
        return trio.run(main)
    except ExceptionGroup as group:
        (error,) = group.exceptions
        raise error from None


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.mark.parametrize(
    ("status", "code", "permanent"),
    [
        (200, 0, False),
        (204, 0, False),
        (299, 0, False),
        (304, "redirect", True),
        (400, "client_error", True),
        (404, "client_error", True),
        (408, "client_error", False),
        (429, "rate_limited", False),
        (500, "server_error", False),
        (503, "server_error", False),
    ],
)
def test_the_class_of_the_status_is_the_exit(status, code, permanent):
    done, _ = ask(answer(status))
    assert (done.code, done.permanent, done.retry_after) == (code, permanent, None)
    assert done.output["status"] == status


def test_expect_makes_a_success():
    assert ask(answer(404), expect=[200, 404])[0].code == 0


def test_expect_unmakes_a_success():
    with pytest.raises(Failure, match="the status 204 is not listed in `expect`"):
        ask(answer(204), expect=[200])


@pytest.mark.parametrize("status", [408, 429, 500, 503])
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "120"}, 120),
        ({"Retry_After": "0"}, 0),
        ({"Retry_After": "-1"}, None),
        ({"Retry_After": "soon"}, None),
        (
            {
                "Date": "Wed, 21 Oct 2015 07:28:00 GMT",
                "Retry_After": "Wed, 21 Oct 2015 07:28:30 GMT",
            },
            30,
        ),
        ({"Retry_After": "Wed, 21 Oct 2015 07:28:30 GMT"}, 0),
        ({"Retry_After": "Wed, 21 Oct 2015 07:28:30 -0000", "Date": "bad"}, 0),
    ],
    ids=str,
)
def test_retry_after_is_honoured(status, headers, seconds):
    assert ask(answer(status, **headers))[0].retry_after == seconds


def test_json_is_parsed():
    done, _ = ask(answer(200, b'{"a": [1]}', Content_Type="application/json; charset=utf-8"))
    assert done.output["body"] == {"a": [1]}


def test_json_of_a_kind_of_its_own_is_parsed():
    done, _ = ask(answer(404, b'{"title": "x"}', Content_Type="application/problem+json"))
    assert done.output["body"] == {"title": "x"}


def test_no_json_is_null():
    assert ask(answer(200, Content_Type="application/json"))[0].output["body"] is None


@pytest.mark.parametrize("body", [b"{", b"[NaN]"])
def test_wrong_json_is_an_error_after_success(body):
    with pytest.raises(
        Failure,
        match=r"^GET http://.*/: the body is not valid JSON, although its content type says so: ",
    ):
        ask(answer(200, body, Content_Type="application/json"))


def test_wrong_json_is_text_after_failure():
    done, _ = ask(answer(502, b"<html>", Content_Type="application/json"))
    assert done.output["body"] == "<html>"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("ü".encode(), "text/plain"),
        ("ü".encode("latin-1"), "text/plain; charset=latin-1"),
        ("ü".encode(), "text/plain; charset=no-such"),
    ],
)
def test_text_is_decoded(body, kind):
    assert ask(answer(200, body, Content_Type=kind))[0].output["body"] == "ü"


def test_compressed_bodies_are_unpacked():
    data = gzip.compress(b"x" * 1000)
    assert ask(answer(200, data, Content_Encoding="gzip"))[0].output["body"] == "x" * 1000


def test_headers_have_small_letters():
    assert ask(answer(200, X_Trace="Abc"))[0].output["headers"]["x-trace"] == "Abc"


def test_redirects_are_followed():
    done, asked = ask(answer(302, Location="/there?a=1"), answer(200, b"here"))
    assert (done.code, done.output["body"]) == (0, "here")
    assert done.output["url"].endswith("/there?a=1")
    assert [line.split()[1] for line in asked] == [b"/", b"/there?a=1"]


def test_redirects_may_be_left():
    done, asked = ask(answer(302, Location="/there"), follow_redirects=False)
    assert (done.code, done.output["headers"]["location"]) == ("redirect", "/there")
    assert len(asked) == 1


def test_redirects_without_end_are_an_error():
    with pytest.raises(Failure, match=r"^GET http://[^ ]*/.*: more redirects than"):
        ask(*[answer(302, Location="/")] * 30)


def test_method_and_headers_are_sent():
    _, (asked,) = ask(answer(200), method="delete", headers={"X-A": "grün"})
    assert asked.startswith(b"DELETE / HTTP/1.1\r\n")
    assert "X-A: grün\r\n".encode() in asked


def test_params_join_the_query_of_the_url():
    _, (asked,) = ask(answer(200), path="/?q=1", params={"a": ["x", "y z"], "b": True})
    assert asked.split()[1] == b"/?q=1&a=x&a=y+z&b=true"


@pytest.mark.parametrize(
    ("inputs", "kind", "body"),
    [
        ({"json": {"a": None}}, "application/json", b'{"a": null}'),
        ({"json": None}, "application/json", b"null"),
        ({"data": {"a": ["x y", 1]}}, "application/x-www-form-urlencoded", b"a=x+y&a=1"),
        ({"body": "ü"}, None, "ü".encode()),
    ],
    ids=str,
)
def test_what_is_sent(inputs, kind, body):
    _, (asked,) = ask(answer(200), method="POST", **inputs)
    head, _, sent = asked.partition(b"\r\n\r\n")
    kinds = [x[14:].decode() for x in head.split(b"\r\n") if x[:14] == b"Content-Type: "]
    assert (sent, kinds) == (body, [kind] if kind else [])


def test_refused_connection_is_one_line_without_secrets():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        url = f"http://user:secret@127.0.0.1:{port}/path?key=secret#secret"
        with pytest.raises(Failure) as caught:
            trio.run(do, {"url": url, "headers": {"Authorization": "secret"}})
    head, _, reason = str(caught.value).partition("/path: ")
    assert head == f"GET http://127.0.0.1:{port}"
    assert reason.endswith("connection refused")
    assert "\n" not in reason
    assert "secret" not in reason


def test_a_server_that_hangs_up_is_an_error():
    with pytest.raises(Failure, match=r"^POST http://.*/: the server did not send"):
        ask(b"", b"", method="post")


def test_an_answer_that_breaks_off_is_an_error():
    with pytest.raises(Failure, match=r"^GET http://.*/: the server did not send"):
        ask(b"HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\nabc")


def test_an_answer_that_is_not_http_is_an_error():
    with pytest.raises(Failure, match=r"^GET http://.*/: the server did not send"):
        ask(b"garbage\r\n\r\n")


def test_a_body_that_is_not_as_packed_as_it_says_is_an_error():
    with pytest.raises(Failure, match=r"^GET http://.*/: the body cannot be decompressed"):
        ask(answer(200, b"abc", Content_Encoding="gzip"))


def test_a_server_without_tls_is_an_error():
    async def main() -> None:
        server = Server(b"")
        async with trio.open_nursery() as nursery:
            await nursery.start(plain, server)
            url = server.url.replace("http:", "https:")
            with pytest.raises(Failure, match=f"^GET {url}: [^\n]+$"):
                await do({"url": url, "verify": False})
            nursery.cancel_scope.cancel()

    async def plain(server: Server, *, task_status: Any) -> None:
        async def handle(stream: trio.SocketStream) -> None:
            await stream.receive_some()
            await stream.send_all(answer(400))

        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        await trio.serve_listeners(handle, [listener], task_status=task_status)

    trio.run(main)


@pytest.mark.parametrize(
    "url",
    ["", "secret", "ftp://secret@x/", "http:///secret", "http://u:secret@h:secret/"],
)
def test_a_wrong_url_is_permanent_and_not_repeated(url):
    with pytest.raises(Permanent, match=r"^GET: `url` ") as caught:
        trio.run(TASK.body, {"url": url}, CONTEXT)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("port", [0, 65536, 99999])
def test_a_port_that_does_not_exist_is_permanent(port):
    with pytest.raises(Permanent, match=f"^GET http://h:{port}/: {port} is not a valid port$"):
        trio.run(do, {"url": f"http://h:{port}/"})


@pytest.mark.parametrize("url", ["ftp://x", "x", ""])
def test_a_literal_that_is_no_url_does_not_fit(url):
    (problem,) = validate_value(TASK.input_schema, {"url": url})
    assert problem.message == f'"{url}" is not a URL that begins with http:// or https://'


def test_bodies_exclude_each_other():
    (problem,) = validate_value(TASK.input_schema, {"url": "http://x", "json": 1, "body": "x"})
    assert str(problem) == "`body` and `json` exclude each other"


def test_a_failure_notes_what_was_asked_and_the_status():
    notes: list[str] = []
    context = Context("r", "p", "n", "s", 1, 1, "k", note=notes.append)

    async def main() -> None:
        server = Server(
            answer(302, Location="/there?key=secret"), answer(404).replace(b" X", b" Not Found")
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            await TASK.body({"url": f"{server.url}/a?key=secret"}, context)
            nursery.cancel_scope.cancel()
            notes[:] = [note.replace(server.url, "SERVER") for note in notes]

    trio.run(main)
    assert notes == ["GET SERVER/a, redirected to SERVER/there: 404 Not Found"]


def test_json_that_is_nested_too_deeply_is_an_error():
    body = b"[" * 100_000 + b"]" * 100_000
    with pytest.raises(Failure, match=r"its content type says so: the value is nested too deeply$"):
        ask(answer(200, body, Content_Type="application/json"))


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_redirect_elsewhere_takes_no_header_that_may_be_secret(elsewhere):
    given = {"X-Token": "t", "Authorization": "a", "Cookie": "c", "Accept": "text/x"}

    async def main() -> bytes:
        second = Server(answer(200))
        async with trio.open_nursery() as nursery:
            await nursery.start(second.serve)
            first = Server(b"", answer(200))
            await nursery.start(first.serve)
            first.answers[0] = answer(302, Location=(second if elsewhere else first).url)
            await do({"url": first.url, "headers": given})
            nursery.cancel_scope.cancel()
        return (second if elsewhere else first).asked[-1].lower()

    asked = trio.run(main)
    assert b"accept: text/x" in asked
    assert (b"x-token" in asked, b"authorization" in asked) == (not elsewhere, not elsewhere)
    assert not (elsewhere and b"cookie" in asked)


def test_a_redirect_to_a_dead_host_names_it():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(
        Failure, match=rf"/, redirected to http://127.0.0.1:{port}/: connection refused$"
    ):
        ask(answer(302, Location=f"http://127.0.0.1:{port}/"))


@pytest.mark.parametrize("headers", [{"A": "secret\nB"}, {"secret b": "x"}])
def test_a_wrong_header_is_permanent_and_not_repeated(headers):
    with pytest.raises(Permanent, match="check its headers") as caught:
        ask(headers=headers)
    assert "secret" not in str(caught.value)


def test_the_user_part_goes_to_the_server_and_not_to_the_output():
    async def main() -> tuple[Exit, bytes]:
        server = Server(answer(200))
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            done = await do({"url": server.url.replace("//", "//user:secret@")})
            nursery.cancel_scope.cancel()
        return done, server.asked[0]

    done, asked = trio.run(main)
    assert b"Authorization: Basic " in asked
    assert "secret" not in json.dumps(done.output)


def test_a_body_that_is_too_long_is_an_error():
    with pytest.raises(Failure, match=r"^GET http://.*/: the body is longer than 9 bytes$"):
        ask(answer(200, b"0123456789"), max_bytes=9)


def test_a_body_of_just_the_limit_is_fine():
    assert ask(answer(200, b"0123456789"), max_bytes=10)[0].output["body"] == "0123456789"


def test_the_limit_counts_what_was_unpacked():
    with pytest.raises(Failure, match="longer than 1000 bytes"):
        ask(answer(200, gzip.compress(b"x" * 1001), Content_Encoding="gzip"), max_bytes=1000)


@pytest.mark.parametrize(
    "answers", [(), (b"HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\nabc", b"stay")], ids=len
)
def test_cancel_hangs_up(answers):
    async def main() -> None:
        server = Server(*answers)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            async with trio.open_nursery() as attempt:
                attempt.start_soon(do, {"url": server.url})
                with trio.fail_after(20):
                    while not server.asked:
                        await trio.sleep(0.01)
                attempt.cancel_scope.cancel()
            with trio.fail_after(20):
                await server.closed.wait()
            nursery.cancel_scope.cancel()

    trio.run(main)


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"url": 1},
        {"url": "http://h/", "method": "GET IT"},
        {"url": "http://h/", "headers": {"a": 1}},
        {"url": "http://h/", "json": 1, "body": "1"},
        {"url": "http://h/", "data": {}, "body": "1"},
        {"url": "http://h/", "json": 1, "data": {}},
        {"url": "http://h/", "expect": []},
        {"url": "http://h/", "max_bytes": -1},
        {"url": "http://h/", "timeout": 1},
    ],
    ids=str,
)
def test_inputs_that_do_not_fit(inputs):
    assert not Draft202012Validator(TASK.input_schema).is_valid(inputs)
