"""The commands for connecting a modality: echo, why, worklist, conformance."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime, tzinfo

from pydicom.dataset import Dataset

from broker import __version__
from broker.app.settings import archive_address, clinic_of, mpps_nodes, port_settings
from broker.cli.commands import Commands, Exit
from broker.cli.context import CommandContext
from broker.cli.output import show
from broker.config.loader import load
from broker.dicom import conformance
from broker.dicom.codec import settings
from broker.dicom.devices.registry import Caller
from broker.dicom.scu import echo
from broker.dicom.worklist import explain, response, rule_texts, service
from broker.dicom.worklist.service import ResponseRecorder
from broker.domain.clinic.device_advice import Explanation
from broker.domain.errors import NotFound
from broker.domain.orders import Order
from broker.store.queries import device_registry, order_card
from broker.workflow.studies import mpps_backlog

_WHY = """\
Every rule and every key of the device's latest query is checked, with what to do where it fails.
Exit status: 0 if the device sees the order, 1 if it does not.
"""

_FORWARD = """\
A node that is configured, also again, gets what devices report from then on. With this it gets what was taken since
TIME as well, in order; what it has already, it answers as a duplicate, and that is noted with the device. Example:

  worklist-broker forward RIS --since 2026-11-30T08:00
"""


def register(commands: Commands) -> None:
    """Add the commands."""
    verify = commands.reading("echo", _echo, "verify a device or archive by C-ECHO", config=False)
    verify.add_argument("ae_title", metavar="AE")
    verify.add_argument("host", metavar="HOST")
    verify.add_argument("port", metavar="PORT", type=int)
    verify.add_argument("--calling", default="WORKLIST", metavar="AE", help="our AE title (default WORKLIST)")

    why = commands.reading("why", _why, "explain why a device sees an order on its list, or does not", _WHY)
    why.add_argument("accession", metavar="ACCESSION", help="the order's accession number")
    why.add_argument("ae_title", metavar="AE", help="the device's own AE title")
    why.add_argument("--called", metavar="AE", help="the AE title of dicom.lists that it calls (default: ours)")

    worklist = commands.reading(
        "worklist",
        _worklist,
        "print a device's list as it is answered, in its character set",
        as_json="print whole answers, in the DICOM JSON model",
    )
    worklist.add_argument("ae_title", metavar="AE", help="the device's own AE title")
    worklist.add_argument("--called", metavar="AE", help="the AE title of dicom.lists that it calls (default: ours)")
    worklist.add_argument(
        "--date", type=date.fromisoformat, metavar="YYYY-MM-DD", help="one day (default: the days that it may see)"
    )

    forward = commands.changing("forward", _forward, "forward a node the MPPS messages since a time, too", _FORWARD)
    forward.add_argument("ae_title", metavar="AE", help="a node of dicom.forward_mpps")
    forward.add_argument("--since", type=_since, required=True, metavar="TIME", help="the clinic's local time")

    commands.reading(
        "conformance", _conformance, "print the DICOM Conformance Statement of this installation, as Markdown"
    )


def _since(text: str) -> datetime:
    """Parse a local time as the operator writes it."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-11-30 or 2026-11-30T08:00") from None


def _forward(args: argparse.Namespace) -> int:
    with CommandContext(args) as context:
        since = args.since if args.since.tzinfo else args.since.replace(tzinfo=context.clinic.zone)
        waiting = context.change(mpps_backlog.forward_since, args.ae_title, since.astimezone(UTC), context.actor)
        context.report(f"{waiting} messages wait for {args.ae_title}.")
    return Exit.OK


def _echo(args: argparse.Namespace) -> int:
    result = echo.echo(args.ae_title, args.host, args.port, args.calling)
    value = {"ae_title": args.ae_title, "ok": result.ok, "seconds": round(result.seconds, 3), "result": result.words}
    show(args.json, value, [result.words])
    return Exit.OK if result.ok else Exit.FAILED


def _why(args: argparse.Namespace) -> int:
    with CommandContext(args) as context, context.store.read() as reader:
        dicom = context.config.dicom
        called = _called(args.called, dicom.ae_title, dicom.lists)
        order = order_card.order(reader, args.accession.strip())
        if order is None:
            raise NotFound(f"order {args.accession}")
        learns = context.config.dicom.unknown_devices == "learn"
        now = context.store.clock()
        found = explain.explain_order(reader, order, args.ae_title, now, context.clinic, learns=learns, called=called)
        listed = explain.lists_of(reader, order, dicom.lists)
    zone = context.clinic.zone
    lines = [*_why_lines(order, args.ae_title, found, zone)]
    if dicom.lists:
        asked = called[0] if called else dicom.ae_title
        others = ", ".join(each for each in listed if each != asked) or "none"
        lines.append(f"That is the list of {asked}. Other lists that the order is on: {others}.")
    show(args.json, _why_json(order, args.ae_title, found, zone) | {"lists": listed}, lines)
    return Exit.OK if found.seen else Exit.FAILED


def _called(title: str | None, ours: str, lists: Mapping[str, tuple[str, ...]]) -> tuple[str, tuple[str, ...]] | None:
    """Return the list that a device calls by this AE title, None for ours; raise NotFound."""
    if title is None or title == ours:
        return None
    if title not in lists:
        raise NotFound(f"list {title}; dicom.lists has {', '.join(lists) or 'none'}")
    return title, lists[title]


def _why_json(order: Order, ae_title: str, found: Explanation, zone: tzinfo) -> dict[str, object]:
    return {
        "accession_number": order.accession_number,
        "ae_title": ae_title,
        "seen": found.seen,
        "results": [
            {
                **asdict(result),
                "sentence": rule_texts.sentence(result, zone),
                "remedy": rule_texts.remedy(result, ae_title) or None,
            }
            for result in found.results
        ],
    }


def _why_lines(order: Order, ae_title: str, found: Explanation, zone: tzinfo) -> Iterator[str]:
    yield f"{order.accession_number} for {ae_title}:"
    for result in found.results:
        mark = "ok " if result.ok else "NO " if result.decides else "!  "
        yield f"  {mark} {rule_texts.sentence(result, zone)}"
        if remedy := rule_texts.remedy(result, ae_title):
            yield f"       do: {remedy}"
    yield f"With this query the device {'sees' if found.seen else 'does not see'} the order."


def _worklist(args: argparse.Namespace) -> int:
    """Print a device's list as it would be answered; the query is not recorded anywhere."""
    settings.set_up()
    with CommandContext(args) as context:
        called = _called(args.called, context.config.dicom.ae_title, context.config.dicom.lists)
        with context.store.read() as reader:
            if device_registry.device(reader, args.ae_title) is None:
                raise NotFound(f"device {args.ae_title}; worklist-broker device list shows which there are")
            asked = explain.latest_query(reader, args.ae_title)
        term = str(asked.query.get("SpecificCharacterSet") or "") if asked else ""
        answers = list(
            service.find(
                explain.typical_query(args.date, term),
                Caller(args.ae_title, "", called[1] if called else ()),
                context.store,
                context.clinic,
                ResponseRecorder(response.identifier),
                context.config.clinic.name,
                noted=False,
            )
        )
    items = [answer.identifier for answer in answers if answer.identifier is not None]
    show(args.json, [item.to_json_dict() for item in items], ("\t".join(_worklist_fields(item)) for item in items))
    if comment := answers[-1].status.get("ErrorComment"):
        print(f"worklist-broker: {comment}", file=sys.stderr)
    return Exit.OK


def _worklist_fields(item: Dataset) -> Iterator[str]:
    """Yield what a line shows of an answer."""
    step = item.ScheduledProcedureStepSequence[0]
    day, hour = str(step.ScheduledProcedureStepStartDate), str(step.ScheduledProcedureStepStartTime)
    yield f"{day[:4]}-{day[4:6]}-{day[6:]} {hour[:2]}:{hour[2:4]}"
    yield str(item.AccessionNumber)
    yield str(item.PatientName)
    for ds, keyword in (
        (item, "PatientID"),
        (item, "PatientBirthDate"),
        (item, "PatientSex"),
        (step, "Modality"),
        (step, "ScheduledStationAETitle"),
        (step, "ScheduledProcedureStepStatus"),
        (item, "RequestedProcedureDescription"),
    ):
        yield str(ds.get(keyword) or "")


def _conformance(args: argparse.Namespace) -> int:
    config = load(args.config)
    port = port_settings(config.dicom)
    statement = conformance.write(
        port,
        archive_address(config),
        __version__,
        nodes=mpps_nodes(config),
        sends_reports=clinic_of(config).archives_reports,
    )
    value = {"ae_title": port.ae_title, "port": port.port, "version": __version__, "statement": statement}
    show(args.json, value, [statement.removesuffix("\n")])
    return Exit.OK
