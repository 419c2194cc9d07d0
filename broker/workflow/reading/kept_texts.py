"""Texts that did not become a report: what a doctor had written when another one went on. Only its doctor sees it.

A text is a mapping of the fields of `ReportText`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from broker.domain.actors import Actor
from broker.security.permissions import Permission, permit
from broker.store.database import Reader, Tx
from broker.store.tables import accounts

MOST = 5  # of one study and doctor


@dataclass(frozen=True, slots=True)
class KeptText:
    """A text that is kept for its doctor, and since when (UTC)."""

    text: Mapping[str, Any]
    at: datetime


def of_order(reader: Reader, order_id: int, actor: Actor) -> tuple[KeptText, ...]:
    """Return the texts that are kept for somebody, the oldest first."""
    account = accounts.by_login(reader, actor.name)
    found = accounts.load_draft(reader, account.id, _name(order_id)) if account else None
    texts = found[0]["texts"] if found else []
    return tuple(KeptText(each["text"], datetime.fromisoformat(each["at"])) for each in texts)


def keep(tx: Tx, order_id: int, login: str, text: Mapping[str, Any]) -> None:
    """Keep a text for a doctor, as part of a use case; the oldest ones make room."""
    account = accounts.by_login(tx, login)
    if account is None:
        return
    found = accounts.load_draft(tx, account.id, _name(order_id))
    before = [each for each in (found[0]["texts"] if found else []) if each["text"] != dict(text)]
    texts = [*before, {"text": dict(text), "at": tx.now.isoformat()}][-MOST:]
    accounts.save_draft(tx, account.id, _name(order_id), {"texts": texts})


def set_aside(tx: Tx, order_id: int, text: Mapping[str, Any], actor: Actor) -> None:
    """Keep a text of one's own that could not be saved, because another writes. Raise Forbidden."""
    permit(tx, actor, Permission.REPORT)
    keep(tx, order_id, actor.name, text)
    tx.notify()


def drop(tx: Tx, order_id: int, actor: Actor) -> None:
    """Delete one's own texts that were kept. Raise Forbidden."""
    permit(tx, actor, Permission.REPORT)
    if account := accounts.by_login(tx, actor.name):
        accounts.drop_draft(tx, account.id, _name(order_id))
        tx.notify()


def _name(order_id: int) -> str:
    return f"report {order_id}"
