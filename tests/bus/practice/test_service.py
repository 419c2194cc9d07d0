"""The practice bus as a service: stopping, restart, many clinics at once, signals."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import requests

from broker.bus.fhir_server.rules import OperationRefused
from broker.bus.practice import (
    PRACTICE_ORGANISATION,
    PRACTICE_ORGANISATION_2,
    PRACTICE_TOKEN_2,
    PracticeServer,
)
from broker.cli.main import main
from tests.bus.bundles import (
    accepted,
    accession_numbers,
    call,
    id_of,
    order,
    part,
    post,
    search,
)
from tests.bus.clinic import practising
from tests.support.clock import Clock
from tests.support.practice import practice_bus
from tests.support.waiting import DEADLINE, wait_until

# ---- stopping ----

IMPATIENT = "timeout graceful shutdown exceeded"  # what uvicorn logs where a call had to be cut off


def test_stopping_hangs_up_on_those_who_wait_and_the_port_is_free_again(caplog: pytest.LogCaptureFixture) -> None:
    server = PracticeServer(practice_bus())
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
    wait_until(lambda: server.bus.requests, "the call that is kept waiting")
    server.stop()
    waiting.join(DEADLINE)
    assert ended
    assert IMPATIENT not in caplog.text
    server.start()  # the same port, the same bus: an outage that ends
    assert len(search(server, intent="original-order")) == 1
    server.stop()
    server.stop()


# ---- restart, running ----


def test_what_was_taken_survives_a_restart(tmp_path: Path) -> None:
    bus = practice_bus(directory=tmp_path / "bus")
    answered = bus.transaction(order("order-kept"))
    bus.update_status(part(answered, "Task")["id"], "cancelled")
    journal = tmp_path / "bus" / "practice-bus.jsonl"
    assert journal.stat().st_mode & 0o077 == 0
    with journal.open("ab") as file:
        file.write(b'{"at": "2026-11-24T')  # a power cut in the middle of a write
    again = practice_bus(directory=tmp_path / "bus")
    assert again.tasks() == bus.tasks()
    with pytest.raises(OperationRefused, match=id_of(answered, "Task")):
        again.transaction(order("order-kept"))
    following = part(again.transaction(order()), "Task")
    assert accession_numbers(following) != accession_numbers(part(answered, "Task"))
    assert len(practice_bus(directory=tmp_path / "bus").tasks()) == 2


def test_a_damaged_journal_is_reported_and_not_overwritten(tmp_path: Path) -> None:
    journal = tmp_path / "practice-bus.jsonl"
    journal.write_bytes(b"not json\n")
    with pytest.raises(ValueError, match=r"practice-bus\.jsonl:1: not a record"):
        practice_bus(directory=tmp_path)
    assert journal.read_bytes() == b"not json\n"


def test_what_cannot_be_written_is_not_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bus = practice_bus(directory=tmp_path)
    server = PracticeServer(bus)
    server.start()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        assert post(server, order("order-full")).status_code == 503
    assert bus.tasks() == []
    assert (tmp_path / "practice-bus.jsonl").read_bytes() == b""
    accepted(server, order("order-full"))
    server.stop()


def test_a_clock_that_stands_still_does_not_confuse_the_cursor() -> None:
    bus = practice_bus(clock=Clock())
    stamps = [part(bus.transaction(order()), "Task")["meta"]["lastUpdated"] for _ in range(3)]
    assert stamps == sorted(set(stamps))


def test_orders_sent_at_once_each_get_their_own_number() -> None:
    bus = practice_bus()
    sent = [order() for _ in range(40)]
    threads = [threading.Thread(target=lambda part=sent[i::4]: [bus.transaction(o) for o in part]) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({accession_numbers(task)[0] for task in bus.tasks()}) == 40
    assert len(bus.resources("Practitioner")) == 1


def test_a_port_in_use_is_reported_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port} on 127.0.0.1 is already taken"):
            PracticeServer(practice_bus(), "127.0.0.1", port).start()


def test_serving_ends_cleanly_on_a_signal(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from broker.bus.practice import PracticeBus, PracticeSettings, serve\n"
        "bus = PracticeBus(PracticeSettings(token='token', directory=Path(sys.argv[1])))\n"
        "serve(bus, '127.0.0.1', 0, lambda server: print(server.url, flush=True))"
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


def run_bus(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "broker", "practice-bus", "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


@pytest.mark.slow
def test_the_command_line_prints_the_settings_of_both_clinics_and_shows_the_faults() -> None:
    options = ["--token", "first", "--fault", "503:2@/Task/_search", "--status", "in-progress", "--latency", "0.01"]
    with run_bus(*options) as process:
        assert process.stdout
        lines = [process.stdout.readline().strip() for _ in range(4)]
        url = lines[0].removeprefix("Practice bus: ")
        try:
            tokens = [line.rpartition(" ")[2] for line in lines[2:]]
            statuses = []
            for token in ("first", "first", "first", tokens[1]):
                headers = {"Authorization": f"N3 {token}"}
                body = {"resourceType": "Parameters"}
                answer = requests.post(f"{url}/Task/_search", json=body, headers=headers, timeout=5)
                statuses.append(answer.status_code)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=10)
    assert statuses == [503, 503, 200, 200]
    assert lines[2] == f"Clinic 1: organisation {PRACTICE_ORGANISATION}, token as given"
    assert lines[3] == f"Clinic 2: organisation {PRACTICE_ORGANISATION_2}, token {PRACTICE_TOKEN_2}"
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--fault", "418"], "unknown fault 418"),
        (["--fault-rate", "2"], "fault rate 2.0: expected 0 to 1"),
        (["--token", PRACTICE_TOKEN_2], "two organisations cannot have one token"),
    ],
)
def test_invalid_options_are_reported_in_one_line(options: list[str], words: str, capsys: Any) -> None:
    assert main(["practice-bus", *options]) == 1
    reported = capsys.readouterr().err
    assert words in reported
    assert reported.count("\n") == 1


@pytest.mark.parametrize(
    ("asked", "status", "found"),
    [
        ({"family": "ёлкина", "given": "АННА", "birthdate": "1961-03-12"}, 200, 1),
        ({"family": "Ёлкина", "given": "Анна", "birthdate": "1961-03-13"}, 200, 0),
        ({"family": "Ёлкин", "given": "Анна", "birthdate": "1961-03-12"}, 200, 0),
        ({"family": "Ёлкина", "given": "Анна"}, 422, 0),  # all namesakes of a region cannot be listed
        ({"birthdate": "1961-03-12"}, 422, 0),
    ],
)
def test_a_patient_is_found_by_full_name_and_date_of_birth(asked: dict[str, str], status: int, found: int) -> None:
    bus = practice_bus(lenient=True)
    bus.transaction(order())
    with practising(bus) as server:
        parameters = [{"name": name, "valueString": value} for name, value in asked.items()]
        answer = call(server, "POST", "/Patient/_search", {"resourceType": "Parameters", "parameter": parameters})
    assert answer.status_code == status
    assert len(answer.json().get("entry", [])) == found
