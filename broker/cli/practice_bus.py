"""The command that runs a practice bus."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from broker.app import clock
from broker.app.logs import set_up_logging
from broker.cli.commands import Commands, Exit
from broker.domain.errors import BrokerError

if TYPE_CHECKING:
    from broker.bus.practice import PracticeServer

_ABOUT = """\
Three clinics may use it, each with a token of its own. Its page shows what each of them sent, what was refused and why,
every request, and has a form that asks for the next fault.

Faults before the request is carried out: 503, 408, 429, 401, html (a portal's page), redirect[=URL], drop (hung up).
Faults after the request was carried out: 504, timeout-after-commit[=SECONDS], slow[=SECONDS], duplicates,
out-of-order, endless[=SECONDS a byte], huge, deep, double-keys, nul, cp1251.

  worklist-broker practice-bus --fault 503:3 --fault slow=5@/Task/_search --fault timeout-after-commit=60@/
  worklist-broker practice-bus --latency 0.2 --fault-rate 0.1
"""


def register(commands: Commands) -> None:
    """Add the command."""
    command = commands.serving("practice-bus", _serve, "run a practice bus: the region's, as it is described", _ABOUT)
    command.add_argument("--address", default="127.0.0.1", help="where to listen (default 127.0.0.1)")
    command.add_argument("--port", type=int, default=8090, metavar="N", help="port (default 8090)")
    command.add_argument("--token", help="the token of the first clinic (default: the practice token)")
    command.add_argument(
        "--token-2", metavar="TOKEN", help="the token of the second clinic (default: its practice token)"
    )
    command.add_argument(
        "--token-3", metavar="TOKEN", help="the token of the third clinic (default: its practice token)"
    )
    command.add_argument(
        "--like",
        choices=("strict", "lenient"),
        default="strict",
        help="the region that it is like; a lenient one accepts local codes and empty fields of the dictionaries",
    )
    command.add_argument(
        "--dialect",
        choices=("n3", "r4"),
        default="",
        help="speak only this; r4 as strictly as FHIR R4 has it (default: with each client what its media type names)",
    )
    command.add_argument("--data", type=Path, metavar="DIR", help="keep what it receives here (default: in memory)")
    command.add_argument(
        "--status",
        action="append",
        default=[],
        metavar="STATUS",
        help="a status that $updatestatus takes besides cancelled, as in-progress; may be repeated",
    )
    command.add_argument(
        "--latency", type=float, default=0.0, metavar="S", help="every call takes this many seconds longer"
    )
    command.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="KIND[=VALUE][:TIMES][@PATH]",
        help="show a fault to the next requests; may be repeated",
    )
    command.add_argument(
        "--fault-rate", type=float, default=0.0, metavar="P", help="each request fails with this probability, 0 to 1"
    )


def _serve(args: argparse.Namespace) -> int:
    from broker.bus import practice

    try:
        settings = practice.PracticeSettings(
            token=args.token or practice.PRACTICE_TOKEN,
            token_2=args.token_2 or practice.PRACTICE_TOKEN_2,
            directory=args.data,
            statuses=["cancelled", *args.status],
            token_3=args.token_3 or practice.PRACTICE_TOKEN_3,
            lenient=args.like == "lenient",
            dialect=args.dialect,
            latency=args.latency,
            fault_rate=args.fault_rate,
            clock=clock.utc_now,
        )
        bus = practice.PracticeBus(settings)
        for text in args.fault:
            bus.add_fault(*practice.read_fault(text))
    except ValueError as error:
        raise BrokerError(str(error)) from None
    set_up_logging("info")
    practice.serve(bus, args.address, args.port, lambda server: _welcome(args, server))
    return Exit.OK


def _welcome(args: argparse.Namespace, server: PracticeServer) -> None:
    """Print what a clinic's configuration needs, but no token that was given on the command line."""
    from broker.bus import practice

    print(f"Practice bus: {server.url}\nWhat it has: {server.page_url}  (Ctrl-C ends it)")
    for number, organisation, given, known in (
        (1, practice.PRACTICE_ORGANISATION, args.token, practice.PRACTICE_TOKEN),
        (2, practice.PRACTICE_ORGANISATION_2, args.token_2, practice.PRACTICE_TOKEN_2),
        (3, practice.PRACTICE_ORGANISATION_3, args.token_3, practice.PRACTICE_TOKEN_3),
    ):
        print(f"Clinic {number}: organisation {organisation}, token {'as given' if given else known}")
    sys.stdout.flush()
