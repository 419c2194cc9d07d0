"""An installation, opened for one command: its configuration, its database, and who changes it."""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Callable
from datetime import date, datetime
from typing import Concatenate, ParamSpec, Self, TypeVar

from broker.app.database import open_store
from broker.app.settings import clinic_of
from broker.config.loader import load
from broker.domain.actors import Actor, ActorKind
from broker.store.database import Store, Tx

T = TypeVar("T")
P = ParamSpec("P")


class CommandContext:
    """The configuration and database that a command's arguments name; close it, or use it in a `with` statement.

    A user who may read the configuration file is an administrator. With --dry-run nothing is stored.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        """Raise ConfigError, StoreError."""
        self.config = load(args.config)
        self.clinic = clinic_of(self.config)
        self.store: Store = open_store(self.config)
        self.actor = Actor(ActorKind.SYSTEM, "command line", getpass.getuser())
        self.dry_run: bool = getattr(args, "dry_run", False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.store.close()

    def change(self, use_case: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a use case in a transaction and return its result; in a dry run nothing of it is kept."""
        if self.dry_run:
            return self.store.dry_run(use_case, *args, **kwargs)
        return self.store.write(use_case, *args, **kwargs)

    def report(self, sentence: str) -> None:
        """Print what was done; in a dry run, what would have been."""
        print(f"{'Dry run, nothing is kept: ' if self.dry_run else ''}{sentence}")

    def local(self, instant: datetime) -> datetime:
        """Return an instant as the clinic's local time."""
        return instant.astimezone(self.clinic.zone)

    def today(self) -> date:
        """Return the clinic's day."""
        return self.local(self.store.clock()).date()
