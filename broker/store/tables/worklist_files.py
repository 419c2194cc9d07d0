"""The imported worklist files: their content, their order, and why a content was not imported."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum

from broker.store import rows
from broker.store.database import Reader, Row, Tx


class FileState(StrEnum):
    """Where a file stands."""

    PRESENT = "present"
    GONE = "gone"  # it vanished after its study had started, or after a person had cancelled its order
    WITHDRAWN = "withdrawn"  # it vanished, and its order was cancelled


@dataclass(frozen=True, slots=True)
class WorklistFile:
    """A file as it was last looked at.

    `problem` says why its content was not imported; the order, if any, is then that of an earlier content. Several
    files may be about one order: each about a step of it.
    """

    path: str
    digest: str
    order_id: int | None = None
    step_id: int | None = None
    problem: str = ""
    state: FileState = FileState.PRESENT


def get(reader: Reader, path: str) -> WorklistFile | None:
    """Return what is known of the file at this path, or None."""
    row = reader.one("SELECT * FROM worklist_file WHERE path = ?", [path])
    return _from_row(row) if row else None


_PART = "/#"  # no path of a file goes on like this behind another file's


def part(path: str, number: int) -> str:
    """Return the path under which a further scheduled step of a file is kept, from 2 on."""
    return f"{path}{_PART}{number:03}"


def file_of(path: str) -> str:
    """Return the path of the file that a scheduled step is of."""
    return path.partition(_PART)[0]


def of_file(reader: Reader, path: str) -> list[WorklistFile]:
    """Return what is known of a file, one for each of its scheduled steps."""
    # The character after "#" is "$".
    found = reader.rows(
        "SELECT * FROM worklist_file WHERE path = :path OR (path > :path || '/#' AND path < :path || '/$')"
        " ORDER BY path",
        {"path": path},
    )
    return [_from_row(row) for row in found]


def of_order(reader: Reader, order_id: int) -> WorklistFile | None:
    """Return the file that an order came from, or None; of several the one of its first step."""
    row = reader.one("SELECT * FROM worklist_file WHERE order_id = ? ORDER BY step_id LIMIT 1", [order_id])
    return _from_row(row) if row else None


def all_of_order(reader: Reader, order_id: int) -> list[WorklistFile]:
    """Return the files that an order came from, that of its first step first."""
    found = reader.rows("SELECT * FROM worklist_file WHERE order_id = ? ORDER BY step_id, path", [order_id])
    return [_from_row(row) for row in found]


def present_under(reader: Reader, folder: str) -> list[WorklistFile]:
    """Return the files below a folder that were there at the last look."""
    # The character after "/" is "0": a range of the primary key, also if the folder's name contains a "%".
    found = reader.rows(
        "SELECT * FROM worklist_file WHERE path > :folder || '/' AND path < :folder || '0' AND state = 'present'",
        {"folder": folder.rstrip("/")},
    )
    return [_from_row(row) for row in found]


def put(tx: Tx, file: WorklistFile) -> None:
    """Insert what is known of a file, or write it over what was known."""
    values = {**asdict(file), "at": tx.now.isoformat()}
    rows.upsert(tx, "worklist_file", values, key=["path"])


def remove(tx: Tx, path: str) -> None:
    """Forget a file: nothing of it is known here any more."""
    tx.run("DELETE FROM worklist_file WHERE path = ?", [path])


def _from_row(row: Row) -> WorklistFile:
    return WorklistFile(
        path=row["path"],
        digest=row["digest"],
        order_id=row["order_id"],
        step_id=row["step_id"],
        problem=row["problem"],
        state=FileState(row["state"]),
    )
