"""A clinic's server for acceptance tests: the program as a process of its own, with a practice bus beside it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from broker.bus.practice import (
    PRACTICE_ORGANISATION,
    PRACTICE_ORGANISATION_2,
    PRACTICE_TOKEN,
    PRACTICE_TOKEN_2,
    PracticeBus,
    PracticeSettings,
)
from broker.bus.practice.server import PracticeServer
from tests.support.clock import ZONE
from tests.support.waiting import DEADLINE, source, wait_until

PASSWORD = "practice-2026"
DEVICES = (("XRAY_14", "Рентген", "DX"), ("FLG_12", "Флюорограф", "DX"))


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Installation:
    """The program with its configuration, database, accounts, devices, and the region's practice bus."""

    def __init__(self, directory: Path, neighbour: Installation | None = None, dialect: str = "n3") -> None:
        """Build it; with a `neighbour` it is the region's other clinic, on the same bus."""
        self.directory = directory
        self.web_port, self.dicom_port = free_port(), free_port()
        self.neighbour = neighbour
        if neighbour is None:
            # The default procedures bear local codes.
            self.bus = PracticeBus(PracticeSettings(lenient=True, dialect=dialect))
            self.bus_server = PracticeServer(self.bus, "127.0.0.1", 0)
            self.bus_server.start()
        else:
            self.bus, self.bus_server = neighbour.bus, neighbour.bus_server
        token, self.organisation = (
            (PRACTICE_TOKEN_2, PRACTICE_ORGANISATION_2) if neighbour else (PRACTICE_TOKEN, PRACTICE_ORGANISATION)
        )
        name, number, prefix = ("Больница № 2", 98, "B") if neighbour else ("Клиника на Заречной", 99, "K")
        self.process: subprocess.Popen[bytes] | None = None
        self.log = directory / "broker.log"
        (directory / "token").write_text(token)
        self.config = directory / "config.yaml"
        self.config.write_text(
            f"""
clinic: {{name: {name}, oid: 1.2.643.5.1.13.13.12.2.{number}.1, uid_root: 1.2.643.5.1.13.13.12.2.{number},
          accession_prefix: {prefix}}}
web: {{port: {self.web_port}}}
dicom: {{address: 127.0.0.1, port: {self.dicom_port}}}
bus: {{url: "{self.bus_server.url}", token_file: token, organisation: {self.organisation}, rate: 60000, timeout: 5,
      fetch_every: 0.5, dialect: {dialect}}}
data: {{directory: data}}
""",
            encoding="utf-8",
        )
        self.command("account", "add", "orlova", "--name", "Орлова Наталья", "--role", "registrar", "--password-stdin")
        for ae_title, name, modality in DEVICES:
            self.command("device", "add", ae_title, "--name", name, "--modality", modality)

    @property
    def url(self) -> str:
        """Where the screens are."""
        return f"http://127.0.0.1:{self.web_port}"

    def command(self, *words: str, given: str = PASSWORD + "\n", check: bool = True) -> str:
        """Run one command of the program on this configuration; give what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "broker", *words, "-c", str(self.config)],
            input=given.encode(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0 or not check, f"{done.returncode}: {done.stderr.decode()}"
        return done.stdout.decode()

    def add_orders(self, referrals: Sequence[dict[str, Any]]) -> list[str]:
        """Register referrals as a script would; give their accession numbers."""
        printed = self.command("order", "add", "--json", "-", given=json.dumps(list(referrals)))
        return [json.loads(line)["accession_number"] for line in printed.splitlines()]

    def soon(self) -> datetime:
        """Return a local time that is not over while a test runs, by the clock that the program runs by."""
        asked = "from broker.app.clock import utc_now; print(utc_now().isoformat())"
        printed = subprocess.run([sys.executable, "-c", asked], capture_output=True, check=True, text=True).stdout
        in_an_hour = datetime.fromisoformat(printed.strip()).astimezone(ZONE) + timedelta(hours=1)
        return in_an_hour.replace(tzinfo=None, second=0, microsecond=0)

    def orders(self) -> list[dict[str, Any]]:
        """Return the orders of all days as a script sees them."""
        listed: list[dict[str, Any]] = []
        with closing(sqlite3.connect(self.directory / "data" / "worklist.sqlite")) as conn:
            days = conn.execute("SELECT DISTINCT date(start) FROM scheduled_step ORDER BY 1").fetchall()
        for (day,) in days:
            listed += json.loads(self.command("order", "list", "--json", "--date", day))
        return listed

    def start(self, dies: str = "") -> None:
        """Start the program and wait until it serves; `dies` names a place of `dying` at which it is to be killed."""
        program = ["tests.support.dying", dies] if dies else ["broker"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *program, "run", "-c", str(self.config)],
                stdout=log,
                stderr=log,
                # NiceGUI behaves otherwise where it sees that pytest runs; this process is the real one.
                env={name: value for name, value in os.environ.items() if "PYTEST" not in name},
            )
        process = self.process

        def serves() -> bool:
            if dies and process.poll() == -signal.SIGKILL:
                return True
            assert process.poll() is None, f"the program ended:\n{self.log.read_text()}"
            try:
                requests.get(f"{self.url}/healthz", timeout=2)
            except requests.RequestException:
                return False
            return True

        wait_until(serves, lambda: f"the program to start:\n{self.log.read_text()}", every=0.05)

    def died(self) -> bool:
        """Wait until the program ends, and say whether it was by SIGKILL."""
        assert self.process is not None
        return self.process.wait(DEADLINE) == -signal.SIGKILL

    def kill(self) -> None:
        """Kill the program as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask the program to stop; give its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(DEADLINE)

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until a condition is true; where it never is, show the end of the program's log."""
        wait_until(condition, lambda: f"{source(condition)}\n{self.log.read_text()[-4000:]}", every=0.05)

    def close(self) -> None:
        """End everything that was started."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        if self.neighbour is None:
            self.bus_server.stop()

    # ---- what the bus has ----

    def orders_on_bus(self) -> dict[str, list[str]]:
        """Return the statuses of the order Tasks by our order number: exactly one each, or something was doubled."""
        return self._tasks("original-order")

    def results_on_bus(self) -> dict[str, list[str]]:
        """Return the statuses of the result Tasks by their own number (order number and a suffix)."""
        return self._tasks("reflex-order")

    def _tasks(self, intent: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for task in self.bus.tasks():
            if task["intent"] == intent:
                own = next(
                    each["value"]
                    for each in task["identifier"]
                    if "type" not in each or "ACSN" not in str(each["type"])
                )
                found.setdefault(own, []).append(task["status"])
        return found
