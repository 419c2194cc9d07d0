"""The commands for directories: import, list, search."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path

from broker.cli.commands import Commands, Exit
from broker.cli.context import CommandContext
from broker.cli.output import progress, show
from broker.config.configuration import Config
from broker.domain.clinic.devices import ProcedureType
from broker.domain.clinic.directory import Entry
from broker.domain.errors import BrokerError, NotFound
from broker.imports.directories.choice import ProcedureFilter, Selection, choose_procedures
from broker.imports.directories.file import DirectoryTable, read, system_and_version
from broker.imports.directories.kinds import KINDS, Kind
from broker.imports.directories.row import DirectoryContent, read_entries
from broker.imports.table_rows import BadTable
from broker.store.queries import device_registry, directory_search
from broker.workflow.directories import DirectorySource, ReplaceResult, replace_directory

SHOWN_REFUSALS = 100  # rows; more are only counted
MANY_OFFERED = 300  # procedures; a longer list is hard to look through
_CONFIGURED = {"procedures": "system_procedure", "body-sites": "system_body_site", "diagnoses": "system_diagnosis"}

_IMPORT = """\
FILE is an export of the Ministry's register of dictionaries (НСИ) or of the region's terminology service, or a table
of your own: CSV (UTF-8 or Windows-1251), XLSX or JSON. A kind's entries are replaced as a whole, or not at all; an
entry that is gone can no longer be chosen, and stays in the orders that have it.

  worklist-broker directory import 1.2.643.5.1.13.13.11.1005_2.27.csv --kind diagnoses
  worklist-broker directory import fsidi.xlsx --kind procedures --version 2.12 --modality DX,MG --replace-defaults
  worklist-broker directory import staff.csv --kind doctors --columns "name=Сотрудник,snils=СНИЛС сотрудника"

System and version are taken from a name such as the first one's, or else from --system and --version. Columns are
found by their names (ID, MKB_CODE, NAME, Код, Наименование, ФИО, СНИЛС, …); --columns FIELD=COLUMN names them.

Procedures: the desk offers those of --modality, without it those that the registered devices do (with DX only CR where
there is no DX device). The modality follows from the method (рентгенография: DX, компьютерная томография: CT, …);
--methods "рентгеноскопия=XA" overrides that. --only narrows the choice to these codes: "CODE,CODE", or a file with
one code per line, optionally followed by minutes.
"""


def register(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("directory", "dictionaries of codes and names: procedures, diagnoses, organisations, …")
    _import_options(group.changing("import", _import, "import a directory from a file", _IMPORT))
    group.reading("list", _list, "list what is imported")
    search = group.reading("show", _show, "search a directory by code or name")
    search.add_argument("kind", metavar="KIND", choices=list(KINDS), help=", ".join(KINDS))
    search.add_argument("text", metavar="TEXT", nargs="*", help="beginning of the code, or of words of the name")
    search.add_argument("--limit", type=int, default=50, metavar="N", help="show so many at the most (default 50)")


def _import_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", type=Path, help="a .csv, .xlsx or .json file")
    command.add_argument("--kind", required=True, choices=list(KINDS), help="what it is a directory of")
    command.add_argument(
        "--system", metavar="OID", default="", help="code system (default: by the file's name, or usual)"
    )
    command.add_argument("--version", metavar="V", default="", help="version (default: by the file's name)")
    command.add_argument(
        "--columns", metavar="FIELD=COLUMN,…", action="append", default=[], help="which column is what; may be repeated"
    )
    command.add_argument("--modality", metavar="DX,CT,…", default="", help="procedures: offer these only; ALL: all")
    command.add_argument("--only", metavar="FILE|CODES", default="", help="procedures: offer these codes only")
    command.add_argument(
        "--methods", metavar="WORD=MODALITY,…", action="append", default=[], help="procedures: what a method is done by"
    )
    command.add_argument("--replace-defaults", action="store_true", help="procedures: remove the local default set")


def _import(args: argparse.Namespace) -> int:
    """Print every row that is refused; FAILED if one is, or if nothing is kept."""
    kind = KINDS[args.kind]
    _check_options(args)
    with CommandContext(args) as context:
        system, version = _system(args, kind, context.config)
        content = _read(args.file, kind, _pairs("--columns", args.columns), context.today())
        offered: Sequence[ProcedureType] = ()
        if kind.name == "procedures":
            with context.store.read() as reader:
                modalities = {device.modality for device in device_registry.approved(reader)} - {""}
            offered = _offered(args, content.entries, modalities)
        source = DirectorySource(kind.name, system, version, args.file.name)
        done = context.change(
            replace_directory,
            source,
            content.entries,
            context.actor,
            offered=offered,
            replace_defaults=args.replace_defaults,
        )
        for number, sentence in enumerate(_outcome(kind, source, content, done)):
            (print if number else context.report)(sentence)
        for sentence in _advice(source, done, context.config):
            print(sentence)
    return Exit.FAILED if content.refused else Exit.OK


def _list(args: argparse.Namespace) -> int:
    with CommandContext(args) as context, context.store.read() as reader:
        found = directory_search.imported(reader)
    lines = [
        f"{each.kind}\t{each.system or '-'}\t{each.version or '-'}\t{each.entries} entries"
        f"\t{context.local(each.at):%Y-%m-%d %H:%M}\t{each.file}"
        for each in found
    ]
    show(
        args.json,
        [{**asdict(each), "at": each.at.isoformat()} for each in found],
        lines or ["No directory is imported; worklist-broker directory import --help explains how."],
    )
    return Exit.OK


def _show(args: argparse.Namespace) -> int:
    """Print the entries that are found; FAILED where there is none."""
    with CommandContext(args) as context, context.store.read() as reader:
        if not any(each.kind == args.kind for each in directory_search.imported(reader)):
            raise NotFound(f"directory of {args.kind}; worklist-broker directory list shows what is imported")
        found = directory_search.search(reader, args.kind, " ".join(args.text), args.limit + 1)
    shown = found[: args.limit]
    show(args.json, [asdict(entry) for entry in shown], map(_entry_line, shown))
    if len(found) > args.limit:
        print(f"There are more than {args.limit}: give more words, or --limit.", file=sys.stderr)
    return Exit.OK if found else Exit.FAILED


def _entry_line(entry: Entry) -> str:
    details = "; ".join(f"{key}: {value}" for key, value in sorted(entry.details.items()))
    return "\t".join(word for word in (entry.code, entry.name, details) if word)


# ---- what is asked for ----


def _read(path: Path, kind: Kind, named: Mapping[str, str], today: date) -> DirectoryContent:
    """Read a whole file and print what is wrong with it; raise BadTable where nothing of it is worth keeping."""
    try:
        with path.open("rb") as file:
            table = read(file, kind, named)
            _print_columns(table)
            content = read_entries(table, kind.name, today, progress(f"{table.row_label}s"))
    except BadTable as error:
        raise BadTable(f"{path.name}: {error}") from None
    _print_refused(content, table)
    if len(content.refused) > len(content.entries):
        raise BadTable(f"{path.name}: most rows are refused, nothing was imported; check --kind and --columns")
    if not content.entries:
        raise BadTable(f"{path.name}: it has no entry")
    return content


def _check_options(args: argparse.Namespace) -> None:
    own = {"--only": args.only, "--modality": args.modality, "--methods": args.methods}
    for option, value in (*own.items(), ("--replace-defaults", args.replace_defaults)):
        if value and args.kind != "procedures":
            raise BrokerError(f"{option} is for procedures only")
    if args.system and not re.fullmatch(r"[0-2](\.\d+){2,}", args.system):
        raise BrokerError(f"--system {args.system} is not an OID such as 1.2.643.5.1.13.13.11.1471")


def _system(args: argparse.Namespace, kind: Kind, config: Config) -> tuple[str, str]:
    """Return code system and version: from the options, else from the file's name, else from the configuration."""
    expected = getattr(config.bus, _CONFIGURED[kind.name]) if kind.name in _CONFIGURED else kind.system
    oid, version = system_and_version(args.file)
    if oid and expected and oid != expected and not args.system:
        raise BrokerError(
            f"{args.file.name} is named after the dictionary {oid}, but {kind.name} are of {expected} here;"
            f" if it is right nevertheless, use --system {oid}"
        )
    return args.system or oid or expected, args.version or version


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """Read NAME=VALUE,NAME=VALUE; a comma inside a value does not end it."""
    pairs = {}
    for text in texts:
        for part in re.split(r",(?=[^,=]+=)", text):
            name, mark, value = (piece.strip() for piece in part.partition("="))
            if not mark or not name or not value:
                raise BrokerError(f"{option}: «{part}» is not of the form NAME=VALUE")
            pairs[name] = value
    return pairs


def _offered(
    args: argparse.Namespace, entries: Sequence[Entry], device_modalities: set[str]
) -> Sequence[ProcedureType]:
    """Return the procedures that the desk offers, and print how many these are and why."""
    wanted = ProcedureFilter(
        frozenset(word.strip().upper() for word in args.modality.split(",") if args.modality),
        _codes(args.only) if args.only else None,
        {word: modality.upper() for word, modality in _pairs("--methods", args.methods).items()},
    )
    selection = choose_procedures(entries, wanted, device_modalities)
    if unknown := selection.unknown_codes:
        raise BrokerError(f"--only: not in the file: {', '.join(unknown[:10])}{', …' if len(unknown) > 10 else ''}")
    for sentence in _selection_sentences(selection):
        print(sentence)
    return selection.offered


def _selection_sentences(selection: Selection) -> Iterator[str]:
    if selection.without_modality:
        yield (
            f"Of {selection.without_modality} procedures no modality is known, so they are not offered; see --methods."
        )
    of = f" of {', '.join(sorted(selection.modalities))}" if selection.modalities else ""
    why = ", which the registered devices do (see --modality)" if selection.by_devices else ""
    yield f"Offered at the desk: {len(selection.offered)} official procedures{of}{why}."


def _codes(text: str) -> dict[str, int]:
    """Read codes from a file (one a line, minutes may follow) or from the text itself: code -> minutes or 0."""
    path = Path(text)
    lines = path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else text.split(",")
    found = {}
    for line in lines:
        code, *more = re.split(r"[;,\t ]+", line.split("#")[0].strip(), maxsplit=2)
        if code:
            minutes = more[0] if more else ""
            found[code] = int(minutes) if minutes.isdecimal() and 0 < int(minutes) <= 480 else 0
    if not found:
        raise BrokerError("--only names no code")
    return found


# ---- what is printed ----


def _print_columns(table: DirectoryTable) -> None:
    print("Columns: " + ", ".join(f"{field} = {name}" for field, name in table.columns.items()))
    if table.unread:
        print(f"Not read: {', '.join(table.unread)}")
    if table.unread_sheets:
        print(f"The sheet that is read is «{table.sheet}», not: {', '.join(table.unread_sheets)}")


def _print_refused(content: DirectoryContent, table: DirectoryTable) -> None:
    for number, reason in content.refused[:SHOWN_REFUSALS]:
        print(f"{table.row_label} {number}: refused: {reason}")
    if len(content.refused) > SHOWN_REFUSALS:
        print(f"… and {len(content.refused) - SHOWN_REFUSALS} more are refused")


def _outcome(kind: Kind, source: DirectorySource, content: DirectoryContent, done: ReplaceResult) -> Iterator[str]:
    """Say what has been replaced."""
    origin = ", ".join(filter(None, (source.system, f"version {source.version}" if source.version else "")))
    change = done.change
    words = [f"{len(content.entries)} entries, {change.added} new, {change.changed} changed, {change.gone} gone"]
    words += [f"{number} {what}" for what, number in content.left_out.items()]
    words += [f"{len(content.refused)} refused"] if content.refused else []
    yield f"{kind.title}{f' ({origin})' if origin else ''}: {'; '.join(words)}."
    if kind.name == "procedures":
        defaults = f", {done.offered_local} of them local ones of the default set" if done.offered_local else ""
        yield f"The desk offers {done.offered} procedures{defaults}."


def _advice(source: DirectorySource, done: ReplaceResult, config: Config) -> Iterator[str]:
    """Say what is left to do, in the configuration above all."""
    key = _CONFIGURED.get(source.kind)
    if key and source.system != getattr(config.bus, key):
        yield f"Set bus.{key} to {source.system} in the configuration, or the codes go out under another system."
    configured: Mapping[str, str] = config.bus.versions
    if source.system and not source.version and source.system not in configured:
        yield "The version is not known: give --version, or set it under bus.versions; many regions ask for it."
    elif source.version and configured.get(source.system, source.version) != source.version:
        yield (
            f"bus.versions has {configured[source.system]} for {source.system}, and that is what goes out;"
            f" this is {source.version}."
        )
    if done.offered > MANY_OFFERED:
        yield f"{done.offered} procedures is a long list: --modality or --only leaves fewer."
    if source.kind == "procedures" and done.offered_local and done.offered > done.offered_local:
        yield "The region does not know the local codes; --replace-defaults takes them away."
