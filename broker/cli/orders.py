"""The commands for referrals, for scripts."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path

from broker.cli import faults
from broker.cli.commands import Commands, Exit
from broker.cli.context import CommandContext
from broker.cli.output import show
from broker.domain.errors import BrokerError
from broker.domain.import_result import ImportPlace, ImportSource
from broker.domain.patients.patient_match import similar_note
from broker.imports import order_json
from broker.store.database import StoreError
from broker.store.queries import schedule
from broker.store.queries.schedule import Visit
from broker.workflow.referrals import referrals

_ADD = """\
One referral, or a list of them:

  {"patient": {"name": "Кузнецова Марина Петровна", "birth_date": "1961-03-12", "sex": "F",
               "snils": "112-233-445 95"},
   "procedure": "WLB-FLG1", "stations": ["FLG_12"], "start": "2026-11-24T10:00",
   "referrer": "Зимин Андрей Павлович", "referrer_position": "терапевт", "diagnosis_code": "Z00.0",
   "priority": "routine", "submission_id": "any text that is new for every new referral"}

Where no more is known, birth_date is a year or null, and a name may be one word. Such a patient is on the worklist at
once; the region is sent the order when the card has been completed.

A new patient who is similar to one of ours is registered, and reported on standard error; both cards wait on a screen
for somebody to merge them.

With a submission_id the call may be repeated: it registers one referral only. A dry run prints null for the numbers.
"""


def register(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("order", "referrals, for scripts: registered by the same rules as on the screens")
    add = group.changing("add", _add, "register referrals from JSON", _ADD)
    add.add_argument("--json", required=True, metavar="FILE", help="a file, or - for standard input")

    listing = group.reading("list", _list, "list the orders of a day")
    listing.add_argument("--date", type=date.fromisoformat, metavar="YYYY-MM-DD", help="the day (default: today)")


def _add(args: argparse.Namespace) -> int:
    """Register referrals; every form of the file is checked before the first one is registered."""
    drafts = order_json.read(sys.stdin.buffer.read() if args.json == "-" else Path(args.json).read_bytes())
    path = "-" if args.json == "-" else str(Path(args.json).resolve())
    status = Exit.OK
    with CommandContext(args) as context:
        for number, draft in enumerate(drafts, 1):
            try:
                place = ImportPlace(ImportSource.JSON, path, number)
                order, similar = context.change(
                    referrals.register_imported, draft, place, context.actor, context.clinic
                )
            except BrokerError as error:
                print(f"referral {number}: {error}", file=sys.stderr)
                status = Exit.FAILED
                continue
            except StoreError:
                raise  # the database, not the referral
            except Exception as error:
                print(f"referral {number}: {faults.sentence(error)}", file=sys.stderr)
                status = Exit.FAILED
                continue
            for each in similar:
                print(f"referral {number}: {similar_note(each)}", file=sys.stderr)
            numbers = (None, None) if args.dry_run else (order.accession_number, order.id)
            print(json.dumps(dict(zip(("accession_number", "order_id"), numbers, strict=True))))
    return status


def _list(args: argparse.Namespace) -> int:
    with CommandContext(args) as context, context.store.read() as reader:
        visits = schedule.day(reader, args.date or context.today())
    show(args.json, [order_json.write(visit) for visit in visits], map(_line, visits))
    return Exit.OK


def _line(visit: Visit) -> str:
    order = visit.order
    return (
        f"{visit.start:%H:%M}\t{order.accession_number}\t{order.state}\t{','.join(visit.station_ae_titles)}"
        f"\t{order.patient.name}\t{order.procedure_name}"
    )
