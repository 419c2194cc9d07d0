"""The practice bus as a service: faults on demand, stopping, restart, the page for people, signals."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime, tzinfo
from pathlib import Path

import pytest
import requests

from broker.bus.practice import PracticeBus, PracticeServer
from broker.bus.practice_rules import Refused

from .bundles import (
    accepted,
    accession_numbers,
    call,
    id_of,
    of,
    order,
    part,
    post,
    search,
    update,
)

# ---- faults on demand ----


@pytest.mark.parametrize("kind", ["503", "429", "401"])
def test_a_fault_is_shown_as_often_as_asked_then_all_is_well(server: PracticeServer, kind: str) -> None:
    server.bus.fail_next(kind, times=2)
    sent = order()
    for _ in range(2):
        answer = post(server, sent)
        assert answer.status_code == int(kind)
        assert answer.headers.get("Retry-After") == ("1" if kind == "429" else None)
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


def test_stopping_hangs_up_on_those_who_wait_and_the_port_is_free_again() -> None:
    server = PracticeServer(PracticeBus())
    server.start()
    server.bus.fail_next("timeout-after-commit")
    ended: list[BaseException] = []

    def wait_in_vain() -> None:
        try:
            post(server, order())
        except requests.ConnectionError as error:
            ended.append(error)

    waiting = threading.Thread(target=wait_in_vain)
    waiting.start()
    for _ in range(500):
        if server.bus.requests:
            break
        time.sleep(0.01)
    begun = time.monotonic()
    server.stop()
    waiting.join(5)
    assert ended
    assert time.monotonic() - begun < 2
    server.start()  # the same port, the same bus: an outage that ends
    assert len(search(server, intent="original-order")) == 1
    server.stop()
    server.stop()


def test_an_unknown_fault_is_a_mistake_of_the_caller(server: PracticeServer) -> None:
    with pytest.raises(ValueError, match="unknown fault 418"):
        server.bus.fail_next("418")


# ---- restart, page, running ----


def test_what_was_taken_survives_a_restart(tmp_path: Path) -> None:
    bus = PracticeBus(directory=tmp_path / "bus")
    answered = bus.transaction(order("order-kept"))
    bus.update_status(part(answered, "Task")["id"], "cancelled")
    journal = tmp_path / "bus" / "practice-bus.jsonl"
    assert journal.stat().st_mode & 0o077 == 0
    with journal.open("ab") as file:
        file.write(b'{"at": "2026-11-24T')  # a power cut in the middle of a write
    again = PracticeBus(directory=tmp_path / "bus")
    assert again.tasks() == bus.tasks()
    assert again.events() == bus.events()
    with pytest.raises(Refused, match=id_of(answered, "Task")):
        again.transaction(order("order-kept"))
    following = part(again.transaction(order()), "Task")
    assert accession_numbers(following) != accession_numbers(part(answered, "Task"))
    assert len(PracticeBus(directory=tmp_path / "bus").tasks()) == 2


def test_a_damaged_journal_is_told_and_not_overwritten(tmp_path: Path) -> None:
    journal = tmp_path / "practice-bus.jsonl"
    journal.write_bytes(b"not json\n")
    with pytest.raises(ValueError, match=r"practice-bus\.jsonl:1: not a record"):
        PracticeBus(directory=tmp_path)
    assert journal.read_bytes() == b"not json\n"


def test_what_cannot_be_written_is_not_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bus = PracticeBus(directory=tmp_path)
    server = PracticeServer(bus)
    server.start()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        assert post(server, order("order-full")).status_code == 503
    assert bus.tasks() == []
    assert (tmp_path / "practice-bus.jsonl").read_bytes() == b""
    accepted(server, order("order-full"))
    server.stop()


def test_a_clock_that_stands_still_does_not_confuse_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    class StandingStill(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "StandingStill":
            return cls(2026, 11, 24, 9, 0, tzinfo=tz)

    monkeypatch.setattr("broker.bus.practice_records.datetime", StandingStill)
    bus = PracticeBus()
    stamps = [part(bus.transaction(order()), "Task")["meta"]["lastUpdated"] for _ in range(3)]
    assert stamps == sorted(set(stamps))


def test_orders_sent_at_once_each_get_their_own_number() -> None:
    bus = PracticeBus()
    sent = [order() for _ in range(40)]
    threads = [threading.Thread(target=lambda part=sent[i::4]: [bus.transaction(o) for o in part]) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({accession_numbers(task)[0] for task in bus.tasks()}) == 40
    assert len(bus.resources("Practitioner")) == 1


def test_the_page_shows_what_came_and_runs_nothing_of_it() -> None:
    bus = PracticeBus()
    server = PracticeServer(bus)
    server.start()
    sent = order("order-<b>")
    of(sent, "Patient")["name"][0]["family"] = "<script>alert(1)</script>"
    task = part(accepted(server, sent), "Task")
    update(server, task["id"], "cancelled")
    sent = order()
    of(sent, "Task")["intent"] = "<i>"
    post(server, sent)
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(server.page_url, timeout=5)
    server.stop()
    page = answer.text
    assert "<script>" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; Анна Сергеевна, 12.03.1961" in page
    assert "order-&lt;b&gt;" in page
    for word in ("Направление", "назначено", "отменено", "Отклонено", accession_numbers(task)[0]):
        assert word in page
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_a_taken_port_is_told_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port} on 127.0.0.1 is already taken"):
            PracticeServer(PracticeBus(), "127.0.0.1", port).start()


def test_serving_ends_cleanly_on_a_signal(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from broker.bus.practice import serve\n"
        "serve('127.0.0.1', 0, 'token', Path(sys.argv[1]), lambda server: print(server.url, flush=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        answer = requests.get(f"{url}/Task/1", headers={"Authorization": "N3 token"}, timeout=5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert answer.status_code == 404
    assert (process.returncode, errors) == (0, "")
