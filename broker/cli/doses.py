"""The commands for the account of doses: the year's table for the form 3-ДОЗ, and what procedures are for it."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from broker.cli.commands import Commands, Exit
from broker.cli.context import CommandContext
from broker.cli.output import show
from broker.documents import dose_account as table
from broker.domain.errors import Invalid
from broker.store.queries import lookups
from broker.store.queries.studies import dose_account
from broker.workflow.studies import dose_procedures

_ACCOUNT = """\
Studies that were completed here in a year, by the administrator's row, modality, body site and age (0-17, 18+): how
many, of how many the effective dose was typed, calculated of what the device measured, is a typical value, or is not
known; its sum and mean, mSv. Examples:

  worklist-broker dose account --year 2026
  worklist-broker dose account --year 2026 --csv 3-doz.csv
"""


def register(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("dose", "the account of patients' doses")
    account = group.reading("account", _account, "print a year's doses, for the form 3-ДОЗ", _ACCOUNT)
    account.add_argument("--year", type=int, help="default: the present one")
    account.add_argument("--csv", metavar="FILE", help="write it into this file, as a table for spreadsheets")
    row = group.changing("row", _row, "name the row of the form 3-ДОЗ that procedures belong to")
    row.add_argument("row", metavar="ROW", help='as the form of the year has it; "" for none')
    row.add_argument("codes", metavar="CODE", nargs="+", help="codes of procedures")
    prophylactic = group.changing("prophylactic", _prophylactic, "say which procedures are prophylactic")
    prophylactic.add_argument(
        "codes", metavar="CODE", nargs="*", help="codes of procedures; they replace the former ones"
    )
    prophylactic.add_argument("--none", action="store_true", help="no procedure is")


def _account(args: argparse.Namespace) -> int:
    with CommandContext(args) as context, context.store.read() as reader:
        year = args.year or context.today().year
        if not 1900 <= year <= 9999:
            raise Invalid({"year": "not a year"})
        found = dose_account.of_year(reader, year)
    if args.csv:
        Path(args.csv).write_bytes(table.csv_of(found))
    value = [asdict(row) | {"procedures": row.procedures, "mean": row.mean} for row in found]
    lines = ["\t".join(table.HEAD), *("\t".join(table.cells(row)) for row in found)]
    show(args.json, {"year": year, "rows": value}, [f"{len(found)} rows written."] if args.csv else lines)
    return Exit.OK


def _row(args: argparse.Namespace) -> int:
    with CommandContext(args) as context:
        _check(context, args.codes)
        for code in dict.fromkeys(args.codes):
            context.change(dose_procedures.set_form_row, code, args.row, context.actor)
        context.report(f"{len(set(args.codes))} procedures belong to row {args.row or 'none'}.")
    return Exit.OK


def _prophylactic(args: argparse.Namespace) -> int:
    if bool(args.codes) == args.none:
        raise Invalid({"codes": "name procedures, or --none"})
    with CommandContext(args) as context:
        _check(context, args.codes)
        context.change(dose_procedures.set_prophylactic, frozenset(args.codes), context.actor)
        context.report(f"{len(set(args.codes))} procedures are prophylactic.")
    return Exit.OK


def _check(context: CommandContext, codes: list[str]) -> None:
    with context.store.read() as reader:
        known = {each.code for each in lookups.procedures(reader)}
    if unknown := sorted(set(codes) - known):
        raise Invalid(dict.fromkeys(unknown, "no such procedure is offered"))
