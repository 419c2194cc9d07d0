"""What the commands for directories do: import, list, search. As in `broker.commands`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

from broker.cli.commands import FAILED, OK, open_house
from broker.config.configuration import Config
from broker.domain.devices import ProcedureType
from broker.domain.directory import Entry
from broker.domain.errors import BrokerError, NotFound
from broker.imports.directories import file as directory_file
from broker.imports.directories import row as directory_row
from broker.imports.directories.file import Table
from broker.imports.directories.kinds import KINDS, MINUTES, USUAL_MINUTES, Kind, modality_of
from broker.imports.directories.row import Gathered
from broker.imports.spreadsheet import BadTable
from broker.store.queries import device_registry, directory_search
from broker.workflow.directories import Replaced, Source, replace_directory

MOST_TOLD = 100  # refused rows
MANY_OFFERED = 300  # procedures; more are no longer found by looking through them
PROGRESS_EVERY = 2000
_CONFIGURED = {"procedures": "system_procedure", "body-sites": "system_body_site", "diagnoses": "system_diagnosis"}


def directory_import(args: argparse.Namespace) -> int:
    """Import a directory; tell every row that is refused. FAILED where one is, or nothing is kept."""
    kind = KINDS[args.kind]
    _check_options(args)
    with open_house(args.config) as house:
        today = house.store.clock().astimezone(house.config.clinic.zone).date()
        system, version = _system(args, kind, house.config)
        gathered = _gathered(args.file, kind, _pairs("--columns", args.columns), today)
        offered: list[ProcedureType] = []
        if kind.name == "procedures":
            with house.store.read() as reader:
                modalities = {device.modality for device in device_registry.approved(reader)} - {""}
            offered = _offered(args, gathered.entries, modalities)
        source = Source(kind.name, system, version, args.file.name)
        run = house.store.dry_run if args.dry_run else house.store.write
        done = run(
            replace_directory,
            source,
            gathered.entries,
            house.actor,
            offered=offered,
            replace_defaults=args.replace_defaults,
        )
        _tell(kind, source, gathered, done, args.dry_run)
        for line in _advice(source, done, house.config):
            print(line)
    return FAILED if gathered.refused else OK


def directory_list(args: argparse.Namespace) -> int:
    """List what has been imported."""
    with open_house(args.config) as house, house.store.read() as reader:
        found = directory_search.imported(reader)
        for each in found:
            at = each.at.astimezone(house.config.clinic.zone)
            print(
                f"{each.kind}\t{each.system or '-'}\t{each.version or '-'}\t{each.entries} entries"
                f"\t{at:%Y-%m-%d %H:%M}\t{each.file}"
            )
    if not found:
        print("No directory is imported; worklist-broker directory import --help tells how.")
    return OK


def directory_show(args: argparse.Namespace) -> int:
    """Search a directory; FAILED where nothing is found."""
    with open_house(args.config) as house, house.store.read() as reader:
        if not any(each.kind == args.kind for each in directory_search.imported(reader)):
            raise NotFound(f"directory of {args.kind}; worklist-broker directory list tells what is imported")
        found = directory_search.search(reader, args.kind, " ".join(args.text), args.limit + 1)
    for entry in found[: args.limit]:
        details = "; ".join(f"{key}: {value}" for key, value in sorted(entry.details.items()))
        print("\t".join(word for word in (entry.code, entry.name, details) if word))
    if len(found) > args.limit:
        print(f"There are more than {args.limit}: say more words, or --limit.", file=sys.stderr)
    return OK if found else FAILED


# ---- what is asked for ----


def _gathered(path: Path, kind: Kind, named: Mapping[str, str], today: date) -> Gathered:
    """Read a file whole and tell what is wrong with it; raise BadTable where nothing of it is worth keeping."""
    try:
        with path.open("rb") as file:
            table = directory_file.read(file, kind, named)
            _tell_columns(table)
            gathered = directory_row.gather(table, kind.name, today, _progress())
    except BadTable as error:
        raise BadTable(f"{path.name}: {error}") from None
    _tell_refused(gathered, table)
    if len(gathered.refused) > len(gathered.entries):
        raise BadTable(f"{path.name}: most rows are refused, so nothing is kept; is it of the right kind and columns?")
    if not gathered.entries:
        raise BadTable(f"{path.name}: there is no entry in it")
    return gathered


def _check_options(args: argparse.Namespace) -> None:
    own = {"--only": args.only, "--modality": args.modality, "--methods": args.methods}
    for option, value in (*own.items(), ("--replace-defaults", args.replace_defaults)):
        if value and args.kind != "procedures":
            raise BrokerError(f"{option} is for procedures only")
    if args.system and not re.fullmatch(r"[0-2](\.\d+){2,}", args.system):
        raise BrokerError(f"--system {args.system} is no OID such as 1.2.643.5.1.13.13.11.1471")


def _system(args: argparse.Namespace, kind: Kind, config: Config) -> tuple[str, str]:
    """Tell the code system and its version: as said, else as the file's name says, else the configuration's."""
    expected = getattr(config.bus, _CONFIGURED[kind.name]) if kind.name in _CONFIGURED else kind.system
    oid, version = directory_file.said_by_name(args.file)
    if oid and expected and oid != expected and not args.system:
        raise BrokerError(
            f"{args.file.name} is named after the dictionary {oid}, but {kind.name} are of {expected} here;"
            f" if it is right nevertheless, say so: --system {oid}"
        )
    return args.system or oid or expected, args.version or version


def _pairs(option: str, said: Sequence[str]) -> dict[str, str]:
    """Read NAME=VALUE,NAME=VALUE; a comma inside a value is no end of it."""
    pairs = {}
    for text in said:
        for part in re.split(r",(?=[^,=]+=)", text):
            name, mark, value = (piece.strip() for piece in part.partition("="))
            if not mark or not name or not value:
                raise BrokerError(f"{option}: «{part}» is not of the form NAME=VALUE")
            pairs[name] = value
    return pairs


def _offered(args: argparse.Namespace, entries: Sequence[Entry], at_hand: set[str]) -> list[ProcedureType]:
    """Choose the procedures that the desk offers: by --only, by --modality, or what the registered devices do."""
    words = {word: modality.upper() for word, modality in _pairs("--methods", args.methods).items()}
    only = _only(args.only) if args.only else None
    if only is not None and (unknown := sorted(only.keys() - {entry.code for entry in entries})):
        raise BrokerError(f"--only: not in the file: {', '.join(unknown[:10])}{', …' if len(unknown) > 10 else ''}")
    wanted = {word.strip().upper() for word in args.modality.split(",")} if args.modality else set()
    chosen = wanted or (at_hand if only is None else set())
    if "ALL" in chosen:
        chosen = set()
    plates = "CR" in (wanted or at_hand) and "DX" not in (wanted or at_hand)  # plain X-ray is done on imaging plates
    plain_xray = "CR" if plates else "DX"
    found, silent = [], 0
    for entry in entries:
        if only is not None and entry.code not in only:
            continue
        modality = entry.details.get("modality") or modality_of(entry.details.get("method", ""), entry.name, words)
        if modality == "DX":
            modality = plain_xray
        silent += not modality
        if modality and (not chosen or modality in chosen):
            minutes = (only or {}).get(entry.code) or int(entry.details.get("minutes", 0))
            found.append(_procedure(entry, modality, minutes))
    if silent:
        print(f"Of {silent} procedures no modality is known, so they are not offered; see --methods.")
    told = f" of {', '.join(sorted(chosen))}" if chosen else ""
    why = "" if wanted or only is not None or not chosen else ", which the registered devices do (see --modality)"
    print(f"Offered at the desk: {len(found)} official procedures{told}{why}.")
    return found


def _procedure(entry: Entry, modality: str, minutes: int) -> ProcedureType:
    return ProcedureType(entry.code, entry.name, modality, minutes or MINUTES.get(modality, USUAL_MINUTES), local=False)


def _only(said: str) -> dict[str, int]:
    """Read the codes that are wanted, from a file (one a line, minutes may follow) or as said: code -> minutes or 0."""
    path = Path(said)
    lines = path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else said.split(",")
    found = {}
    for line in lines:
        code, *more = re.split(r"[;,\t ]+", line.split("#")[0].strip(), maxsplit=2)
        if code:
            minutes = more[0] if more else ""
            found[code] = int(minutes) if minutes.isdecimal() and 0 < int(minutes) <= 480 else 0
    if not found:
        raise BrokerError("--only names no code")
    return found


# ---- what is told ----


def _tell_columns(table: Table) -> None:
    print("Columns: " + ", ".join(f"{field} = {name}" for field, name in table.columns.items()))
    if table.unread:
        print(f"Not read: {', '.join(table.unread)}")
    if table.unread_sheets:
        print(f"Only the first sheet is read, not: {', '.join(table.unread_sheets)}")


def _tell_refused(gathered: Gathered, table: Table) -> None:
    for number, reason in gathered.refused[:MOST_TOLD]:
        print(f"{table.called} {number}: refused: {reason}")
    if len(gathered.refused) > MOST_TOLD:
        print(f"… and {len(gathered.refused) - MOST_TOLD} more are refused")


def _tell(kind: Kind, source: Source, gathered: Gathered, done: Replaced, dry_run: bool) -> None:
    told = ", ".join(filter(None, (source.system, f"version {source.version}" if source.version else "")))
    change = done.change
    words = [f"{len(gathered.entries)} entries, {change.added} new, {change.changed} changed, {change.gone} gone"]
    words += [f"{number} {what}" for what, number in gathered.left_out.items()]
    words += [f"{len(gathered.refused)} refused"] if gathered.refused else []
    start = "Dry run, nothing is kept: " if dry_run else ""
    print(f"{start}{kind.title}{f' ({told})' if told else ''}: {'; '.join(words)}.")
    if kind.name == "procedures":
        defaults = f", {done.offered_local} of them local ones of the default set" if done.offered_local else ""
        print(f"The desk offers {done.offered} procedures{defaults}.")


def _advice(source: Source, done: Replaced, config: Config) -> Iterator[str]:
    """Say what is left to do, in the configuration above all."""
    key = _CONFIGURED.get(source.kind)
    if key and source.system != getattr(config.bus, key):
        yield f"Set bus.{key} to {source.system} in the configuration, or the codes go out under another system."
    configured: Mapping[str, str] = config.bus.versions
    if source.system and not source.version and source.system not in configured:
        yield "The version is not known: say --version, or set it under bus.versions; many regions ask for it."
    elif source.version and configured.get(source.system, source.version) != source.version:
        yield (
            f"bus.versions says {configured[source.system]} for {source.system}, and that is what goes out;"
            f" this is {source.version}."
        )
    if done.offered > MANY_OFFERED:
        yield f"{done.offered} procedures are much to choose from: --modality or --only leaves fewer."
    if source.kind == "procedures" and done.offered_local and done.offered > done.offered_local:
        yield "The region does not know the local codes; --replace-defaults takes them away."


def _progress() -> directory_row.Progress:
    """Give a line on the terminal that tells how far a long import is; none where nobody watches."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        return lambda done: None

    def show(done: int) -> None:
        if done % PROGRESS_EVERY == 0:
            print(f"\r{done} rows", end="", file=sys.stderr, flush=True)

    return show
