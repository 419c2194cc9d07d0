"""The command that imports worklist files and tables of referrals."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from broker.cli.commands import Commands, Exit
from broker.cli.context import CommandContext
from broker.cli.output import progress
from broker.dicom.files.worklist_import import WorklistImport, is_worklist
from broker.domain.errors import BrokerError
from broker.domain.import_result import REFUSED, ImportResult
from broker.imports.referral_columns import ReferralTable
from broker.imports.referral_import import ReferralImport, read_table

_IMPORT = """\
Worklist files (.wl) are kept as DCMTK's wlmscpfs and Orthanc keep them: their scripts' numbers stay, whatever
they hold beyond our own fields is answered when a device asks for it. Imported again, they change what has changed.

A table of referrals has a row of column names, in Russian or English, and as separator ; , or a tab:

  ФИО;дата рождения;пол;СНИЛС;исследование;аппарат;дата;время;кто направил;диагноз;срочно
  Кузнецова Марина Петровна;12.03.1961;ж;112-233-445 95;WLB-FLG1;FLG_12;24.11.2026;10:00;Зимин А. П.;Z00.0;нет

Every row that is refused is reported with the column and the reason; the others are registered. A new patient who is
similar to one of ours is registered, too, and reported; both cards wait on a screen for somebody to merge them.
"""


def register(commands: Commands) -> None:
    """Add the command."""
    command = commands.changing("import", _import, "import worklist files, or a table of referrals", _IMPORT)
    command.add_argument("path", metavar="PATH", type=Path, help="a .wl file, a folder of them, a .csv or an .xlsx")
    command.add_argument("--send-to-bus", action="store_true", help="send worklist files' orders to the region, too")


def _import(args: argparse.Namespace) -> int:
    """Print the outcome of each item."""
    table = None if is_worklist(args.path) else read_table(args.path)
    if table and table.unknown:
        print(f"Columns that are not known and not read: {', '.join(table.unknown)}")
    if table and table.unread_sheets:
        print(f"The sheet that is read is «{table.sheet}», not: {', '.join(table.unread_sheets)}")
    counted: Counter[str] = Counter()
    similar = 0
    with CommandContext(args) as context:
        if args.send_to_bus and not context.clinic.sends_to_bus:
            raise BrokerError("no bus is configured: bus.url is not set")
        for result in _results(context, args, table):
            counted[result.outcome] += 1
            similar += bool(result.notes)
            words = [result.outcome, result.accession_number, "; ".join((*result.reasons, *result.notes))]
            print(f"{result.where}: {': '.join(word for word in words if word)}")
        if not counted:
            print(f"{args.path}: there is nothing to import")
            return Exit.FAILED
        outcomes = [f"{number} {outcome}" for outcome, number in sorted(counted.items())]
        context.report(", ".join(outcomes + ([f"{similar} to look at: similar to a card"] if similar else [])) + ".")
    return Exit.FAILED if counted[REFUSED] else Exit.OK


def _results(context: CommandContext, args: argparse.Namespace, table: ReferralTable | None) -> Iterator[ImportResult]:
    common = (context.store, context.actor, context.clinic, args.dry_run)
    if table is not None:
        return ReferralImport(*common, progress("items")).run(table, str(args.path.resolve()))
    return WorklistImport(*common, args.send_to_bus, progress("items")).run(args.path)
