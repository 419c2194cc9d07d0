"""The command line: the parser of all commands, and what an error means for the exit status."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from broker.cli import (
    accounts,
    clients,
    devices,
    dicom_tools,
    directories,
    doses,
    faults,
    imports,
    orders,
    practice_bus,
    reading,
    server,
)
from broker.cli.commands import Commands, Exit
from broker.config.loader import ConfigError
from broker.domain.errors import BrokerError
from broker.imports.order_json import BadJson
from broker.imports.table_rows import BadTable
from broker.store.database import StoreError

ABOUT = """\
Referrals, Modality Worklist, MPPS and the regional bus for a clinic without a RIS.

  try it:        worklist-broker demo
  set it up:     worklist-broker check -c config.yaml
                 worklist-broker account add orlova --name "Орлова Н. В." --role registrar
                 worklist-broker device add XRAY_14 --name Рентген --modality DX --room "каб. 14"
  run it:        worklist-broker run -c config.yaml
  ask a device:  worklist-broker echo XRAY_14 10.0.4.14 104

Commands that read have --json; commands that change something have --dry-run.
"""
_GROUPS = (server, accounts, devices, orders, imports, directories, clients, practice_bus, dicom_tools, reading, doses)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="worklist-broker", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = Commands(top.add_subparsers(title="commands", required=True, metavar="COMMAND"))
    for group in _GROUPS:
        group.register(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    args = parser().parse_args(argv)
    try:
        return int(args.call(args))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return Exit.CONFIG
    except StoreError as error:
        print(f"worklist-broker: {error}", file=sys.stderr)
        return Exit.DATA
    except BrokenPipeError:
        # The reader of our output has gone; without this the interpreter prints an error while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    except (BrokerError, BadJson, BadTable, OSError) as error:
        print(f"worklist-broker: {error}", file=sys.stderr)
        return Exit.FAILED
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception as error:  # a fault of ours; its message may hold a patient's name
        print(f"worklist-broker: {faults.sentence(error)}", file=sys.stderr)
        return Exit.FAILED
