"""The faults of the practice bus, each as a client on a real socket sees it."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from types import SimpleNamespace

import pytest
import requests

from broker.bus.practice import FAULTS, PRACTICE_TOKEN, PracticeServer, bus, read_fault
from broker.bus.practice.faults import RANDOM_FAULTS, Fault
from tests.bus.bundles import accepted, call, id_of, order, part, post, search, update
from tests.support.practice import practice_bus
from tests.support.waiting import DEADLINE, wait_until

EVERYTHING = {"resourceType": "Parameters", "parameter": [{"name": "intent", "valueString": "original-order"}]}


@pytest.fixture
def server(server: PracticeServer) -> Iterator[PracticeServer]:
    """A fault that one test leaves behind is not the next one's."""
    yield server
    server.bus.clear_faults()


@pytest.mark.parametrize("kind", ["503", "408", "429", "401"])
def test_a_fault_is_shown_as_often_as_asked_then_all_is_well(server: PracticeServer, kind: str) -> None:
    server.bus.fail_next(kind, times=2)
    sent = order()
    for _ in range(2):
        answer = post(server, sent)
        assert answer.status_code == int(kind)
        assert answer.headers.get("Retry-After") == ("1" if kind == "429" else None)
        assert server.bus.requests[-1].reason == f"сбой по требованию: {kind}"
    accepted(server, sent)


def test_a_portal_page_is_html_with_200_and_stores_nothing(server: PracticeServer) -> None:
    server.bus.fail_next("html")
    answer = post(server, order("order-html"))
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert search(server, identifier="order-html") == []


def test_a_dropped_connection_has_no_answer_and_stores_nothing(server: PracticeServer) -> None:
    server.bus.fail_next("drop", path="/")
    assert search(server, identifier="order-drop") == []  # another path is not touched
    with pytest.raises(requests.ConnectionError):
        post(server, order("order-drop"))
    assert server.bus.requests[-1].status == 0
    assert search(server, identifier="order-drop") == []


def test_a_lost_answer_leaves_the_order_on_the_bus(server: PracticeServer) -> None:
    server.bus.fail_next("timeout-after-commit")
    with pytest.raises(requests.ReadTimeout):
        call(server, "POST", "", order("order-lost"), timeout=0.3)
    assert len(search(server, identifier="order-lost")) == 1


def test_a_short_time_out_after_the_commit_ends_in_a_cut_connection(server: PracticeServer) -> None:
    server.bus.fail_next("timeout-after-commit=0.1")
    with pytest.raises(requests.ConnectionError):
        post(server, order("order-cut"))
    assert len(search(server, identifier="order-cut")) == 1


def test_a_gateway_answers_504_although_the_order_was_accepted(server: PracticeServer) -> None:
    server.bus.fail_next("504")
    answer = post(server, order("order-504"))
    assert (answer.status_code, answer.headers["Content-Type"]) == (504, "text/html; charset=utf-8")
    assert len(search(server, identifier="order-504")) == 1
    assert server.bus.requests[-2].status == 504


def test_a_slow_answer_takes_its_seconds(server: PracticeServer) -> None:
    server.bus.fail_next("slow=0.4", path="/Task/_search")
    started = time.monotonic()
    search(server, identifier="nothing")
    assert time.monotonic() - started >= 0.4


def test_what_was_stored_is_refused_as_a_repetition(server: PracticeServer) -> None:
    server.bus.fail_next("duplicates", path="/")
    answer = post(server, order("order-said-twice"))
    assert answer.status_code == 422
    [task] = search(server, identifier="order-said-twice")
    [issue] = answer.json()["issue"]
    assert issue["diagnostics"].startswith("Попытка повторного добавления Task")
    assert issue["diagnostics"].endswith(f"Task/{task['id']}")


def test_searches_answer_twice_the_same_or_the_newest_first(server: PracticeServer) -> None:
    made = [part(accepted(server, order()), "Task") for _ in range(3)]
    since = {"name": "_lastUpdated", "valueString": f"ge{made[0]['meta']['lastUpdated']}"}
    sent = {"resourceType": "Parameters", "parameter": [since]}

    def ids() -> list[str]:
        return [e["resource"]["id"] for e in call(server, "POST", "/Task/_search", sent).json()["entry"]]

    true = [task["id"] for task in made]
    server.bus.fail_next("duplicates")
    server.bus.fail_next("out-of-order")
    call(server, "GET", f"/Task/{true[0]}")  # neither would be noticed here: they wait for a search
    assert ids() == [id for id in true for _ in range(2)]
    assert ids() == true[::-1]
    assert ids() == true
    update(server, true[0], "cancelled")
    sent["parameter"] = [since, {"name": "_count", "valueString": "2"}]
    server.bus.fail_next("out-of-order")
    assert ids() == [true[2], true[1]]  # of a page, not of all: nothing is left out for good


def test_an_endless_answer_drips_until_the_client_has_enough(server: PracticeServer) -> None:
    server.bus.fail_next("endless=0.05")
    received = bytearray()
    with requests.Session() as session:
        session.trust_env = False
        response = session.post(
            f"{server.url}/Task/_search",
            json=EVERYTHING,
            headers={"Authorization": f"N3 {PRACTICE_TOKEN}"},
            stream=True,
            timeout=5,
        )
        for chunk in response.iter_content(1):
            received += chunk
            if received.endswith(b"   "):
                break
        response.close()
    assert response.status_code == 200
    with pytest.raises(ValueError, match=r"Expecting|delimiter"):
        json.loads(received)
    search(server, identifier="others are served")


def test_a_server_with_an_endless_answer_can_be_stopped(caplog: pytest.LogCaptureFixture) -> None:
    server = PracticeServer(practice_bus())
    server.start()
    server.bus.fail_next("endless")

    def drink() -> None:
        with suppress(requests.RequestException):
            call(server, "POST", "/Task/_search", EVERYTHING)

    drinking = Thread(target=drink)
    drinking.start()
    wait_until(lambda: server.bus.requests, "the call with the endless answer")
    server.stop()
    drinking.join(DEADLINE)
    assert not drinking.is_alive()
    assert "timeout graceful shutdown exceeded" not in caplog.text  # what uvicorn logs where it had to cut a call off


def test_spoilt_answers_are_spoilt_in_one_way_each(server: PracticeServer) -> None:
    task = part(accepted(server, order()), "Task")

    def spoil(kind: str) -> requests.Response:
        server.bus.fail_next(kind)
        return call(server, "GET", f"/{task['for']['reference']}")

    huge = spoil("huge")
    assert len(huge.content) > 10 * 1024 * 1024
    assert huge.json()["id"] == task["for"]["reference"].partition("/")[2]
    assert spoil("deep").content.count(b"[") > 10_000
    assert spoil("double-keys").content.count(b'"resourceType"') == 2
    assert spoil("nul").json()["name"][0]["family"] == "Ёлкина\0"
    with pytest.raises(UnicodeDecodeError):
        spoil("cp1251").content.decode("utf-8")


def test_a_redirect_leads_to_another_host_and_carries_nothing_out(server: PracticeServer) -> None:
    seen: list[str | None] = []

    class OtherServer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.headers["Authorization"])

    with HTTPServer(("127.0.0.1", 0), OtherServer) as other:
        server.bus.fail_next(f"redirect=http://127.0.0.1:{other.server_port}/")
        answer = call(server, "POST", "", order("order-elsewhere"), allow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (307, f"http://127.0.0.1:{other.server_port}/")
    server.bus.fail_next("redirect")
    answer = call(server, "POST", "", order("order-elsewhere"), allow_redirects=False)
    assert answer.headers["Location"] == "http://other.invalid/"
    assert search(server, identifier="order-elsewhere") == []
    assert seen == []


def test_a_path_may_be_the_beginning_of_many(server: PracticeServer) -> None:
    answered = accepted(server, order())
    server.bus.fail_next("503", path="/Patient/*")
    assert call(server, "GET", f"/{id_of(answered, 'Task')}").status_code == 200
    assert call(server, "GET", f"/{id_of(answered, 'Patient')}").status_code == 503
    assert call(server, "GET", f"/{id_of(answered, 'Patient')}").status_code == 200


@pytest.mark.parametrize(
    ("text", "fault", "times"),
    [
        ("503", Fault("503"), 1),
        ("503:3", Fault("503"), 3),
        ("slow=0.5:2@/Task/_search", Fault("slow", "0.5", "/Task/_search"), 2),
        ("timeout-after-commit@/", Fault("timeout-after-commit", "", "/"), 1),
        ("redirect=http://127.0.0.1:81/:2@/", Fault("redirect", "http://127.0.0.1:81/", "/"), 2),
        ("html@/$updatestatus", Fault("html", "", "/$updatestatus"), 1),
    ],
)
def test_faults_are_read_as_the_command_line_writes_them(text: str, fault: Fault, times: int) -> None:
    assert read_fault(text) == (fault, times)


@pytest.mark.parametrize(
    "text", ["", "418", "503=1", "slow=x", "slow=1e9", "slow=-1", "503:x", "503@Task", "redirect=ftp://x/", "503:1:2"]
)
def test_an_unknown_fault_is_a_mistake_of_the_caller(text: str) -> None:
    with pytest.raises(ValueError, match=r"fault|expected"):
        read_fault(text)
    with pytest.raises(ValueError, match="unknown fault 418, known are 503, 408"):
        practice_bus().fail_next("418")


def test_a_rehearsal_fails_as_often_as_asked_and_the_same_again() -> None:
    def shown(seed: int) -> list[str]:
        bus = practice_bus(fault_rate=0.25, seed=seed)
        return [bus._faults.take("/").kind for _ in range(2000)]

    kinds = shown(1)
    assert kinds == shown(1) != shown(2)
    assert 400 < len([kind for kind in kinds if kind]) < 600
    assert set(kinds) - {""} == set(RANDOM_FAULTS) - {"out-of-order"}  # that one has no meaning for a bundle
    assert set(RANDOM_FAULTS) < set(FAULTS)
    bus = practice_bus(fault_rate=1)
    bus.clear_faults()
    assert bus.due_faults() == ([], 0.0)


@pytest.mark.parametrize("wrong", [{"fault_rate": 1.1}, {"fault_rate": float("nan")}, {"latency": -1.0}])
def test_a_rehearsal_that_cannot_be_is_a_mistake_of_the_caller(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"rate|latency"):
        practice_bus(**wrong)


def test_every_call_takes_the_latency_longer_and_none_waits_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    answers: list[object] = []
    all_here = asyncio.Event()

    async def sleep(seconds: float) -> None:
        """Last until all six calls sleep at once."""
        assert answers == []
        slept.append(seconds)
        if len(slept) == 6:
            all_here.set()
        await all_here.wait()

    monkeypatch.setattr(bus, "asyncio", SimpleNamespace(sleep=sleep))
    server = PracticeServer(practice_bus(latency=0.3))
    server.start()
    threads = [Thread(target=lambda: answers.append(search(server, identifier="x"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    server.stop()
    assert slept == [0.3] * 6
    assert answers == [[]] * 6


def test_a_client_that_sends_half_a_request_and_leaves_does_not_affect_others(server: PracticeServer) -> None:
    host, port = server.page_url.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as line:
        line.sendall(b"POST /imaging/api/fhir HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    assert search(server, identifier="nothing") == []
