"""How a command is declared: its name, its help, its effect on the data, and what its exit status means.

Every file of this folder registers its own commands with their arguments. A command that reads has --json, one that
changes something has --dry-run; it gets the option here, so that none can lack it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    _Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


class Exit(IntEnum):
    """Exit statuses. After CONFIG and DATA the service unit does not restart: a person has to look (sysexits.h)."""

    OK = 0
    FAILED = 1
    DATA = 74  # EX_IOERR
    CONFIG = 78  # EX_CONFIG
    INTERRUPTED = 130  # 128 + SIGINT


class Effect(StrEnum):
    """What a command does with the data."""

    READS = "reads"  # has --json
    CHANGES = "changes"  # has --dry-run
    SERVES = "serves"  # runs until it is stopped


class Commands:
    """The commands of the program, or of one group of it. Calls get the parsed arguments and return the exit status."""

    def __init__(self, subparsers: _Subparsers) -> None:
        self._subparsers = subparsers

    def group(self, name: str, title: str) -> Commands:
        """Add a group such as `account`, whose commands are `account add`, `account list`."""
        parser = self._subparsers.add_parser(name, help=title, description=_sentence(title))
        return Commands(parser.add_subparsers(title="commands", required=True, metavar="COMMAND"))

    def reading(
        self,
        name: str,
        call: Callable[[argparse.Namespace], int],
        title: str,
        epilog: str = "",
        *,
        config: bool = True,
        as_json: str = "print JSON",
    ) -> argparse.ArgumentParser:
        """Add a command that changes nothing; it has --json, and -c unless it needs no configuration."""
        parser = self._add(name, call, title, epilog, Effect.READS, config)
        parser.add_argument("--json", action="store_true", help=as_json)
        return parser

    def changing(
        self, name: str, call: Callable[[argparse.Namespace], int], title: str, epilog: str = ""
    ) -> argparse.ArgumentParser:
        """Add a command that changes the data; it has --dry-run and -c."""
        parser = self._add(name, call, title, epilog, Effect.CHANGES, config=True)
        parser.add_argument("--dry-run", action="store_true", help="check everything, keep nothing")
        return parser

    def serving(
        self,
        name: str,
        call: Callable[[argparse.Namespace], int],
        title: str,
        epilog: str = "",
        *,
        config: bool = False,
    ) -> argparse.ArgumentParser:
        """Add a command that runs until it is stopped."""
        return self._add(name, call, title, epilog, Effect.SERVES, config)

    def _add(
        self,
        name: str,
        call: Callable[[argparse.Namespace], int],
        title: str,
        epilog: str,
        effect: Effect,
        config: bool,
    ) -> argparse.ArgumentParser:
        parser = self._subparsers.add_parser(
            name,
            help=title,
            description=_sentence(title),
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(call=call, effect=effect)
        if config:
            parser.add_argument(
                "-c",
                "--config",
                type=Path,
                metavar="FILE",
                help="the configuration (default: ./config.yaml, then /etc/worklist-broker/config.yaml)",
            )
        return parser


def _sentence(title: str) -> str:
    return f"{title[0].upper()}{title[1:]}."
