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

from broker.domain.patients import latin_typing, names
from broker.domain.patients.people import PersonName
from broker.store.schema import name_keys
from broker.store.schema.migrate import UnusableSchema, migrate

log = logging.getLogger(__name__)

T = TypeVar("T")
P = ParamSpec("P")
Row = dict[str, Any]
Params = Sequence[Any] | dict[str, Any]

MAX_BATCH = 64  # callers that may share one commit
BUSY_TIMEOUT = 10.0  # seconds to wait for another process, e.g. the command line beside the service
# Seconds that a background change waits for others to share its commit: one commit costs as much as a hundred changes.
BACKGROUND_WAIT = 0.05
MAX_IDLE_READERS = 8  # idle read connections that stay open
# Counts the transactions that changed anything, except background ones. The counter is in the database, so that changes
# by other processes count too.
_COUNT_REVISION = (
    "INSERT INTO counter (name, value) VALUES ('revision', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"
)


class StoreError(Exception):
    """The database cannot be used; the message says why and what to do."""


class Reader:
    """Reads rows from one consistent snapshot of the database."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def rows(self, sql: str, params: Params = ()) -> list[Row]:
        """Run a query and return all of its rows as column name -> value; no statement stays open."""
        cursor = self._conn.execute(sql, cast(Any, params))
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def one(self, sql: str, params: Params = ()) -> Row | None:
        """Run a query and return its first row, or None if it finds no row."""
        found = self.rows(sql, params)
        return found[0] if found else None

    def value(self, sql: str, params: Params = ()) -> Any:
        """Run a query and return the first column of its first row, or None if it finds no row."""
        row = self.one(sql, params)
        return next(iter(row.values())) if row else None


class Tx(Reader):
    """A transaction on the writer thread. It reads its own changes; `now` is its instant, an aware UTC datetime."""

    def __init__(self, conn: Connection, now: datetime) -> None:
        super().__init__(conn)
        self.now = now
        self.notified = False

    def run(self, sql: str, params: Params = ()) -> int:
        """Run a statement; return the rowid of the row that it inserted, 0 if it inserted none."""
        cursor = self._conn.execute(sql, cast(Any, params))
        return cursor.lastrowid or 0

    def change(self, sql: str, params: Params = ()) -> int:
        """Run a statement; return the number of rows that it changed."""
        return self._conn.execute(sql, cast(Any, params)).rowcount

    def notify(self) -> None:
        """Have the listeners of `Store.subscribe` called after the commit: something that screens show has changed."""
        self.notified = True


class Store:
    """One SQLite database, opened and migrated.

    `clock` returns the time as an aware UTC datetime.
    """

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Open or create the database at `path` and bring its schema up to date.

        Raise StoreError, whose text says what to do, if the file cannot be opened or its schema is not ours.
        """
        self.path = path
        self.clock = clock
        self._listeners: list[Callable[[], None]] = []
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._idle: list[Connection] = []
        self._idle_lock = threading.Lock()
        self._number_conn: Connection | None = None  # reads single numbers, such as the revision
        self._number_lock = threading.Lock()
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

    # `store.write(referrals.register, draft, actor, clinic)`: a use case is a plain function of a transaction, and the
    # arguments after it are passed on to it. Another use case calls it directly, within its own transaction.

    def write(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn(tx, *args, **kwargs)` in a transaction and return its result after the commit.

        An exception from `fn` rolls back what `fn` did, not what others did in the same commit, and is raised here.
        Raise StoreError if the commit fails or the database is closed, RuntimeError on the writer thread.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("a transaction cannot wait for another one")
        return self.submit(fn, *args, **kwargs).result()

    def dry_run(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn` as `write` does and return its result, then roll back everything that it did."""

        def run_and_roll_back(tx: Tx) -> None:
            raise _DryRun(fn(tx, *args, **kwargs))

        try:
            self.write(run_and_roll_back)
        except _DryRun as done:
            return cast(T, done.result)
        raise AssertionError("a dry run ends by its exception")

    def submit(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue `fn` as `write` does; return a future that is done after the commit. Raise StoreError if closed."""
        return self._queue(lambda tx: fn(tx, *args, **kwargs), background=False)

    def submit_background(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue `fn` as `submit` does, for a commit that may come up to BACKGROUND_WAIT seconds later.

        For changes that no caller waits for. They do not count in `revision` unless `fn` calls `tx.notify()`.
        """
        return self._queue(lambda tx: fn(tx, *args, **kwargs), background=True)

    def _queue(self, fn: Callable[[Tx], T], *, background: bool) -> Future[T]:
        if self._closed:
            raise StoreError("the database is closed")
        job = _Job(fn, background)
        job.future.set_running_or_notify_cancel()  # from now on it cannot be cancelled
        self._jobs.put(job)
        return cast("Future[T]", job.future)

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every commit in which `tx.notify()` was called.

        It runs on the writer thread, so it must not block.
        """
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
            wait_until = time.monotonic() + BACKGROUND_WAIT if job.background else 0.0
            while len(batch) < MAX_BATCH:
                try:
                    more = self._jobs.get(timeout=max(wait_until - time.monotonic(), 0) if wait_until else 0)
                except queue.Empty:
                    break
                wait_until = wait_until if more is None or more.background else 0.0
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
        """Run a batch in one transaction; every job gets its own result after the commit."""
        notified = revised = False
        try:
            with self._exclusive():
                conn.execute("BEGIN IMMEDIATE")
                for job in batch:
                    tx, before = Tx(conn, self.clock()), conn.total_changes
                    if job.run(conn, tx, alone=len(batch) == 1):
                        notified = notified or tx.notified
                        revised = revised or tx.notified or (not job.background and conn.total_changes != before)
                if revised:
                    conn.execute(_COUNT_REVISION)
                if conn.in_transaction:
                    conn.execute("COMMIT")
        except Exception as error:
            log.error("a transaction could not be committed: %s", error)
            try:
                if conn.in_transaction:
                    conn.execute("ROLLBACK")
            except sqlite3.Error as rollback_error:
                log.error("it could not be rolled back either: %s", rollback_error)
            for job in batch:
                job.future.set_exception(StoreError(f"the database refused the change: {error}"))
            return
        for job in batch:
            job.finish()
        if notified:
            for listener in list(self._listeners):
                try:
                    listener()
                except Exception:  # an error in a screen must not end the writer thread
                    log.exception("a listener failed")

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Hold the lock under which alone a process writes or checkpoints.

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
        """Yield a Reader of one consistent snapshot.

        End it soon, and never hold it across a network call: the WAL grows meanwhile.
        """
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
                keep = not self._closed and len(self._idle) < MAX_IDLE_READERS
                if keep:
                    self._idle.append(conn)
            if not keep:
                conn.close()

    def revision(self) -> int:
        """Return a number that grows with every commit, of any process, that may change what screens show.

        Cheap enough to be asked every second.
        """
        return self.number("SELECT value FROM counter WHERE name = 'revision'")

    def number(self, sql: str) -> int:
        """Return the one number that `sql` selects, as it is now; 0 if it finds no row. Raise StoreError if closed."""
        with self._number_lock:
            if self._closed:
                raise StoreError("the database is closed")
            if self._number_conn is None:
                self._number_conn = _connect(self.path)
            # All rows, so that no statement stays open and keeps an old snapshot.
            found = self._number_conn.execute(sql).fetchall()
        return int(found[0][0]) if found else 0

    # ---- closing ----

    def close(self) -> None:
        """Commit what is queued, then close; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        with self._idle_lock:
            idle, self._idle = self._idle, []
        for conn in idle:
            conn.close()
        with self._number_lock:
            if self._number_conn is not None:
                self._number_conn.close()
        self._jobs.put(None)
        self._thread.join()
        while not self._jobs.empty():  # submitted while this was closing
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
    # Connections move between threads (never used by two at once), hence check_same_thread.
    conn = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    conn.create_function("has_word", 2, latin_typing.has_word, deterministic=True)
    conn.create_function("is_newborn", 1, lambda name: names.is_newborn(PersonName(name)), deterministic=True)
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
        name_keys.refresh(conn)
    except UnusableSchema as error:
        raise StoreError(f"the database {path} {error}") from error
