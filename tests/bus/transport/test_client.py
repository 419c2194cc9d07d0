"""What answers and failures mean, row by row, and the client against servers that misbehave on real sockets."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from broker.bus.fhir import encode
from broker.bus.transport import client as client_module
from broker.bus.transport.answers import MAX_REASON, Answer, Delivered, Paused, Rejected, Retry, classify
from broker.bus.transport.dialect import n3, r4
from tests.bus.wire import Connect, Handler, Serve, answering, drips, request_of
from tests.support.waiting import wait_for_result

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
TASK = {"resourceType": "Task", "id": "t-1"}
BUNDLE = {"resourceType": "Bundle", "type": "transaction-response"}
READ = n3.read("Task", "t-1")
POST = n3.transaction({"resourceType": "Bundle", "type": "transaction", "entry": []})
DUPLICATE = "Попытка повторного добавления Task с идентификатором K2611-0001, ранее добавлен Task/5f0c-1"


def outcome(*texts: str) -> dict[str, Any]:
    issues = [{"severity": "error", "code": "value", "diagnostics": text, "location": ["Bundle"]} for text in texts]
    return {"resourceType": "OperationOutcome", "issue": issues}


def means(status: int, body: object = b"", headers: dict[str, str] | None = None) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return classify(status, headers or {}, raw, NOW)


# ---- the table of answers ----


@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_resource_with_a_2xx_is_delivered(status: int) -> None:
    assert means(status, TASK) == Delivered(TASK, evidence=json.dumps(TASK))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "no JSON"),
        (b"<!DOCTYPE html><html></html>", "no JSON"),
        ("Готово".encode("cp1251"), "not UTF-8"),
        (b'{"resourceType": "Task", "id": "\xff"}', "not UTF-8"),
        (b"[]", "no JSON object"),
        (b'"Task"', "no JSON object"),
        (b"{}", "no resourceType"),
        (b'{"resourceType": 5}', "no resourceType"),
        (b'{"resourceType": "Task", "id": NaN}', "NaN is not JSON"),
        (b'{"resourceType": "Task", "resourceType": "Task"}', "a member comes twice"),
        (b'{"a":' * 10000 + b"1" + b"}" * 10000, "nested too deep"),
        (b'{"resourceType": "Task\x00"}', "no JSON"),
    ],
)
def test_a_2xx_without_a_resource_is_a_failure_of_unknown_outcome(body: bytes, reason: str) -> None:
    answer = means(200, body)
    assert isinstance(answer, Retry)
    assert answer.reason == f"not a FHIR answer: {reason}"
    assert answer.uncertain


def test_an_error_in_a_2xx_answer_is_a_refusal() -> None:
    assert isinstance(means(200, outcome("Нет прав")), Rejected)
    hint = {"resourceType": "OperationOutcome", "issue": [{"severity": "information", "code": "informational"}]}
    assert isinstance(means(200, hint), Delivered)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", [b"", b"<html>", outcome("Ключ отозван")])
def test_a_refused_token_pauses(status: int, body: object) -> None:
    answer = means(status, body)
    assert isinstance(answer, Paused)
    assert answer.reason == f"token refused (HTTP {status})"
    assert not answer.uncertain


@pytest.mark.parametrize("status", [400, 422])
def test_a_refusal_parks_with_the_diagnostics_as_they_came(status: int) -> None:
    answer = means(status, outcome("Не заполнено поле birthDate", "Код не найден"))
    assert isinstance(answer, Rejected)
    assert answer.reason == "Не заполнено поле birthDate; Код не найден"
    assert not answer.uncertain
    assert "location" in answer.evidence


def test_a_refusal_without_diagnostics_is_reported_by_details_code_or_number() -> None:
    def reported(**issue: Any) -> str:
        answer = means(422, {"resourceType": "OperationOutcome", "issue": [issue]})
        assert isinstance(answer, Rejected)
        return answer.reason

    assert reported(details={"text": "Нет поля"}, code="required") == "Нет поля"
    assert reported(diagnostics="", code="required") == "required"
    assert reported(diagnostics=["x"], details=[], code=5) == "HTTP 422"
    assert isinstance(means(400, {"title": "Bad Request"}), Rejected)


def test_a_reason_is_one_clean_line_of_bounded_length() -> None:
    answer = means(422, json.dumps(outcome("Пло\x00хо\n\ud800\u202e" + "x" * 9000)).encode())
    assert isinstance(answer, Rejected)
    assert answer.reason.startswith("Плохо xxx")
    assert len(answer.reason) == MAX_REASON


@pytest.mark.parametrize("status", [409, 412])
def test_a_conflict_is_a_refusal_of_the_message(status: int) -> None:
    assert isinstance(means(status, outcome("Версия устарела")), Rejected)


def test_a_message_that_is_too_long_will_be_so_again() -> None:
    answer = means(413, b"<html>")
    assert isinstance(answer, Rejected)
    assert answer.reason == "HTTP 413"


@pytest.mark.parametrize("status", [400, 422])
def test_a_refusal_without_json_comes_from_a_proxy_before_the_bus(status: int) -> None:
    answer = means(status, b"<html>The plain HTTP request was sent to HTTPS port</html>")
    assert isinstance(answer, Retry)
    assert answer.reason == f"HTTP {status}"


def test_a_repeated_task_is_a_success_with_the_id_of_the_first() -> None:
    for text in (DUPLICATE, DUPLICATE + ".", f"«{DUPLICATE}»"):
        answer = means(422, outcome("Прочее", text))
        assert isinstance(answer, Delivered)
        assert answer.task == "5f0c-1"
    assert isinstance(means(422, outcome(DUPLICATE + " отменён")), Rejected)
    assert isinstance(means(422, outcome("Неизвестный Task/5f0c-1")), Rejected)
    assert isinstance(means(400, outcome(DUPLICATE)), Rejected)


@pytest.mark.parametrize("status", [408, 500, 501, 502, 503, 504, 599])
def test_a_server_error_is_tried_again_after_a_look_up(status: int) -> None:
    assert means(status, b"") == Retry(f"HTTP {status}", None, uncertain=True)
    assert isinstance(means(status, outcome("Сбой")), Retry)


def test_a_refused_rate_is_tried_again_and_certainly_not_taken() -> None:
    assert means(429, b"", {"Retry-After": "7"}) == Retry("HTTP 429", 7.0, uncertain=False)


@pytest.mark.parametrize("status", [404, 405, 407, 410, 421, 451, 100, 700])
def test_what_is_due_to_the_connection_and_not_to_the_message_is_retried(status: int) -> None:
    answer = means(status, outcome("Метод не найден"))
    assert isinstance(answer, Retry)
    assert answer.reason == f"HTTP {status}"


@pytest.mark.parametrize("status", [406, 413, 415])
@pytest.mark.parametrize("body", [b"", b"<html>", outcome("Ожидается другой Content-Type")])
def test_what_is_the_same_at_every_attempt_waits_for_a_person(status: int, body: bytes) -> None:
    answer = means(status, body)
    assert isinstance(answer, Rejected)
    assert answer.reason in (f"HTTP {status}", "Ожидается другой Content-Type")


def test_a_byte_order_mark_before_an_answer_is_no_part_of_it() -> None:
    assert means(200, b"\xef\xbb\xbf" + json.dumps(TASK).encode()) == Delivered(
        TASK, evidence="\ufeff" + json.dumps(TASK)
    )


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_is_a_failure(status: int) -> None:
    answer = means(status, b"", {"Location": "https://elsewhere.example/"})
    assert isinstance(answer, Retry)
    assert answer.reason == f"redirect refused (HTTP {status})"


SOON = NOW + timedelta(seconds=90)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "120"}, 120.0),
        ({"Retry-After": " 0 "}, 0.0),
        ({"Retry-After": "999999999999"}, 999999999999.0),
        ({"Retry-After": format_datetime(SOON, usegmt=True)}, 90.0),
        ({"Retry-After": format_datetime(NOW - timedelta(days=1), usegmt=True)}, 0.0),
        (
            {
                "Retry-After": format_datetime(SOON - timedelta(days=9000), usegmt=True),
                "Date": format_datetime(NOW - timedelta(days=9000), usegmt=True),
            },
            90.0,
        ),
        ({"Retry-After": format_datetime(SOON, usegmt=True), "Date": "yesterday"}, 90.0),
        ({}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Tue, 99 Nov 2026 06:00:00 GMT"}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_nonsense_is_none(headers: dict[str, str], seconds: float | None) -> None:
    answer = means(503, b"", headers)
    assert isinstance(answer, Retry)
    assert answer.after == seconds


# ---- real sockets ----


def test_calls_are_those_of_the_wire_profile(serve: Serve, connect: Connect) -> None:
    server = serve(answering("200 OK", BUNDLE))
    bus = connect(server)
    bus.call(n3.transaction({"resourceType": "Bundle", "ё": 1, "entry": []}))
    bus.call(n3.search("Task", {"status": "requested"}))
    bus.call(n3.set_status("t-1", "cancelled"))
    bus.call(READ)
    lines = [request.split(b"\r\n")[0] for request in server.requests]
    assert lines == [
        b"POST /fhir?_format=json HTTP/1.1",
        b"POST /fhir/Task/_search?_format=json HTTP/1.1",
        b"POST /fhir/$updatestatus?_format=json HTTP/1.1",
        b"GET /fhir/Task/t-1 HTTP/1.1",
    ]
    assert server.requests[0].endswith(encode({"resourceType": "Bundle", "ё": 1, "entry": []}))
    for request in server.requests:
        assert b"\r\nAuthorization: N3 secret\r\n" in request
        assert b"\r\nContent-Type: application/json\r\n" in request


def test_r4_names_the_type_that_fhir_has_for_its_json(serve: Serve, connect: Connect) -> None:
    server = serve(answering("200 OK", BUNDLE))
    bus = connect(server)
    bus.call(r4.transaction({"resourceType": "Bundle", "entry": []}))
    bus.call(r4.search("Task", {"status": "requested"}))
    assert b"\r\nContent-Type: application/fhir+json\r\n" in server.requests[0]
    for request in server.requests:
        assert b"\r\nAccept: application/fhir+json, application/json;q=0.9\r\n" in request


def test_another_kind_of_resource_than_asked_for_is_no_answer(serve: Serve, connect: Connect) -> None:
    bus = connect(serve(answering("200 OK", TASK)))
    assert bus.call(READ) == Delivered(TASK, evidence=json.dumps(TASK))
    answer = bus.call(POST)
    assert isinstance(answer, Retry)
    assert answer.reason == "not a FHIR answer: Task instead of Bundle"


def test_a_resource_that_is_not_there_does_not_stop_the_others(serve: Serve, connect: Connect) -> None:
    bus = connect(serve(answering("404 Not Found", outcome("Не найден"))))
    assert isinstance(bus.call(READ), Rejected)
    assert isinstance(bus.call(POST), Retry)


def test_the_token_is_read_before_each_call(serve: Serve, connect: Connect) -> None:
    tokens = iter(["old", "new"])
    server = serve(answering("200 OK", TASK))
    bus = connect(server, token=lambda: next(tokens))
    bus.call(READ)
    bus.call(READ)
    assert [b"N3 old" in server.requests[0], b"N3 new" in server.requests[1]] == [True, True]


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file"), ValueError("this file is empty")])
def test_a_token_that_cannot_be_read_pauses_and_nothing_is_sent(
    serve: Serve, connect: Connect, error: Exception
) -> None:
    def token() -> str:
        raise error

    server = serve(answering("200 OK", TASK))
    answer = connect(server, token=token).call(READ)
    assert isinstance(answer, Paused)
    assert answer.reason.startswith("token refused")
    assert server.requests == []


def test_a_redirect_is_not_followed_and_the_token_stays(serve: Serve, connect: Connect) -> None:
    other_server = serve(answering("200 OK", BUNDLE))
    location = f"Location: http://127.0.0.1:{other_server.port}/fhir"
    for status in ("301 Moved Permanently", "307 Temporary Redirect"):
        answer = connect(serve(answering(status, b"", location))).call(POST)
        assert isinstance(answer, Retry)
        assert answer.reason.startswith("redirect refused")
    assert other_server.requests == []


def test_a_netrc_file_does_not_replace_the_token(
    serve: Serve, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = serve(answering("200 OK", TASK))
    connect(server).call(READ)
    assert b"\r\nAuthorization: N3 secret\r\n" in server.requests[0]


def test_a_proxy_of_the_environment_is_used_but_not_for_this_computer(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(answering("200 OK", TASK))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert isinstance(connect("http://bus.example/fhir").call(READ), Delivered)
    assert proxy.requests[0].startswith(b"GET http://bus.example/fhir/Task/t-1 HTTP/1.1\r\n")
    server = serve(answering("200 OK", TASK))
    connect(server).call(READ)
    assert len(proxy.requests) == len(server.requests) == 1


def test_a_bus_that_is_not_there_certainly_has_nothing(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert connect(f"http://127.0.0.1:{port}/fhir").call(POST) == Retry("cannot connect", uncertain=False)


def test_a_proxy_that_is_not_there_means_that_the_bus_has_nothing(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed.getsockname()[1]}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    answer = connect("http://bus.example/fhir").call(POST)
    assert answer == Retry("proxy: cannot connect", uncertain=False)


def test_a_name_that_is_not_known_means_that_the_bus_has_nothing(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.delenv("http_proxy", raising=False)
    answer = connect("http://bus.example/fhir").call(POST)
    assert answer == Retry("name not found", uncertain=False)


def test_a_connection_that_is_never_accepted_is_a_time_out_and_the_bus_has_nothing(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        answer = connect(f"http://127.0.0.1:{address[1]}/fhir", timeout=0.3).call(POST)
        for one in waiting:
            one.close()
    assert isinstance(answer, Retry)
    assert answer.reason.startswith("time-out")
    assert not answer.uncertain


def _silent(peer: socket.socket, request: bytes) -> None:
    peer.recv(1)


def _hangs_up(peer: socket.socket, request: bytes) -> None:
    peer.shutdown(socket.SHUT_RDWR)


def _stops_in_the_body(peer: socket.socket, request: bytes) -> None:
    peer.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"resourceType": "Bundle"')


def _breaks_a_chunk(peer: socket.socket, request: bytes) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n")


def _is_no_http(peer: socket.socket, request: bytes) -> None:
    peer.sendall(b"220 mail.example ESMTP\r\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (_silent, "time-out"),
        (drips(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"), "time-out"),
        (drips(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b" "), "time-out"),
        (drips(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"), "time-out"),
        (drips(b'HTTP/1.0 200 OK\r\n\r\n{"resourceType": "Bundle"}', b" "), "time-out"),
        (_hangs_up, "cannot connect: the connection broke"),
        (_stops_in_the_body, "cannot connect: the connection broke"),
        (_breaks_a_chunk, "cannot connect: the connection broke"),
        (_is_no_http, "cannot connect: the connection broke"),
    ],
    ids=["silent", "header drips", "body drips", "chunks drip", "endless", "hangs up", "short", "bad chunk", "no HTTP"],
)
def test_after_the_request_was_sent_every_failure_leaves_the_outcome_unknown(
    serve: Serve, connect: Connect, handler: Handler, reason: str
) -> None:
    server = serve(handler)
    bus = connect(server, timeout=0.4)
    answer = wait_for_result(lambda: bus.call(POST), "the end of the call")
    assert answer == Retry(reason, uncertain=True)
    assert len(server.requests) == 1


def test_a_connection_that_has_been_idle_is_not_used_again_when_the_server_may_be_closing_it(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(client_module, "monotonic", lambda: now)

    def close_as_the_next_request_comes(peer: socket.socket, request: bytes) -> None:
        body = encode(TASK)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        request_of(peer)

    server = serve(close_as_the_next_request_comes)
    client = connect(server)
    assert isinstance(client.call(READ), Delivered)
    now += 5  # as long as impatient servers keep one
    assert isinstance(client.call(READ), Delivered)
    now += 2
    assert isinstance(client.call(READ), Retry)  # still used again, so the server's closing is met


def test_a_call_after_a_cut_one_works(serve: Serve, connect: Connect) -> None:
    handlers = iter([drips(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"), answering("200 OK", TASK)])
    bus = connect(serve(lambda peer, request: next(handlers)(peer, request)), timeout=0.4)
    assert isinstance(bus.call(READ), Retry)
    assert isinstance(bus.call(READ), Delivered)


def test_an_answer_that_is_too_long_is_not_read_to_its_end(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "BODY_LIMIT", 100_000)
    sent = 0

    def endless(peer: socket.socket, request: bytes) -> None:
        nonlocal sent
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 100_000_000:
            sent += peer.send(b"x" * 65536)

    answer = connect(serve(endless)).call(POST)
    assert isinstance(answer, Retry)
    assert answer.reason == "not a FHIR answer: longer than 100000 bytes"
    assert answer.uncertain
    assert sent < 50_000_000


def test_a_portals_page_is_a_failure(serve: Serve, connect: Connect) -> None:
    answer = connect(serve(answering("200 OK", b"<html>sign in</html>"))).call(POST)
    assert isinstance(answer, Retry)
    assert answer.reason == "not a FHIR answer: no JSON"
    assert answer.evidence == "<html>sign in</html>"


# ---- TLS ----


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for 127.0.0.1 that nobody has signed."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    directory = tmp_path_factory.mktemp("tls")
    both = directory / "both.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(directory / "key.pem"), "-out", str(directory / "certificate.pem")]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    both.write_text((directory / "key.pem").read_text() + (directory / "certificate.pem").read_text())
    return both


def _context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_an_untrusted_certificate_pauses_and_nothing_is_sent(
    serve: Serve, connect: Connect, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("PYTHONHTTPSVERIFY", "0")
    server = serve(answering("200 OK", TASK), _context(certificate))
    answer = connect(f"https://127.0.0.1:{server.port}/fhir").call(READ)
    assert isinstance(answer, Paused)
    assert answer.reason.startswith("certificate refused (")
    assert server.requests == []


def test_an_authority_that_the_administrator_names_is_trusted(
    serve: Serve, connect: Connect, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    server = serve(answering("200 OK", TASK), _context(certificate))
    assert isinstance(connect(f"https://127.0.0.1:{server.port}/fhir").call(READ), Delivered)


def test_the_deadline_holds_under_tls(
    serve: Serve, connect: Connect, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    server = serve(drips(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"), _context(certificate))
    bus = connect(f"https://127.0.0.1:{server.port}/fhir", timeout=0.4)
    answer = wait_for_result(lambda: bus.call(READ), "the end of the call")
    assert answer == Retry("time-out", uncertain=True)


def test_a_port_without_tls_is_not_spoken_to_in_plain(serve: Serve, connect: Connect) -> None:
    server = serve(answering("400 Bad Request"))
    answer = connect(f"https://127.0.0.1:{server.port}/fhir", timeout=0.5).call(READ)
    assert isinstance(answer, Retry)
    assert answer.reason.startswith(("TLS", "time-out"))
    assert b"secret" not in b"".join(server.requests)


def test_a_file_of_authorities_that_is_not_there_pauses(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/authorities.pem")
    answer = connect("https://127.0.0.1:1/fhir").call(READ)
    assert isinstance(answer, Paused)
    assert answer.reason.startswith("certificate files cannot be used: /nowhere/authorities.pem")
