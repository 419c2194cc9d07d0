"""The embedded database: one thread that writes, a pool of connections that read.

`write` runs a function in a transaction on the writer thread and returns after the commit; callers that wait at the
same time share one commit, each in a savepoint of its own. Nothing here knows what the tables mean.
"""

from __future__ import annotations

import fcntl
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from broker.store.schema.migrate import UnusableSchema, migrate

log = logging.getLogger(__name__)

T = TypeVar("T")
P = ParamSpec("P")
Row = dict[str, Any]
Params = Sequence[Any] | dict[str, Any]

BATCH = 64  # callers that share one commit at the most
BUSY_TIMEOUT = 10.0  # seconds to wait for another process, e.g. the command line beside the service
# Seconds that a background change waits for company: a commit costs the disk as much as a hundred do.
BACKGROUND_WAIT = 0.05
READERS_KEPT = 8  # idle read connections kept open
# Counts the transactions that changed anything, but for background ones; kept with the data, so that other processes
# count too.
_MOVE = "INSERT INTO counter (name, value) VALUES ('revision', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"


class StoreError(Exception):
    """The database cannot be used; the message says why and what to do."""


class Reader:
    """Rows from one consistent snapshot of the database."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def rows(self, sql: str, params: Params = ()) -> list[Row]:
        """Run a query and give all of its rows, by the names of their columns; it leaves no statement open."""
        cursor = self._conn.execute(sql, cast(Any, params))
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def one(self, sql: str, params: Params = ()) -> Row | None:
        """Run a query and return its first row, or None."""
        found = self.rows(sql, params)
        return found[0] if found else None

    def value(self, sql: str, params: Params = ()) -> Any:
        """Run a query and give the first column of its first row, or None."""
        row = self.one(sql, params)
        return next(iter(row.values())) if row else None


class Tx(Reader):
    """A transaction on the writer thread: it reads what it has written, and knows its own instant (`now`, UTC)."""

    def __init__(self, conn: Connection, now: datetime) -> None:
        super().__init__(conn)
        self.now = now
        self.notified = False

    def run(self, sql: str, params: Params = ()) -> int:
        """Run a statement; return the id of the row that it inserted."""
        cursor = self._conn.execute(sql, cast(Any, params))
        return cursor.lastrowid or 0

    def change(self, sql: str, params: Params = ()) -> int:
        """Run a statement; return the number of rows that it changed."""
        return self._conn.execute(sql, cast(Any, params)).rowcount

    def notify(self) -> None:
        """Tell the screens, after the commit, that something they show has changed."""
        self.notified = True


class Store:
    """One SQLite database, opened and migrated.

    `clock` gives aware UTC datetimes; tests bring their own.
    """

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Open or create the database at `path`; raise StoreError with a clear text where that is impossible."""
        self.path = path
        self.clock = clock
        self._listeners: list[Callable[[], None]] = []
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._idle: list[Connection] = []
        self._idle_lock = threading.Lock()
        self._watch: Connection | None = None  # reads the revision
        self._watch_lock = threading.Lock()
        self._closed = False
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Created before SQLite does, so that its mode never depends on the umask: patients' names are inside.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._lock_fd = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreError(f"cannot open the database {path}: {error.strerror or error}") from error
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._write_forever, args=(started,), name="store-writer", daemon=True)
        self._thread.start()
        try:
            started.result()
        except sqlite3.DatabaseError as error:
            os.close(self._lock_fd)
            raise StoreError(
                f"cannot use the database {path}: {error}. It was left as it is; if it is damaged, "
                "put a copy from the backup directory in its place"
            ) from error
        except BaseException:
            os.close(self._lock_fd)
            raise

    # ---- writing ----

    # `store.write(referrals.register, draft, actor, clinic)`: a use case is a plain function of a transaction, and
    # whatever follows it here is passed on to it. Inside another use case it is just called.

    def write(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn(tx, *args, **kwargs)` in a transaction and return its result after the commit.

        Whatever it raises rolls back what it did, and nothing else.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("a transaction may not wait for another one")
        return self.submit(fn, *args, **kwargs).result()

    def dry_run(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn` as `write` does and return its result, but keep nothing of what it did."""

        def undone(tx: Tx) -> None:
            raise _DryRun(fn(tx, *args, **kwargs))

        try:
            self.write(undone)
        except _DryRun as done:
            return cast(T, done.result)
        raise AssertionError("a dry run ends by its exception")

    def submit(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue `fn` as `write` does, without waiting for the commit."""
        return self._queue(lambda tx: fn(tx, *args, **kwargs), background=False)

    def submit_background(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue `fn` as `submit` does, for a commit that may come a moment later.

        For changes that no caller waits for and no screen shows, unless `fn` notifies of a change (see `revision`).
        """
        return self._queue(lambda tx: fn(tx, *args, **kwargs), background=True)

    def _queue(self, fn: Callable[[Tx], T], *, background: bool) -> Future[T]:
        if self._closed:
            raise StoreError("the database is closed")
        job = _Job(fn, background)
        job.future.set_running_or_notify_cancel()  # from now on nobody can cancel it
        self._jobs.put(job)
        return cast("Future[T]", job.future)

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every commit that notified a change; on the writer thread, so it must not block."""
        self._listeners.append(listener)

    def unsubscribe(self, listener: Callable[[], None]) -> None:
        """Stop calling `listener`."""
        self._listeners.remove(listener)

    def _write_forever(self, started: Future[None]) -> None:
        try:
            with self._exclusive():
                conn = _connect(self.path)
                _prepare(conn, self.path)
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(None)
        while (job := self._jobs.get()) is not None:
            batch = [job]
            stop = False
            patience = time.monotonic() + BACKGROUND_WAIT if job.background else 0.0
            while len(batch) < BATCH:
                try:
                    more = self._jobs.get(timeout=max(patience - time.monotonic(), 0) if patience else 0)
                except queue.Empty:
                    break
                patience = patience if more is None or more.background else 0.0
                if more is None:
                    stop = True
                    break
                batch.append(more)
            self._commit(conn, batch)
            if stop:
                break
        with self._exclusive():
            conn.close()

    def _commit(self, conn: Connection, batch: list[_Job]) -> None:
        """Run a batch in one transaction; every job learns its own result, after the commit."""
        notified = moved = False
        try:
            with self._exclusive():
                conn.execute("BEGIN IMMEDIATE")
                for job in batch:
                    tx, before = Tx(conn, self.clock()), conn.total_changes
                    if job.run(conn, tx, alone=len(batch) == 1):
                        notified = notified or tx.notified
                        moved = moved or tx.notified or (not job.background and conn.total_changes != before)
                if moved:
                    conn.execute(_MOVE)
                if conn.in_transaction:
                    conn.execute("COMMIT")
        except Exception as error:
            log.error("a transaction could not be committed: %s", error)
            try:
                if conn.in_transaction:
                    conn.execute("ROLLBACK")
            except sqlite3.Error as again:
                log.error("nor could it be rolled back: %s", again)
            for job in batch:
                job.future.set_exception(StoreError(f"the database refused the change: {error}"))
            return
        for job in batch:
            job.finish()
        if notified:
            for listener in list(self._listeners):
                try:
                    listener()
                except Exception:  # a screen's fault must not end the one thread that writes
                    log.exception("a listener failed")

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keep other processes from writing or checkpointing meanwhile.

        SQLite before 3.51.3 can damage a WAL that one connection checkpoints while another one restarts it; inside
        the process there is one writing connection, and between processes (the command line) this lock.
        """
        fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    # ---- reading ----

    @contextmanager
    def read(self) -> Iterator[Reader]:
        """Return one consistent snapshot; keep it short and never hold it across the network."""
        with self._idle_lock:
            conn = self._idle.pop() if self._idle else None
        if conn is None:
            conn = _connect(self.path)
            conn.execute("PRAGMA query_only=ON")
        conn.execute("BEGIN")
        try:
            yield Reader(conn)
        finally:
            conn.execute("ROLLBACK")
            with self._idle_lock:
                keep = not self._closed and len(self._idle) < READERS_KEPT
                if keep:
                    self._idle.append(conn)
            if not keep:
                conn.close()

    def revision(self) -> int:
        """Return a number that grows with every commit, of any process, that may change what screens show; cheap."""
        return self.number("SELECT value FROM counter WHERE name = 'revision'")

    def number(self, sql: str) -> int:
        """Read one number as it is now, by a query that finds at most one row; 0 where it finds none. Cheap."""
        with self._watch_lock:
            if self._closed:
                raise StoreError("the database is closed")
            if self._watch is None:
                self._watch = _connect(self.path)
            # All rows, so that no statement stays open and keeps an old snapshot.
            found = self._watch.execute(sql).fetchall()
        return int(found[0][0]) if found else 0

    # ---- closing ----

    def close(self) -> None:
        """Finish what is queued, then close; closing twice does no harm."""
        if self._closed:
            return
        self._closed = True
        with self._idle_lock:
            idle, self._idle = self._idle, []
        for conn in idle:
            conn.close()
        with self._watch_lock:
            if self._watch is not None:
                self._watch.close()
        self._jobs.put(None)
        self._thread.join()
        while not self._jobs.empty():  # a submit that overtook the closing
            job = self._jobs.get()
            if job is not None:
                job.future.set_exception(StoreError("the database is closed"))
        os.close(self._lock_fd)


class _DryRun(Exception):
    """Rolls a transaction back that went well, and carries its result out."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


def heartbeat(tx: Tx) -> None:
    """Write one row for the sake of writing: it shows that the database takes changes, and fails where it does not."""
    tx.run(
        "INSERT INTO counter (name, value) VALUES ('heartbeat', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"
    )


class _Job:
    """A caller's function and what became of it."""

    def __init__(self, fn: Callable[[Tx], Any], background: bool) -> None:
        self.fn, self.background = fn, background
        self.future: Future[Any] = Future()
        self._result: Any = None
        self._error: Exception | None = None

    def run(self, conn: Connection, tx: Tx, *, alone: bool) -> bool:
        """Run inside a savepoint, or `alone` in its transaction; return True if it may be committed."""
        if not alone:
            conn.execute("SAVEPOINT job")
        try:
            self._result = self.fn(tx)
            if not conn.in_transaction:
                raise sqlite3.OperationalError("the transaction was given up")  # and the function has not noticed
        except Exception as error:
            self._error = error
            if not conn.in_transaction:  # SQLite has given up the whole transaction: disk full, I/O error
                raise
            conn.execute("ROLLBACK" if alone else "ROLLBACK TO job")
            if not alone:
                conn.execute("RELEASE job")
            return False
        if not alone:
            conn.execute("RELEASE job")
        return True

    def finish(self) -> None:
        if self._error is not None:
            self.future.set_exception(self._error)
        else:
            self.future.set_result(self._result)


def _connect(path: Path) -> Connection:
    # Connections wander between threads (never used by two at once), hence check_same_thread.
    conn = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    conn.execute("PRAGMA foreign_keys=ON")
    conn.execute("PRAGMA recursive_triggers=ON")  # else what REPLACE removes is missing from the change log
    return conn


def _prepare(conn: Connection, path: Path) -> None:
    """Set the durable mode and bring the schema up to date."""
    mode = conn.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(f"the database {path} cannot use a write-ahead log (is it on a network share?)")
    conn.execute("PRAGMA synchronous=FULL")
    try:
        migrate(conn)
    except UnusableSchema as error:
        raise StoreError(f"the database {path} {error}") from error
