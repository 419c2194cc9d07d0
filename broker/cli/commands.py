"""What the commands do. Each takes the parsed arguments and gives the exit status; it prints, the parts do not."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import secrets
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from broker import __version__
from broker.app import application, clock
from broker.app.settings import archive_address, clinic_of, port_settings
from broker.config.configuration import Config
from broker.config.loader import load
from broker.dicom import conformance as statement
from broker.dicom.scu import echo as pacs
from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.errors import BrokerError
from broker.imports import order_json
from broker.imports import run as importing
from broker.store.database import Store
from broker.store.queries import access, schedule
from broker.workflow import accounts as staff
from broker.workflow import referrals

if TYPE_CHECKING:
    from broker.bus.practice import PracticeServer

OK, FAILED = 0, 1
LONG_IMPORT = 200  # items; a shorter one is over before anybody wonders


def run(args: argparse.Namespace) -> int:
    """Run the broker until it is told to stop."""
    config = load(args.config)
    application.set_up_logging(config.log.level)
    # NiceGUI reads it when it is imported; what it keeps there is nothing of ours, and nobody else's to read.
    os.environ.setdefault("NICEGUI_STORAGE_PATH", str(config.data.directory / "nicegui"))
    os.umask(0o077)
    application.Application(config).run()
    return OK


def check(args: argparse.Namespace) -> int:
    """Check the configuration."""
    config = load(args.config)
    print(f"The configuration is right. Clinic: {config.clinic.name}. Data: {config.data.directory}")
    return OK


def version(args: argparse.Namespace) -> int:
    """Print the version."""
    print(f"worklist-broker {__version__}")
    return OK


def echo(args: argparse.Namespace) -> int:
    """Verify an application entity by C-ECHO."""
    result = pacs.echo(args.ae_title, args.host, args.port, args.calling)
    print(result.words)
    return OK if result.ok else FAILED


def conformance(args: argparse.Namespace) -> int:
    """Print the DICOM Conformance Statement."""
    config = load(args.config)
    print(statement.write(port_settings(config.dicom), archive_address(config), __version__), end="")
    return OK


# ---- accounts ----


def account_add(args: argparse.Namespace) -> int:
    """Make an account."""
    with open_house(args.config) as house:
        password = _password(args)
        roles = frozenset(Role(role) for role in args.role)
        account = staff.new_account(args.login, args.name, roles, password, snils=args.snils, position=args.position)
        house.store.write(staff.add_account, account, house.actor)
    print(f"Account {args.login.casefold()} is ready.")
    if args.generate:
        print(f"Password: {password}")
    return OK


def account_list(args: argparse.Namespace) -> int:
    """List the accounts."""
    with open_house(args.config) as house, house.store.read() as reader:
        for account in access.accounts(reader):
            state = "disabled" if account.disabled else "active"
            print(f"{account.login}\t{state}\t{','.join(sorted(account.roles))}\t{account.full_name}")
    return OK


def account_disable(args: argparse.Namespace) -> int:
    """Disable an account, or enable it again."""
    with open_house(args.config) as house:
        house.store.write(staff.disable_account, args.login, house.actor, disabled=not args.enable)
    print(f"Account {args.login} is {'enabled' if args.enable else 'disabled; its sessions have ended'}.")
    return OK


def account_password(args: argparse.Namespace) -> int:
    """Change a password."""
    with open_house(args.config) as house:
        password = _password(args)
        house.store.write(staff.set_password, args.login, staff.new_password(password), house.actor)
    print(f"The password of {args.login} is changed; its sessions have ended.")
    if args.generate:
        print(f"Password: {password}")
    return OK


# ---- orders ----


def order_add(args: argparse.Namespace) -> int:
    """Register referrals from JSON; all of a file's forms are checked before the first one is registered."""
    drafts = order_json.read(sys.stdin.buffer.read() if args.json == "-" else Path(args.json).read_bytes())
    status = OK
    with open_house(args.config) as house:
        for number, draft in enumerate(drafts, 1):
            try:
                order = house.store.write(referrals.register, draft, house.actor, clinic_of(house.config))
            except BrokerError as error:
                print(f"referral {number}: {error}", file=sys.stderr)
                status = FAILED
                continue
            print(json.dumps({"accession_number": order.accession_number, "order_id": order.id}))
    return status


def order_list(args: argparse.Namespace) -> int:
    """List the orders of a day."""
    with open_house(args.config) as house:
        on = args.date or house.store.clock().astimezone(house.config.clinic.zone).date()
        with house.store.read() as reader:
            visits = schedule.day(reader, on)
    if args.json:
        print(json.dumps([order_json.write(visit) for visit in visits], ensure_ascii=False, indent=1))
        return OK
    for visit in visits:
        order = visit.order
        print(
            f"{visit.start:%H:%M}\t{order.accession_number}\t{order.state}\t{','.join(visit.station_ae_titles)}"
            f"\t{order.patient.name}\t{order.procedure_name}"
        )
    return OK


# ---- import ----


def import_path(args: argparse.Namespace) -> int:
    """Import worklist files, or a table of referrals; say what became of each item."""
    worklist = importing.is_worklist(args.path)
    table = None if worklist else importing.read_table(args.path)
    if table and table.unknown:
        print(f"Columns that are not known and not read: {', '.join(table.unknown)}")
    if table and table.unread_sheets:
        print(f"Only the first sheet is read, not: {', '.join(table.unread_sheets)}")
    counted: Counter[str] = Counter()
    with open_house(args.config) as house:
        clinic = clinic_of(house.config)
        if args.send_to_bus and not clinic.sends_to_bus:
            raise BrokerError("there is no bus to tell: bus.url is not set")
        job = importing.Import(house.store, house.actor, clinic, args.dry_run, args.send_to_bus, _progress())
        for each in job.table(table) if table else job.worklist(args.path):
            counted[each.outcome] += 1
            words = [each.outcome, each.accession_number, "; ".join(each.reasons)]
            print(f"{each.where}: {': '.join(word for word in words if word)}")
    if not counted:
        print(f"{args.path}: there is nothing to import")
        return FAILED
    summary = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counted.items()))
    print(f"{'Dry run, nothing is kept: ' if args.dry_run else ''}{summary}.")
    return FAILED if counted[importing.REFUSED] else OK


def _progress() -> importing.Progress:
    """Give a line on the terminal that tells how far a long import is; none where nobody watches."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        return lambda done, total: None

    def show(done: int, total: int) -> None:
        if total >= LONG_IMPORT and (done % 50 == 0 or done == total):
            print(f"\r{done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return show


# ---- the practice bus ----


def practice_bus(args: argparse.Namespace) -> int:
    """Run the practice bus."""
    from broker.bus import practice

    try:
        bus = practice.PracticeBus(
            args.token or practice.PRACTICE_TOKEN,
            directory=args.data,
            token_2=args.token_2 or practice.PRACTICE_TOKEN_2,
            statuses=["cancelled", *args.status],
            lenient=args.lenient,
            latency=args.latency,
            fault_rate=args.fault_rate,
            clock=clock.utc_now,
        )
        for text in args.fault:
            bus.add_fault(*practice.read_fault(text))
    except ValueError as error:
        raise BrokerError(str(error)) from None
    application.set_up_logging("info")
    practice.serve(bus, args.address, args.port, lambda server: _announce(args, server))
    return OK


def _announce(args: argparse.Namespace, server: PracticeServer) -> None:
    """Tell what a clinic's configuration needs; a token that was given is known to who gave it."""
    from broker.bus import practice

    print(f"Practice bus: {server.url}\nWhat it has: {server.page_url}  (Ctrl-C ends it)")
    for number, organisation, given, known in (
        (1, practice.PRACTICE_ORGANISATION, args.token, practice.PRACTICE_TOKEN),
        (2, practice.PRACTICE_ORGANISATION_2, args.token_2, practice.PRACTICE_TOKEN_2),
    ):
        print(f"Clinic {number}: organisation {organisation}, token {'as given' if given else known}")
    sys.stdout.flush()


# ---- what they share ----


class _House:
    """The database of the configuration, opened for one command; whoever may read the file is its administrator."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.store: Store = application.open_store(config)
        self.actor = Actor(ActorKind.SYSTEM, "command line", getpass.getuser())

    def __enter__(self) -> _House:
        return self

    def __exit__(self, *exc: object) -> None:
        self.store.close()


def open_house(path: Path | None) -> _House:
    """Open the database of a configuration for one command."""
    return _House(load(path))


def _password(args: argparse.Namespace) -> str:
    if args.generate:
        return secrets.token_urlsafe(9)
    if args.password_stdin:
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password: ")
    if password != getpass.getpass("Again: "):
        raise BrokerError("the two passwords differ")
    return password
