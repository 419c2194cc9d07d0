"""The port while the clinic is busy: browser tabs that are live, and a queue of messages that goes to the region.

Everything is real: the whole program as a process, Chromium's tabs on the board, a practice bus that takes the queue.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page

from broker.bus.practice import PRACTICE_ORGANISATION, PRACTICE_TOKEN, PracticeBus, PracticeSettings
from broker.bus.practice.server import PracticeServer
from broker.domain.actors import Actor, ActorKind, Role
from broker.security import passwords
from broker.store.database import Store
from broker.workflow import accounts
from tests.acceptance import devices
from tests.bench import items
from tests.bench.servers import AE_TITLE
from tests.peers import chromium
from tests.support import modality

PASSWORD = "correct horse"
LATENCY = 0.02  # seconds of each call


@contextmanager
def bus() -> Iterator[str]:
    """Run a practice bus; give its address."""
    server = PracticeServer(PracticeBus(PracticeSettings(lenient=True, latency=LATENCY)))
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


def settings(folder: Path, url: str) -> str:
    """Write the configuration's section about the bus."""
    (folder / "token").write_text(PRACTICE_TOKEN)
    return (
        f'bus: {{url: "{url}", token_file: token, organisation: {PRACTICE_ORGANISATION}, mis_oid: 1.2.643.99,'
        " rate: 1000000}\n"
    )


def fill(database: Path, messages: int) -> None:
    """Queue messages about the last orders, and make an account for the tabs."""
    store = Store(database)
    passwords.SCRYPT["n"] = 16  # twenty tabs sign in once
    actor = Actor(ActorKind.SYSTEM, "bench")
    store.write(
        accounts.add_account, accounts.new_account("bench", "Bench", frozenset({Role.REGISTRAR}), PASSWORD), actor
    )
    store.close()
    with sqlite3.connect(database) as conn:
        conn.execute(
            "INSERT INTO outbox (order_id, kind, state, created_at)"
            " SELECT id, 'order', 'pending', authored_on FROM orders ORDER BY id DESC LIMIT ?",
            [messages],
        )
        conn.execute("UPDATE orders SET bus_role = 'placer' WHERE id IN (SELECT order_id FROM outbox)")
    conn.close()


def waiting(database: Path) -> int:
    """Count the messages that wait."""
    conn = sqlite3.connect(database)
    try:
        return int(conn.execute("SELECT count(*) FROM outbox WHERE state = 'pending'").fetchone()[0])
    finally:
        conn.close()


def drain(database: Path, deadline: float) -> float | None:
    """Wait until no message waits; return the seconds, or None if some are left after `deadline` seconds."""
    began = time.monotonic()
    while waiting(database):
        if time.monotonic() > began + deadline:
            return None
        time.sleep(0.1)
    return time.monotonic() - began


def news(board: Page, port: int, rows: Iterable[items.Row]) -> list[float]:
    """Start the studies of these items one by one; return the seconds from each answer to the row that shows it."""
    seconds = []
    for row in rows:
        start = modality.creation(
            f"{items.UID_ROOT}.{row.number + 1}",
            PatientID=f"P{row.number + 1}",
            PatientName="^".join(row.name),
            PerformedStationAETitle=row.station,
        )
        uid = f"{items.UID_ROOT}.9.{row.number}"
        if devices.send(port, uid, create=start, calling=row.station, called=AE_TITLE) != 0:
            raise RuntimeError(f"the N-CREATE for item {row.number} was not taken")
        began = time.monotonic()
        board.wait_for_selector(f'a.visit.now[href="/order/A{row.number + 1:09d}"]', state="attached")
        seconds.append(time.monotonic() - began)
    return seconds


@contextmanager
def tabs(url: str, count: int) -> Iterator[Page]:
    """Keep so many tabs open on the board; yield the first of them."""
    with chromium.browser() as browser:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{url}/signin")
        page.get_by_label("Имя пользователя").fill("bench")
        page.get_by_label("Пароль").fill(PASSWORD)
        page.get_by_role("button", name="Войти").click()
        page.wait_for_url("**/desk")
        page.goto(f"{url}/board")
        for _ in range(count - 1):
            context.new_page().goto(f"{url}/board")
        time.sleep(2)
        yield page


def cores() -> int:
    """Say how many processors share all this."""
    return os.cpu_count() or 1
