"""Killed at any moment, the program loses nothing that it acknowledged, and the region gets nothing twice."""

from __future__ import annotations

import gc
import json
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.devices import referral, send
from tests.support import dying
from tests.support.clinic import Installation
from tests.support.modality import creation, ending
from tests.support.waiting import DEADLINE

pytestmark = [
    pytest.mark.slow,
    # A connection that a kill breaks is dropped by pynetdicom's client without being closed.
    pytest.mark.filterwarnings("ignore:.*socket.socket:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
]

ORDERS, KILLS = 24, 8


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect what was dropped here, so that no other test is told of it."""
    yield
    gc.collect()


def kept(installation: Installation, sql: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(installation.directory / "data" / "worklist.sqlite") as conn:
        found = conn.execute(sql).fetchall()
    conn.close()
    return found


def settled(installation: Installation) -> bool:
    return kept(installation, "SELECT count(*) FROM outbox WHERE state <> 'delivered'") == [(0,)]


def test_killed_after_the_commit_before_the_answer_the_retry_is_answered_as_the_first_time(
    installation: Installation,
) -> None:
    [number] = installation.add_orders([referral(installation, 1)])
    study = installation.orders()[0]["study_instance_uid"]
    installation.start(dies=dying.COMMITTED_NOT_ANSWERED)
    assert send(installation.dicom_port, "1.2.3", create=creation(study)) is None
    assert installation.died()
    installation.start()
    assert send(installation.dicom_port, "1.2.3", create=creation(study)) == 0
    assert send(installation.dicom_port, "1.2.3", create=creation(study, PatientID="2")) == 0x0111
    assert send(installation.dicom_port, "1.2.3", change=ending()) == 0
    installation.wait_for(lambda: settled(installation))
    assert installation.orders()[0]["state"] == "completed"
    assert kept(installation, "SELECT count(*) FROM performed_step") == [(1,)]
    assert len(installation.orders_on_bus()[number]) == 1


def test_killed_after_the_post_before_delivered_the_bus_has_it_once(installation: Installation) -> None:
    [number] = installation.add_orders([referral(installation, 1)])
    installation.start(dies=dying.POSTED_NOT_DELIVERED)
    assert installation.died()
    assert installation.orders_on_bus() == {number: ["requested"]}
    assert not settled(installation)
    installation.start()
    installation.wait_for(lambda: settled(installation))
    assert installation.orders_on_bus() == {number: ["requested"]}
    names = {row[0] for row in kept(installation, "SELECT name FROM bus_reference")}
    assert {"task", "service_request", "patient", "acsn"} <= names


def test_killed_at_random_moments_nothing_acknowledged_is_lost_and_nothing_doubled(installation: Installation) -> None:
    chance = random.Random(2026)
    acknowledged: set[tuple[str, str]] = set()
    stop = threading.Event()

    def register(number: int) -> None:
        """Register by the command line, killed at random too, until it was acknowledged."""
        typed = json.dumps(referral(installation, number)).encode()
        while True:
            script = subprocess.Popen(
                [sys.executable, "-m", "broker", "order", "add", "--json", "-", "-c", str(installation.config)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            patience = chance.uniform(0.5, 3) if chance.random() < 0.3 else 60
            try:
                printed, _ = script.communicate(typed, timeout=patience)
            except subprocess.TimeoutExpired:
                script.kill()
                script.communicate()
                continue
            if b"accession_number" in printed:
                acknowledged.add(("order", f"kill {number}"))
                return

    def modality() -> None:
        """Do whatever is on the list, and repeat what got no answer."""
        while not stop.is_set():
            waiting = kept(
                installation,
                "SELECT study_instance_uid FROM orders o WHERE NOT EXISTS (SELECT 1 FROM performed_step p"
                " WHERE p.sop_instance_uid = o.study_instance_uid || '.1' AND p.state = 'COMPLETED')",
            )
            for (study,) in waiting:
                uid = f"{study}.1"
                # It names no patient: another name than the order's would hold the images back for a person.
                begun_at = creation(study, PatientName="", PatientID="", PatientBirthDate="", PatientSex="")
                if send(installation.dicom_port, uid, create=begun_at) == 0:
                    acknowledged.add(("create", uid))
                    if send(installation.dicom_port, uid, change=ending()) == 0:
                        acknowledged.add(("set", uid))
                if stop.is_set():
                    return
            time.sleep(0.05)

    installation.start()

    def register_all() -> None:
        for number in range(ORDERS):
            register(number)

    threads = [
        threading.Thread(target=register_all),
        threading.Thread(target=modality),
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.1, 2.0))
            installation.kill()
            installation.start()
        threads[0].join(5 * DEADLINE)
        assert not threads[0].is_alive()
        installation.wait_for(
            lambda: kept(installation, "SELECT count(*) FROM orders WHERE state = 'completed'") == [(ORDERS,)]
        )
    finally:
        stop.set()
        threads[1].join(30)
    installation.wait_for(lambda: settled(installation))
    assert installation.stop() == 0
    assert kept(installation, "PRAGMA integrity_check") == [("ok",)]

    submissions = {row[0] for row in kept(installation, "SELECT submission_id FROM orders")}
    completed = {
        row[0] for row in kept(installation, "SELECT sop_instance_uid FROM performed_step WHERE state = 'COMPLETED'")
    }
    started = {row[0] for row in kept(installation, "SELECT sop_instance_uid FROM performed_step")}
    for what, name in acknowledged:
        assert name in {"order": submissions, "create": started, "set": completed}[what], (what, name)
    numbers = {row[0] for row in kept(installation, "SELECT accession_number FROM orders")}
    assert len(numbers) == ORDERS
    assert set(installation.orders_on_bus()) == numbers
    assert all(len(tasks) == 1 for tasks in installation.orders_on_bus().values())
    results = installation.results_on_bus()
    assert len(results) == ORDERS
    assert all(tasks == ["in-progress"] for tasks in results.values())
