"""The commands for reading: which procedures two doctors read."""

from __future__ import annotations

import argparse

from broker.cli.commands import Commands, Exit
from broker.cli.context import CommandContext
from broker.cli.output import show
from broker.domain.errors import Invalid
from broker.store.queries import lookups
from broker.store.queries.studies import reading_cases
from broker.workflow.studies import reads

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
