"""The commands for reading: which procedures two doctors read."""

from __future__ import annotations

import argparse
from datetime import timedelta

from broker.cli.commands import Commands, Exit
from broker.cli.context import CommandContext
from broker.cli.output import show
from broker.domain.errors import Invalid, NotFound
from broker.domain.orders import Order
from broker.store.queries import lookups, order_card
from broker.store.queries.reading import over_read_requests, reading_cases
from broker.workflow.reading import over_reads, reads

_DOUBLE = """\
The codes replace those that were set before; a study with a read stays as it is. Examples:

  worklist-broker reading double WLB-FLG1 WLB-FLG2 WLB-MMG4
  worklist-broker reading double --none
"""


def register(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("reading", "how studies are read")
    double = group.changing("double", _double, "say which procedures two doctors read", _DOUBLE)
    double.add_argument("codes", metavar="CODE", nargs="*", help="codes of procedures")
    double.add_argument("--none", action="store_true", help="every study is read once")
    once = group.changing("once", _once, "let one read do for a study where no second reader comes")
    once.add_argument("number", metavar="ACCESSION-NUMBER")
    once.add_argument("--reason", required=True, help="why; it stays in the audit trail")
    free = group.changing("free", _free, "take a study from the reader who has it open; a read is not touched")
    free.add_argument("number", metavar="ACCESSION-NUMBER")
    resume = group.changing("resume", _resume, "put a study back on the readers' lists that one has put aside")
    resume.add_argument("number", metavar="ACCESSION-NUMBER")
    group.reading("asked", _asked, "list the signed reports that colleagues were asked to read over, and since when")
    unask = group.changing("unask", _unask, "take back a request to read a signed report over")
    unask.add_argument("number", metavar="ACCESSION-NUMBER")
    unask.add_argument("--reason", default="", help="why; it stays in the audit trail")
    group.reading("deferred", _deferred, "list the studies that readers have put aside, and why")
    group.reading("list", _list, "list the procedures and how many doctors read each")


def _double(args: argparse.Namespace) -> int:
    if bool(args.codes) == args.none:
        raise Invalid({"codes": "name procedures, or --none"})
    with CommandContext(args) as context:
        with context.store.read() as reader:
            known = {each.code for each in lookups.procedures(reader)}
        if unknown := sorted(set(args.codes) - known):
            raise Invalid(dict.fromkeys(unknown, "no such procedure is offered"))
        context.change(reads.set_double, frozenset(args.codes), context.actor)
        context.report(f"Two doctors read {len(set(args.codes))} procedures.")
    return Exit.OK


def _once(args: argparse.Namespace) -> int:
    with CommandContext(args) as context:
        context.change(reads.read_once, _order(context, args.number).id, args.reason, context.actor, context.clinic)
        context.report(f"One read does for {args.number}.")
    return Exit.OK


def _free(args: argparse.Namespace) -> int:
    with CommandContext(args) as context:
        context.change(reads.free_lease, _order(context, args.number).id, context.actor)
        context.report(f"{args.number} is free for other readers.")
    return Exit.OK


def _resume(args: argparse.Namespace) -> int:
    with CommandContext(args) as context:
        context.change(reads.resume, _order(context, args.number).id, context.actor)
        context.report(f"{args.number} is on the lists again.")
    return Exit.OK


def _deferred(args: argparse.Namespace) -> int:
    with CommandContext(args) as context, context.store.read() as reader:
        found = reading_cases.deferred(reader)
        show(
            args.json,
            [
                {"accession_number": order.accession_number, "reader": each.reader_title, "reason": each.reason}
                for order, each in found
            ],
            (
                f"{order.accession_number}\t{context.local(each.at):%Y-%m-%d %H:%M}\t{each.reader_title}\t{each.reason}"
                for order, each in found
            ),
        )
    return Exit.OK


def _asked(args: argparse.Namespace) -> int:
    with CommandContext(args) as context, context.store.read() as reader:
        found = over_read_requests.all_open(reader)
        hours = timedelta(hours=context.clinic.reading.over_read_hours)
        now = context.store.clock()
        show(
            args.json,
            [
                {
                    "accession_number": order.accession_number,
                    "asked_by": each.asked_by,
                    "asked_of": each.asked_of,
                    "asked_at": each.asked_at.isoformat(),
                    "overdue": each.hangs(now, hours),
                }
                for order, each in found
            ],
            (
                f"{order.accession_number}\t{context.local(each.asked_at):%Y-%m-%d %H:%M}\t{each.asked_by_title}"
                f"\t{each.asked_of_title or 'any doctor'}{'  overdue' if each.hangs(now, hours) else ''}"
                for order, each in found
            ),
        )
    return Exit.OK


def _unask(args: argparse.Namespace) -> int:
    with CommandContext(args) as context:
        order = _order(context, args.number)
        with context.store.read() as reader:
            asked = over_read_requests.open_of(reader, order.id)
        if asked is None:
            raise NotFound(f"a request to read the report on {args.number} over")
        context.change(over_reads.withdraw, asked.stored_id, args.reason, context.actor)
        context.report(f"No doctor is asked any more to read the report on {args.number} over.")
    return Exit.OK


def _order(context: CommandContext, number: str) -> Order:
    with context.store.read() as reader:
        found = order_card.order(reader, number)
    if found is None:
        raise NotFound(f"study {number}")
    return found


def _list(args: argparse.Namespace) -> int:
    with CommandContext(args) as context, context.store.read() as reader:
        double = reading_cases.double_procedures(reader)
        found = [(each, 2 if each.code in double else 1) for each in lookups.procedures(reader)]
    show(
        args.json,
        [{"code": each.code, "name": each.name, "reads": count} for each, count in found],
        (f"{each.code}\t{count}\t{each.name}" for each, count in found),
    )
    return Exit.OK
