"""The command line. `worklist-broker --help` teaches it; what the commands do stands in `commands.py` and `demo.py`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from broker.cli import clients, commands, devices
from broker.cli import directories as directory_commands
from broker.config.loader import ConfigError
from broker.demo import clinic
from broker.domain.actors import Role
from broker.domain.errors import BrokerError
from broker.imports.directories.kinds import KINDS
from broker.imports.order_json import BadJson
from broker.imports.spreadsheet import BadTable
from broker.store.database import StoreError
from broker.workflow.devices import CHARSETS, FALLBACKS

# sysexits.h: the service unit does not restart after these, a person has to look.
EX_CONFIG, EX_IOERR = 78, 74

ABOUT = """\
Referrals, Modality Worklist, MPPS and the regional bus for a clinic without a RIS.

  try it:        worklist-broker demo
  set it up:     worklist-broker check -c config.yaml
                 worklist-broker account add orlova --name "Орлова Н. В." --role registrar
                 worklist-broker device add XRAY_14 --name Рентген --modality DX --room "каб. 14"
  run it:        worklist-broker run -c config.yaml
  ask a device:  worklist-broker echo XRAY_14 10.0.4.14 104
"""
ORDER_ADD = """\
One referral, or a list of them:

  {"patient": {"name": "Кузнецова Марина Петровна", "birth_date": "1961-03-12", "sex": "F",
               "snils": "112-233-445 95"},
   "procedure": "WLB-FLG1", "stations": ["FLG_12"], "start": "2026-11-24T10:00",
   "referrer": "Зимин Андрей Павлович", "referrer_position": "терапевт", "diagnosis_code": "Z00.0",
   "priority": "routine", "submission_id": "any text that is new for every new referral"}

With a submission_id the call may be repeated: one referral comes of it.
"""
CLIENT_ADD = """\
A МИС that was bought later talks to this broker as to the regional bus: its address of the bus becomes
http://this-computer:8080/fhir, its token the one that is printed. What it orders waits at the desk, or goes straight
onto a worklist by bus.auto_accept; it asks for statuses and results as at the bus.

  worklist-broker client add mis
  worklist-broker client add mis --send-to-bus
  worklist-broker client add clinic-7 --organisation 3f2c1d7e-0a4b-4c59-9e1d-5b8f6a7c0d21
"""
DEVICE_ADD = """\
What is not given stays as it is; for a new device it is the default. A device that was heard of and
is not yet registered is approved. Examples:

  worklist-broker device add XRAY_14 --name Рентген --modality DX --room "каб. 14" --address 10.0.4.14
  worklist-broker device add XRAY_14 --charset latin --longest 32
"""
IMPORT = """\
Worklist files (.wl) are kept as DCMTK's wlmscpfs and Orthanc keep them: their scripts' numbers stay, whatever
they hold beyond our own fields is answered when a device asks for it. Imported again, they change what has changed.

A table of referrals has a row of column names, in Russian or English, and as separator ; , or a tab:

  ФИО;дата рождения;пол;СНИЛС;исследование;аппарат;дата;время;кто направил;диагноз;срочно
  Кузнецова Марина Петровна;12.03.1961;ж;112-233-445 95;WLB-FLG1;FLG_12;24.11.2026;10:00;Зимин А. П.;Z00.0;нет

Every row that is refused is told with the column and the reason; the others are registered.
"""

PRACTICE_BUS = """\
Two clinics may use it, each with a token of its own. Its page shows what each of them sent, what was refused and why,
every request, and has a form that asks for the next fault.

Faults that carry nothing out: 503, 408, 429, 401, html (a portal's page), redirect[=URL], drop (hung up).
Faults after the request was carried out: 504, timeout-after-commit[=SECONDS], slow[=SECONDS], duplicates,
out-of-order, endless[=SECONDS a byte], huge, deep, double-keys, nul, cp1251.

  worklist-broker practice-bus --fault 503:3 --fault slow=5@/Task/_search --fault timeout-after-commit=60@/
  worklist-broker practice-bus --latency 0.2 --fault-rate 0.1
"""

DIRECTORY_IMPORT = """\
FILE is an export of the Ministry's register of dictionaries (НСИ) or of the region's terminology service, or a table
of your own: CSV (UTF-8 or Windows-1251), XLSX or JSON. A kind's entries are replaced as a whole, or not at all; an
entry that is gone can no longer be chosen, and stays in the orders that have it.

  worklist-broker directory import 1.2.643.5.1.13.13.11.1005_2.27.csv --kind diagnoses
  worklist-broker directory import fsidi.xlsx --kind procedures --version 2.12 --modality DX,MG --replace-defaults
  worklist-broker directory import staff.csv --kind doctors --columns "name=Сотрудник,snils=СНИЛС сотрудника"

System and version are taken from a name such as the first one's; else --version tells it. Columns are found by their
names (ID, MKB_CODE, NAME, Код, Наименование, ФИО, СНИЛС, …); --columns FIELD=COLUMN says which one is meant.

Procedures: the desk offers those of --modality, without it those that the registered devices do (with DX only CR where
there is no DX device). The modality follows from the method (рентгенография: DX, компьютерная томография: CT, …);
--methods "рентгеноскопия=XA" says it otherwise. --only narrows the choice to these codes: "CODE,CODE", or a file with
one a line, which may be followed by the minutes that it takes.
"""
WHY = """\
Every rule and every key of what the device asked last is judged, with what to do where it fails.
Exit status: 0 when the device sees the order, 1 when it does not.
"""


def parser() -> argparse.ArgumentParser:
    """Make the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="worklist-broker", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = _command(verbs, "run", commands.run, "run the broker: screens, DICOM port, exchange with the bus")
    _config(run)
    check = _command(verbs, "check", commands.check, "check the configuration and report every mistake")
    _config(check)

    show = _command(verbs, "demo", clinic.run, "run everything on invented data, with a practice bus; no root needed")
    show.add_argument("--data", type=Path, metavar="DIR", help="keep the data here (default: a new temporary folder)")
    show.add_argument("--web-port", type=int, default=8080, metavar="N", help="port of the screens (default 8080)")
    show.add_argument("--dicom-port", type=int, default=11112, metavar="N", help="port of the worklist (default 11112)")
    show.add_argument("--bus-port", type=int, default=8090, metavar="N", help="port of the practice bus (default 8090)")
    show.add_argument("--seconds", type=float, metavar="N", help="stop by itself after so many seconds")

    account = _group(verbs, "account", "who may sign in")
    add = _command(account, "add", commands.account_add, "make an account")
    add.add_argument("login", help="2 to 32 small Latin letters, digits, dots or dashes")
    add.add_argument("--name", required=True, help="full name, as it stands in the audit trail")
    add.add_argument("--role", action="append", required=True, choices=[role.value for role in Role])
    add.add_argument("--snils", default="", help="of a doctor who signs reports: the region wants it")
    add.add_argument("--position", default="", help="as it stands under a report, e.g. врач-рентгенолог")
    _password(add)
    _config(add)
    _config(_command(account, "list", commands.account_list, "list the accounts"))
    disable = _command(account, "disable", commands.account_disable, "disable an account and end its sessions")
    disable.add_argument("login")
    disable.add_argument("--enable", action="store_true", help="enable it again")
    _config(disable)
    password = _command(account, "password", commands.account_password, "change a password and end the sessions")
    password.add_argument("login")
    _password(password)
    _config(password)

    device = _group(verbs, "device", "the modalities that may ask for the worklist")
    add = _command(
        device,
        "add",
        devices.device_add,
        "register a device, approve one that was learned, or change it",
        DEVICE_ADD,
    )
    _device_options(add)
    _config(add)
    _config(_command(device, "list", devices.device_list, "list the devices and when each was last heard"))

    why = _command(verbs, "why", devices.why, "tell why a device sees an order on its list, or does not", WHY)
    why.add_argument("accession", metavar="ACCESSION", help="the order's accession number")
    why.add_argument("ae_title", metavar="AE", help="the device's own AE title")
    _config(why)
    seen = _command(verbs, "worklist", devices.worklist, "print what a device sees on its list, in its own letters")
    seen.add_argument("ae_title", metavar="AE", help="the device's own AE title")
    seen.add_argument(
        "--date", type=date.fromisoformat, metavar="YYYY-MM-DD", help="one day (default: the days that it may see)"
    )
    seen.add_argument("--json", action="store_true", help="whole answers, in the DICOM JSON model")
    _config(seen)

    directory = _group(verbs, "directory", "dictionaries of codes and names: procedures, diagnoses, organisations, …")
    add = _command(
        directory, "import", directory_commands.directory_import, "import a directory from a file", DIRECTORY_IMPORT
    )
    _directory_options(add)
    _config(add)
    _config(_command(directory, "list", directory_commands.directory_list, "list what is imported"))
    shown = _command(directory, "show", directory_commands.directory_show, "search a directory by code or name")
    shown.add_argument("kind", metavar="KIND", choices=list(KINDS), help=", ".join(KINDS))
    shown.add_argument("text", metavar="TEXT", nargs="*", help="beginning of the code, or of words of the name")
    shown.add_argument("--limit", type=int, default=50, metavar="N", help="show so many at the most (default 50)")
    _config(shown)

    client = _group(verbs, "client", "programs that may order studies at our own /fhir, as a МИС of the clinic")
    add = _command(client, "add", clients.client_add, "register a program and print its token, once", CLIENT_ADD)
    add.add_argument("name", metavar="NAME", help="2 to 32 small Latin letters, digits, dots or dashes")
    add.add_argument(
        "--organisation", metavar="GUID", default="", help="the clinic that it works for (default: bus.organisation)"
    )
    add.add_argument(
        "--send-to-bus", action="store_true", help="send its orders to the region: it does not do so itself"
    )
    _config(add)
    _config(_command(client, "list", clients.client_list, "list the programs and when each was last heard"))
    renew = _command(client, "token", clients.client_token, "print a new token, once; the old one is void")
    renew.add_argument("name", metavar="NAME")
    _config(renew)
    disable = _command(client, "disable", clients.client_disable, "answer a program no more")
    disable.add_argument("name", metavar="NAME")
    disable.add_argument("--enable", action="store_true", help="answer it again")
    _config(disable)

    order = _group(verbs, "order", "referrals, for scripts: the same verbs as the screens")
    add = _command(order, "add", commands.order_add, "register referrals from JSON", ORDER_ADD)
    add.add_argument("--json", required=True, metavar="FILE", help="a file, or - for standard input")
    _config(add)
    listing = _command(order, "list", commands.order_list, "list the orders of a day")
    listing.add_argument("--date", type=date.fromisoformat, metavar="YYYY-MM-DD", help="the day (default: today)")
    listing.add_argument("--json", action="store_true", help="as JSON")
    _config(listing)

    brought = _command(verbs, "import", commands.import_path, "import worklist files, or a table of referrals", IMPORT)
    brought.add_argument("path", metavar="PATH", type=Path, help="a .wl file, a folder of them, a .csv or an .xlsx")
    brought.add_argument("--dry-run", action="store_true", help="check everything, keep nothing")
    brought.add_argument("--send-to-bus", action="store_true", help="tell the region of worklist files' orders, too")
    _config(brought)

    words = "run a practice bus: the region's, as it is described"
    _practice_options(_command(verbs, "practice-bus", commands.practice_bus, words, PRACTICE_BUS))

    echo = _command(verbs, "echo", commands.echo, "verify a device or archive by C-ECHO")
    echo.add_argument("ae_title", metavar="AE")
    echo.add_argument("host", metavar="HOST")
    echo.add_argument("port", metavar="PORT", type=int)
    echo.add_argument("--calling", default="WORKLIST", metavar="AE", help="our AE title (default WORKLIST)")

    words = "print the DICOM Conformance Statement of this installation, as Markdown"
    _config(_command(verbs, "conformance", commands.conformance, words))

    _command(verbs, "version", commands.version, "print the version")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; give the exit status."""
    args = parser().parse_args(argv)
    try:
        return int(args.call(args))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EX_CONFIG
    except StoreError as error:
        print(f"worklist-broker: {error}", file=sys.stderr)
        return EX_IOERR
    except BrokenPipeError:
        # Whoever read our output has gone; keep the interpreter from complaining about it while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return commands.FAILED
    except (BrokerError, BadJson, BadTable, OSError) as error:
        print(f"worklist-broker: {error}", file=sys.stderr)
        return commands.FAILED
    except KeyboardInterrupt:
        return 130


if TYPE_CHECKING:
    _Verbs = argparse._SubParsersAction[argparse.ArgumentParser]


def _command(
    verbs: _Verbs, name: str, call: Callable[[argparse.Namespace], int], words: str, more: str = ""
) -> argparse.ArgumentParser:
    made = verbs.add_parser(
        name,
        help=words,
        description=f"{words[0].upper()}{words[1:]}.",
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.set_defaults(call=call)
    return made


def _group(verbs: _Verbs, name: str, words: str) -> _Verbs:
    made = verbs.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
    return made.add_subparsers(title="commands", required=True, metavar="COMMAND")


def _directory_options(add: argparse.ArgumentParser) -> None:
    add.add_argument("file", metavar="FILE", type=Path, help="a .csv, .xlsx or .json file")
    add.add_argument("--kind", required=True, choices=list(KINDS), help="what it is a directory of")
    add.add_argument("--system", metavar="OID", default="", help="code system (default: by the file's name, or usual)")
    add.add_argument("--version", metavar="V", default="", help="version (default: by the file's name)")
    add.add_argument(
        "--columns", metavar="FIELD=COLUMN,…", action="append", default=[], help="which column is what; may be repeated"
    )
    add.add_argument("--modality", metavar="DX,CT,…", default="", help="procedures: offer these only; ALL: all")
    add.add_argument("--only", metavar="FILE|CODES", default="", help="procedures: offer these codes only")
    add.add_argument(
        "--methods", metavar="WORD=MODALITY,…", action="append", default=[], help="procedures: what a method is done by"
    )
    add.add_argument("--replace-defaults", action="store_true", help="procedures: take the local default set away")
    add.add_argument("--dry-run", action="store_true", help="check everything, keep nothing")


def _device_options(add: argparse.ArgumentParser) -> None:
    yes_no = argparse.BooleanOptionalAction
    add.add_argument("ae_title", metavar="AE", help="the device's own AE title")
    add.add_argument("--name", help="what people call it; needed for a new one")
    add.add_argument("--modality", help="DX, CR, MG, CT, US, ...; needed for a new one")
    add.add_argument("--room", help="where it stands")
    add.add_argument("--address", help="accept this AE title from these IP addresses only: one, or several with commas")
    add.add_argument("--charset", choices=CHARSETS, help="how it is answered; auto: as it asks (default auto)")
    add.add_argument(
        "--fallback-charset",
        choices=FALLBACKS,
        help="what 8-bit letters mean in a query that names no character set (default ISO_IR 144)",
    )
    add.add_argument(
        "--longest", type=int, metavar="N", help="characters that it shows of a text, 8 to 64 (default 64)"
    )
    add.add_argument(
        "--any-station",
        action=yes_no,
        help="without a station in its query it sees the items of every device, not only its own",
    )
    add.add_argument("--days-before", type=int, metavar="N", help="how many days items stay on its list (default 1)")
    add.add_argument(
        "--days-after", type=int, metavar="N", help="how far ahead it sees when its query gives no date (default 30)"
    )
    add.add_argument(
        "--closed-hours", type=int, metavar="N", help="completed items stay on its list for so long (default 0)"
    )
    add.add_argument("--strict-mpps", action=yes_no, help="refuse MPPS that breaks the standard instead of mending it")
    add.add_argument(
        "--mpps-hours", type=int, metavar="N", help="a study that runs longer is closed: it has died (default 12)"
    )


def _practice_options(bus: argparse.ArgumentParser) -> None:
    bus.add_argument("--address", default="127.0.0.1", help="where to listen (default 127.0.0.1)")
    bus.add_argument("--port", type=int, default=8090, metavar="N", help="port (default 8090)")
    bus.add_argument("--token", help="the token of the first clinic (default: the practice token)")
    bus.add_argument("--token-2", metavar="TOKEN", help="the token of the second clinic (default: its practice token)")
    bus.add_argument("--lenient", action="store_true", help="accept local codes and empty fields of the dictionaries")
    bus.add_argument("--data", type=Path, metavar="DIR", help="keep what it receives here (default: in memory)")
    bus.add_argument(
        "--status",
        action="append",
        default=[],
        metavar="STATUS",
        help="a status that $updatestatus takes besides cancelled, as in-progress; may be repeated",
    )
    bus.add_argument("--latency", type=float, default=0.0, metavar="S", help="every call takes so many seconds longer")
    bus.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="KIND[=VALUE][:TIMES][@PATH]",
        help="show a fault to the next requests; may be repeated",
    )
    bus.add_argument(
        "--fault-rate", type=float, default=0.0, metavar="P", help="each request fails with this probability, 0 to 1"
    )


def _config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        help="the configuration (default: ./config.yaml, then /etc/worklist-broker/config.yaml)",
    )


def _password(command: argparse.ArgumentParser) -> None:
    how = command.add_mutually_exclusive_group()
    how.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    how.add_argument("--generate", action="store_true", help="make a password and print it")


if __name__ == "__main__":
    sys.exit(main())
