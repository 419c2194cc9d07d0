"""What a migration leaves: the schema as a text, and databases of every version as dumps.

Run it (`python -m tests.store.schema.snapshot`) after a migration was added. The dumps of earlier versions are never
made again: they are what released programs left, and what has to be migrated.
"""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory

from broker.domain.actors import Role
from broker.domain.orders import Order
from broker.domain.reading.reports import Report
from broker.domain.studies.performed import Dose, PerformedChange, PerformedSeries, PerformedState, StepReference
from broker.store.database import Store, Tx
from broker.store.schema.migrate import migrations
from broker.store.tables import accounts, outbox
from broker.store.tables.reading import reports
from broker.store.tables.studies import performed
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps
from tests.support import factory
from tests.support.clock import Clock

GOLDEN = Path(__file__).parent / "golden.sql"
_REBUILD = "INSERT INTO NAME (NAME) VALUES ('rebuild');"
VERSIONS = Path(__file__).parent / "versions"


def schema(conn: sqlite3.Connection) -> str:
    """Return everything that a schema consists of as one script, by name."""
    found = conn.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type DESC, name")
    return "".join(f"{sql};\n\n" for (sql,) in found if "sqlite_sequence" not in sql)


def dump(path: Path) -> str:
    """Return a database as a script that makes it again; indexes of words are made anew from what they index."""
    conn = sqlite3.connect(path)
    try:
        virtual = [
            (name, sql)
            for name, sql in conn.execute("SELECT name, sql FROM sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL TABLE%'")
        ]
        lines = [
            line
            for line in conn.iterdump()
            if not any(re.search(rf"['\" ]{name}['\"_ ]", line.split("\n")[0]) for name, _ in virtual)
            or line.startswith(("CREATE TRIGGER", "CREATE VIEW"))
        ]
        for name, sql in virtual:
            lines += [f"{sql};", _REBUILD.replace("NAME", name)]
        return "\n".join(lines) + "\n"
    finally:
        conn.close()


def fill(store: Store) -> None:
    """Do some of what a clinic does, so that there are rows to migrate."""
    order = store.write(referrals.register, factory.draft(), factory.REGISTRAR, factory.CLINIC)
    reference = StepReference(order.study_instance_uid, order.accession_number, referenced_study_uids=("1.2.3",))
    step = factory.performed(
        "1.2.3.4",
        reference,
        patient_name="Кузнецова^Марина",
        patient_birth_date="19610312",
        series=(PerformedSeries("1.2.3.4.5", "Колено", images=2),),
        doses=(Dose("EntranceDoseInmGy", 0.4, "mGy"),),
    )
    store.write(performed_steps.start, step, factory.message("1"), factory.XRAY, factory.CLINIC)
    done = PerformedChange(PerformedState.COMPLETED, images=2)
    store.write(
        performed_steps.change,
        performed_steps.ChangeRequest("1.2.3.4", done, factory.message("2")),
        factory.XRAY,
        factory.CLINIC,
    )
    store.write(lambda tx: _rest(tx, order))


def _rest(tx: Tx, order: Order) -> None:
    accounts.add(tx, "orlova", "Орлова Н. В.", frozenset({Role.REGISTRAR}), "hash")
    reports.put(tx, Report(order.id, conclusion="Гонартроз"))
    outbox.set_references(tx, order.id, {"task": "t1"})
    assert performed.references(tx, 1)


def main() -> None:
    """Write the golden schema, and a dump of the newest version unless there is one."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "worklist.sqlite"
        store = factory.open_store(path, clock=Clock())
        fill(store)
        store.close()
        conn = sqlite3.connect(path)
        GOLDEN.write_text(schema(conn), encoding="utf-8")
        conn.close()
        version = VERSIONS / f"{migrations()[-1].name}.sql"
        if not version.exists():
            version.write_text(dump(path), encoding="utf-8")


if __name__ == "__main__":
    main()
