"""Measures our port beside DCMTK's wlmscpfs and Orthanc's worklist plugin, on the same items, and prints a table.

    python -m tests.bench --help
    python -m tests.bench                                   # 100, 1,000 and 10,000 items; 1, 8 and 32 clients
    python -m tests.bench --counts 1000000 --peers none     # ours alone
    python -m tests.bench --search 1000000                  # the search for patients, in the store

Servers take turns within every round, so that a slow moment of the machine strikes all of them; medians are printed.
It builds its load client with g++. A ratio is ours beside the better of the others.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from tests.bench import items, live, search, servers
from tests.bench.servers import Server

STARTERS: dict[str, Callable[[Path, int, date], AbstractContextManager[Server]]] = {
    "ours": servers.ours,
    "wlmscpfs": servers.wlmscpfs,
    "orthanc": servers.orthanc,
}
Result = dict[str, Any]
LIVE_ITEMS, LIVE_MESSAGES, LIVE_TABS, LIVE_STARTS = 10_000, 5000, 20, 15
DRAIN_SECONDS = 300
PAIRS_A_SECOND = 700  # that are made at the most: each needs an order of its own


def main() -> None:
    """Run what the command line asks for."""
    asked = _arguments()
    today = datetime.now(UTC).date()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        if asked.search:
            search.measure(Path(name), asked.search)
            return
        client = _build(Path(name))
        for count in asked.counts:
            folder = Path(name) / str(count)
            with ExitStack() as stack:
                running = []
                for peer in ("ours", *asked.peers):
                    where = folder / ("files" if peer != "ours" else "ours")
                    where.mkdir(parents=True, exist_ok=True)
                    running.append(stack.enter_context(STARTERS[peer](where, count, today)))
                print(f"\n{count:,} items")
                for server in running:
                    print(f"  {server.name}: answers after {server.started:.1f} s, {server.memory():.0f} MB")
                _lists(client, running, asked, count, today)
                if "mpps" in asked.also:
                    _steps(client, running[0], asked, count, today)
                if "busy" in asked.also:
                    _busy(client, running[0], asked, count, today)
                print(f"  ours afterwards: {running[0].memory():.0f} MB")
        if "live" in asked.also:
            _live(client, Path(name) / "live", asked, today)


def _lists(client: Path, running: list[Server], asked: argparse.Namespace, count: int, today: date) -> None:
    """Measure associate + C-FIND + release, and C-FINDs on one association."""
    expect = min(count, items.MATCHES)
    for mode, clients in [("find", number) for number in asked.clients] + [("many", 1)]:
        reported: dict[str, list[Result]] = {server.name: [] for server in running}
        for _ in range(asked.rounds):
            for server in running:
                reported[server.name].append(_measure(client, server, today, asked, mode, clients, expect=expect))
        rates = {name: statistics.median(each["rate"] for each in results) for name, results in reported.items()}
        best = max((rate for name, rate in rates.items() if name != "ours"), default=0.0)
        line = "   ".join(f"{name} {rate:8.1f}/s" for name, rate in rates.items())
        mine = reported["ours"]
        p50, p99 = (statistics.median(each[key] for each in mine) for key in ("p50", "p99"))
        ratio = f"   ratio {rates['ours'] / best:6.0f}" if best else ""
        print(f"  {mode} k={clients:<3} {line}{ratio}   ours p50 {p50:.2f} ms, p99 {p99:.2f} ms{_wrong(reported)}")


def _steps(client: Path, server: Server, asked: argparse.Namespace, count: int, today: date) -> None:
    """Measure N-CREATE + N-SET, each pair durable and for an order of its own, none of the measured list."""
    first = items.MATCHES + 1
    for clients in asked.clients:
        if first + PAIRS_A_SECOND * asked.seconds > count:
            print(f"  mpps k={clients}: too few items")
            continue
        result = _measure(client, server, today, asked, "mpps", clients, first=first)
        first += result["orders"]
        print(
            f"  mpps k={clients:<3} {result['rate']:8.1f} pairs/s = {2 * result['rate']:.0f} operations/s"
            f"   p50 {result['p50']:.2f} ms, p99 {result['p99']:.2f} ms{_wrong({'ours': [result]})}"
        )


def _busy(client: Path, server: Server, asked: argparse.Namespace, count: int, today: date) -> None:
    """Measure lists while four devices report steps, each a commit after which the list is looked up anew."""
    first = count // 2
    arguments = _command(client, server, today, asked.seconds * 3, "mpps", 4, first=first)
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as other:
        result = _measure(client, server, today, asked, "find", 1, expect=min(count, items.MATCHES))
        other.wait()
    print(
        f"  find k=1 while four devices report: {result['rate']:.1f}/s   p50 {result['p50']:.2f} ms,"
        f" p99 {result['p99']:.2f} ms{_wrong({'ours': [result]})}"
    )


def _live(client: Path, folder: Path, asked: argparse.Namespace, today: date) -> None:
    """Measure lists of 33 among 10,000 while tabs are live and a queue goes to the region."""
    folder.mkdir()
    database, web = folder / "data" / "worklist.sqlite", servers.free_port()
    with servers.ours(folder, LIVE_ITEMS, today):
        pass  # makes the database
    live.fill(database, LIVE_MESSAGES)
    with (
        live.bus() as url,
        servers.ours(folder, LIVE_ITEMS, today, live.settings(folder, url), web) as server,
        live.tabs(f"http://127.0.0.1:{web}", LIVE_TABS) as board,
    ):
        before, began = live.waiting(database), time.monotonic()
        for clients in (1, 8):
            result = _measure(client, server, today, asked, "find", clients, expect=items.MATCHES)
            print(
                f"  find k={clients} with {LIVE_TABS} live tabs and a sync: {result['rate']:.1f}/s"
                f"   p50 {result['p50']:.2f} ms, p99 {result['p99']:.2f} ms{_wrong({'ours': [result]})}"
            )
        seconds = time.monotonic() - began
        sent = before - live.waiting(database)
        print(f"  meanwhile {sent} messages of {LIVE_MESSAGES} went to the bus in {seconds:.0f} s;", end="")
        print(f" {live.waiting(database)} still wait; {server.memory():.0f} MB; {live.cores()} cores for all of it")
        left, rest = live.waiting(database), live.drain(database, DRAIN_SECONDS)
        print(
            f"  the other {left} messages went in {rest:.0f} s"
            if rest is not None
            else "  WRONG the queue never emptied"
        )
        news = sorted(live.news(board, server.port, items.rows(LIVE_STARTS, today)))
        print(f"  an N-CREATE is on the board after {statistics.median(news):.2f} s, at worst {news[-1]:.2f} s")


def _measure(
    client: Path, server: Server, today: date, asked: argparse.Namespace, mode: str, clients: int, **more: int
) -> Result:
    arguments = _command(client, server, today, asked.seconds, mode, clients, **more)
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=600)
    result: Result = json.loads(done.stdout)
    return result


def _command(
    client: Path, server: Server, today: date, seconds: float, mode: str, clients: int, **more: int
) -> list[str]:
    arguments = [str(client), "--port", str(server.port), "--mode", mode, "--clients", str(clients)]
    arguments += ["--seconds", str(seconds), "--date", f"{today:%Y%m%d}", "--station", items.STATION]
    arguments += ["--calling", items.STATION, "--called", servers.AE_TITLE, "--uid-root", items.UID_ROOT]
    for name, value in more.items():
        arguments += [f"--{name}", str(value)]
    return arguments


def _wrong(reported: dict[str, list[Result]]) -> str:
    failed = {
        name: sum(each["failures"] + each["wrong"] for each in results)
        for name, results in reported.items()
        if any(each["failures"] or each["wrong"] for each in results)
    }
    return f"   WRONG {failed}" if failed else ""


def _build(folder: Path) -> Path:
    client = folder / "mwl_load"
    source = Path(__file__).with_name("mwl_load.cpp")
    subprocess.run(["g++", "-O2", "-std=c++17", "-pthread", str(source), "-o", str(client)], check=True)
    return client


def _arguments() -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Our port beside others.")
    parser.add_argument("--counts", type=numbers, default=[100, 1000, 10_000], help="items on the worklist")
    parser.add_argument("--clients", type=numbers, default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--peers", default="wlmscpfs,orthanc", help="or none")
    parser.add_argument("--also", default="mpps,busy,live", help="what is measured besides, or none")
    parser.add_argument("--search", type=int, default=0, metavar="N", help="only the search among N patients")
    asked = parser.parse_args()
    asked.peers = [] if asked.peers == "none" else asked.peers.split(",")
    asked.also = asked.also.split(",")
    return asked


if __name__ == "__main__":
    main()
