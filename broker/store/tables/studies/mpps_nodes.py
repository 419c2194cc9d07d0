"""How far modalities' messages have been forwarded to the nodes that want them, too.

The messages are stored anyway, in the order in which they were taken, so a node needs no queue of its own: it has a
position in them.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from broker.store.database import Reader, Tx


@dataclass(frozen=True, slots=True)
class NodePosition:
    """Where a node is: the messages up to `message_id` need no more sending.

    `sending_id` is the message that may have been sent already, without an answer.
    """

    ae_title: str
    message_id: int
    sending_id: int | None
    attempts: int
    problem: str


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message of a modality as it was taken; `operation` is N-CREATE or N-SET."""

    id: int
    sop_instance_uid: str
    operation: str
    ae_title: str  # of the device that has sent it
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many messages wait for a node, since when (UTC), and why the last attempt was in vain."""

    ae_title: str
    waiting: int
    oldest: datetime | None
    problem: str


def get(reader: Reader, ae_title: str) -> NodePosition | None:
    """Return the position of a node, or None for one that is new."""
    row = reader.one("SELECT * FROM mpps_node WHERE ae_title = ?", [ae_title])
    if row is None:
        return None
    return NodePosition(row["ae_title"], row["message_id"], row["sending_id"], row["attempts"], row["problem"])


def add(tx: Tx, ae_title: str) -> None:
    """Let a node begin here: it gets what comes from now on, not what was before."""
    tx.run(
        "INSERT INTO mpps_node (ae_title, message_id, at)"
        " VALUES (?, (SELECT coalesce(max(id), 0) FROM performed_step_message), ?) ON CONFLICT DO NOTHING",
        [ae_title, tx.now.isoformat()],
    )


def retain(tx: Tx, ae_titles: Collection[str]) -> list[tuple[str, int]]:
    """Forget all nodes but these; return each that is forgotten, and how many messages waited for it.

    One that is configured again begins where it is then, see `add`.
    """
    gone = [(each.ae_title, each.waiting) for each in backlogs(tx) if each.ae_title not in ae_titles]
    for ae_title, _ in gone:
        tx.run("DELETE FROM mpps_node WHERE ae_title = ?", [ae_title])
    return gone


def rewind(tx: Tx, ae_title: str, since: datetime) -> int | None:
    """Let a node get what was taken since an instant (UTC), too; return how many messages wait for it then.

    A node that is behind already stays where it is. Return None for one that is not known.
    """
    position = get(tx, ae_title)
    if position is None:
        return None
    before = int(tx.value("SELECT coalesce(max(id), 0) FROM performed_step_message WHERE at < ?", [since.isoformat()]))
    if before < position.message_id:
        advance(tx, ae_title, before)
    return next(each.waiting for each in backlogs(tx) if each.ae_title == ae_title)


# What the device was answered with success for, once; what came from the node itself is known there.
_FORWARDED = "m.id > n.message_id AND m.outcome = 'accepted' AND m.ae_title <> n.ae_title"


def following(reader: Reader, ae_title: str) -> StoredMessage | None:
    """Return the message that a node is to get next, or None."""
    row = reader.one(
        "SELECT m.id, m.sop_instance_uid, m.operation, m.ae_title, m.attributes FROM mpps_node n"
        f" JOIN performed_step_message m ON {_FORWARDED} WHERE n.ae_title = ? ORDER BY m.id LIMIT 1",
        [ae_title],
    )
    if row is None:
        return None
    attributes: dict[str, Any] = json.loads(row["attributes"])
    return StoredMessage(row["id"], row["sop_instance_uid"], row["operation"], row["ae_title"], attributes)


def begin(tx: Tx, ae_title: str, message_id: int) -> None:
    """Note that a message is about to be sent: from now on it may be known there."""
    tx.run("UPDATE mpps_node SET sending_id = ?, at = ? WHERE ae_title = ?", [message_id, tx.now.isoformat(), ae_title])


def was_not_taken(tx: Tx, ae_title: str) -> None:
    """Note that the node has answered that it did not take the message that was sent."""
    tx.run("UPDATE mpps_node SET sending_id = NULL WHERE ae_title = ?", [ae_title])


def advance(tx: Tx, ae_title: str, message_id: int) -> None:
    """Move a node behind a message: it has been taken, or never will be."""
    tx.run(
        "UPDATE mpps_node SET message_id = ?, sending_id = NULL, attempts = 0, problem = '', at = ? WHERE ae_title = ?",
        [message_id, tx.now.isoformat(), ae_title],
    )


def note_failure(tx: Tx, ae_title: str, problem: str) -> None:
    """Note that an attempt was in vain."""
    tx.run(
        "UPDATE mpps_node SET attempts = attempts + 1, problem = ?, at = ? WHERE ae_title = ?",
        [problem, tx.now.isoformat(), ae_title],
    )


def backlogs(reader: Reader) -> list[Backlog]:
    """Return what waits for each node, by AE title."""
    found = reader.rows(
        "SELECT n.ae_title, n.problem, count(m.id) AS waiting, min(m.at) AS oldest FROM mpps_node n"
        f" LEFT JOIN performed_step_message m ON {_FORWARDED} GROUP BY n.ae_title ORDER BY n.ae_title"
    )
    return [
        Backlog(
            row["ae_title"],
            row["waiting"],
            datetime.fromisoformat(row["oldest"]) if row["oldest"] else None,
            row["problem"],
        )
        for row in found
    ]
