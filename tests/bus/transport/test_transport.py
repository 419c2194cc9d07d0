"""The line to the bus as an administrator configures it: authorities, a client's certificate, a proxy, the deadline."""

from __future__ import annotations

import gc
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from broker.app.settings import bus_client
from broker.bus.transport.answers import Answer, Delivered, Paused, Retry
from broker.bus.transport.dialect import n3
from broker.config.sections import BusConfig
from tests.bus.certificates import Authority, encrypted
from tests.bus.wire import Connect, Relay, Serve, answering, drips
from tests.support.waiting import DEADLINE, wait_for_result, wait_until

TASK = {"resourceType": "Task", "id": "t-1"}
READ = n3.read("Task", "t-1")
ANSWER = answering("200 OK", TASK)

# Python's ssl forgets to close a socket whose peer reset the connection before the handshake (SSLSocket._create).
pytestmark = pytest.mark.filterwarnings("ignore:.*ssl.SSLSocket fd:pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take what the environment of this computer may say of proxies and authorities away."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    yield
    gc.collect()  # here, and not in another file's test, where it would be a failure


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "Somebody else")


@pytest.fixture
def relay() -> Iterator[Relay]:
    running = Relay(forward=True)
    yield running
    running.close()


def https(port: int) -> str:
    return f"https://127.0.0.1:{port}/fhir"


# ---- certificates ----


def test_an_own_authority_from_the_configuration_is_trusted(
    serve: Serve, connect: Connect, authority: Authority
) -> None:
    server = serve(ANSWER, authority.server())
    assert isinstance(connect(https(server.port), ca_file=authority.file).call(READ), Delivered)


def test_the_bus_lets_in_only_who_shows_the_clients_certificate(
    serve: Serve, connect: Connect, authority: Authority, stranger: Authority
) -> None:
    server = serve(ANSWER, authority.server(clients=True))
    url = https(server.port)
    certificate, key = authority.sign(use="clientAuth")
    right = connect(url, ca_file=authority.file, client_certificate=certificate, client_key=key)
    assert isinstance(right.call(READ), Delivered)
    assert isinstance(right.call(READ), Delivered)
    assert len(server.requests) == 2
    for files in ((), stranger.sign(use="clientAuth"), authority.sign(days=-1, use="clientAuth")):
        shown = dict(zip(("client_certificate", "client_key"), files, strict=False))
        answer = connect(url, ca_file=authority.file, **shown).call(READ)
        assert isinstance(answer, Paused), answer
        assert answer.reason.startswith("client certificate refused (")
        assert not answer.uncertain
    assert len(server.requests) == 2


def test_a_bad_certificate_of_the_bus_pauses_and_nothing_is_sent(
    serve: Serve, connect: Connect, authority: Authority, stranger: Authority
) -> None:
    cases = {
        "unable to get local issuer certificate": stranger.server(),
        "certificate has expired": authority.server(days=-1),
        "IP address mismatch, certificate is not valid for '127.0.0.1'": authority.server("DNS:other.example"),
    }
    reasons = []
    for context in cases.values():
        server = serve(ANSWER, context)
        answer = connect(https(server.port), ca_file=authority.file).call(READ)
        assert isinstance(answer, Paused)
        assert not answer.uncertain
        assert server.requests == []
        reasons.append(answer.reason)
    assert reasons == [f"certificate refused ({words})" for words in cases]


def test_files_of_certificates_that_cannot_be_used_pause_at_once_and_ask_no_terminal_for_a_password(
    serve: Serve, connect: Connect, authority: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.sign(use="clientAuth")
    _, other = authority.sign(use="clientAuth")
    text = tmp_path / "text.pem"
    text.write_text("this is no certificate\n")
    server = serve(ANSWER, authority.server())
    wrong: list[dict[str, Any]] = [
        {"ca_file": tmp_path / "gone.pem"},
        {"ca_file": text},
        {"ca_file": authority.file, "client_certificate": certificate, "client_key": other},
        {"ca_file": authority.file, "client_certificate": text, "client_key": key},
        {"ca_file": authority.file, "client_certificate": certificate, "client_key": encrypted(key)},
    ]
    for files in wrong:
        answer = connect(https(server.port), **files).call(READ)
        assert isinstance(answer, Paused)
        assert answer.reason.startswith("certificate files cannot be used: ")
    assert server.requests == []


def test_certificates_that_were_replaced_are_used_without_a_restart(
    serve: Serve, connect: Connect, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(stranger.file.read_bytes())
    server = serve(ANSWER, authority.server())
    bus = connect(https(server.port), ca_file=trusted)
    assert isinstance(bus.call(READ), Paused)
    trusted.write_bytes(authority.file.read_bytes())
    assert isinstance(bus.call(READ), Delivered)


# ---- a proxy ----


def test_the_configured_proxy_is_used_for_a_bus_without_tls(serve: Serve, connect: Connect, relay: Relay) -> None:
    server = serve(ANSWER)
    bus = connect(server, proxy=f"http://127.0.0.1:{relay.port}")
    assert isinstance(bus.call(READ), Delivered)
    assert relay.lines == [f"GET http://127.0.0.1:{server.port}/fhir/Task/t-1 HTTP/1.1"]
    assert len(server.requests) == 1


def test_the_configured_proxy_is_used_by_connect_for_a_bus_with_tls_and_sees_no_token(
    serve: Serve, connect: Connect, relay: Relay, authority: Authority
) -> None:
    server = serve(ANSWER, authority.server(clients=True))
    certificate, key = authority.sign(use="clientAuth")
    bus = connect(
        https(server.port),
        proxy=f"http://127.0.0.1:{relay.port}",
        ca_file=authority.file,
        client_certificate=certificate,
        client_key=key,
    )
    assert isinstance(bus.call(READ), Delivered)
    [line] = relay.lines
    assert line.startswith(f"CONNECT 127.0.0.1:{server.port} ")
    assert b"N3 secret" in server.requests[0]


def test_the_configured_proxy_goes_before_that_of_the_environment_which_is_used_without_it(
    serve: Serve, connect: Connect, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments = serve(ANSWER)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{environments.port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = serve(ANSWER)
    assert isinstance(connect(server, proxy=f"http://127.0.0.1:{relay.port}").call(READ), Delivered)
    assert (len(relay.lines), environments.requests) == (1, [])
    assert isinstance(connect("http://bus.example/fhir").call(READ), Delivered)
    assert len(environments.requests) == 1


@pytest.mark.parametrize("status", ["403 Forbidden", "407 Proxy Authentication Required", "502 Bad Gateway"])
def test_a_proxy_that_does_not_let_us_through_means_that_the_bus_has_nothing(
    connect: Connect, relay: Relay, status: str
) -> None:
    relay.refuse = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()
    answer = connect("https://bus.example/fhir", proxy=f"http://127.0.0.1:{relay.port}").call(READ)
    assert answer == Retry(f"proxy: it does not let us through (HTTP {status[:3]})", uncertain=False)


def test_an_unreachable_proxy_is_distinguished_from_an_unreachable_bus(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for url in ("http://bus.example/fhir", "https://bus.example/fhir"):
        answer = connect(url, proxy=f"http://127.0.0.1:{port}").call(READ)
        assert answer == Retry("proxy: cannot connect", uncertain=False)


# ---- the deadline, the phases, the threads ----


@pytest.mark.slow
def test_the_deadline_holds_during_a_tls_handshake_and_before_a_proxys_answer(
    serve: Serve, connect: Connect, authority: Authority
) -> None:
    hello = serve(drips(b"\x16\x03\x03\x40\x00", b"\x02"))  # the beginning of a very long TLS record
    slow_proxy = serve(drips(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"))
    for bus in (
        connect(https(hello.port), timeout=0.4, ca_file=authority.file),
        connect("https://bus.example/fhir", timeout=0.4, proxy=f"http://127.0.0.1:{slow_proxy.port}"),
    ):
        answer = wait_for_result(partial(bus.call, READ), "the end of the call")
        assert isinstance(answer, Retry)
        assert answer.reason.startswith("time-out")


def test_every_failure_is_named_by_its_phase(
    serve: Serve,
    connect: Connect,
    authority: Authority,
    stranger: Authority,
    relay: Relay,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
    no_cipher = serve(ANSWER, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # a server that has no certificate at all
    refusal = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "diagnostics": "Нет кода"}]}
    relay.refuse = b"HTTP/1.1 403 Forbidden\r\n\r\n"
    phases: dict[str, Callable[[], Answer]] = {
        "connect": lambda: connect(f"http://127.0.0.1:{nobody}/fhir").call(READ),
        "proxy": lambda: connect("https://bus.example/", proxy=f"http://127.0.0.1:{relay.port}").call(READ),
        "TLS": lambda: connect(https(no_cipher.port)).call(READ),
        "certificate": lambda: connect(https(serve(ANSWER, stranger.server()).port), ca_file=authority.file).call(READ),
        "time-out": lambda: connect(serve(drips(b"", b" ")), timeout=0.3).call(READ),
        "HTTP": lambda: connect(serve(answering("502 Bad Gateway"))).call(READ),
        "token": lambda: connect(serve(answering("403 Forbidden"))).call(READ),
        "redirect": lambda: connect(serve(answering("302 Found", b"", "Location: http://x/"))).call(READ),
        "answer": lambda: connect(serve(answering("200 OK", b"<html>"))).call(READ),
        "business": lambda: connect(serve(answering("422 Unprocessable", refusal))).call(READ),
    }
    reported = {phase: fail() for phase, fail in phases.items()}

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    reported["name"] = connect("http://bus.example/").call(READ)
    beginnings = {
        "name": "name not found",
        "connect": "cannot connect",
        "proxy": "proxy: ",
        "TLS": "TLS: ",
        "certificate": "certificate refused",
        "time-out": "time-out",
        "HTTP": "HTTP 502",
        "token": "token refused",
        "redirect": "redirect refused",
        "answer": "not a FHIR answer",
        "business": "Нет кода",
    }
    for phase, answer in reported.items():
        assert not isinstance(answer, Delivered), phase
        assert answer.reason.startswith(beginnings[phase]), phase
    assert reported.keys() == beginnings.keys()


@pytest.mark.slow
def test_two_threads_call_at_once_and_hanging_up_ends_both(serve: Serve, connect: Connect) -> None:
    slow = [serve(drips(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x")) for _ in range(2)]
    relay = Relay(slow[0].port)
    bus = connect(f"http://127.0.0.1:{relay.port}/fhir", timeout=30)
    try:
        with ThreadPoolExecutor(2) as pool:
            calls = [pool.submit(bus.call, READ) for _ in range(2)]
            wait_until(lambda: relay.sent[1] >= 40, "answers that have begun")
            bus.abort_calls()
            answers = [call.result(DEADLINE) for call in calls]
    finally:
        relay.close()
    assert answers == [Retry("time-out"), Retry("time-out")]


def test_no_cookie_of_a_portal_is_sent_back(serve: Serve, connect: Connect) -> None:
    server = serve(answering("200 OK", TASK, "Set-Cookie: session=1; Path=/"))
    bus = connect(server)
    bus.call(READ)
    bus.call(READ)
    assert not any(b"cookie" in request.lower() for request in server.requests)


def test_the_client_is_made_of_the_configuration(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    server = serve(ANSWER, authority.server(clients=True))
    certificate, key = authority.sign(use="clientAuth")
    token = tmp_path / "token"
    token.write_text("of-the-file\n")
    relay = Relay(forward=True)
    config = BusConfig(
        url=https(server.port),
        token_file=token,
        organisation="3b9d1c6a-7e42-4f0b-8a55-1d2c3e4f5a61",
        mis_oid="1.2.643.2.69.1.2.900",
        proxy=f"http://127.0.0.1:{relay.port}",
        ca_file=authority.file,
        client_certificate=certificate,
        client_key=key,
    )
    bus = bus_client(config)
    try:
        assert isinstance(bus.call(READ), Delivered)
    finally:
        bus.close()
        relay.close()
    assert b"N3 of-the-file" in server.requests[0]
    [line] = relay.lines
    assert line.startswith(f"CONNECT 127.0.0.1:{server.port} ")
