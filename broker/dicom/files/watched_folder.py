"""Watches a folder of worklist files that scripts write: new, changed and removed files are imported.

Nothing is written, moved or deleted in it. File names may contain patients' names, so they are not logged.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import stat
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from broker.dicom.files import worklist_file
from broker.dicom.files.worklist_file import BadWorklistFile, Unreadable
from broker.domain.actors import Actor, ActorKind
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Refused
from broker.domain.import_result import Reason
from broker.domain.patients.people import Patient
from broker.store.database import Store, StoreError
from broker.store.tables import worklist_files as kept_files
from broker.workflow.referrals import worklist_files
from broker.workflow.referrals.worklist_files import FileContent, SyncOutcome

log = logging.getLogger(__name__)

ACTOR = Actor(ActorKind.SYSTEM, "worklist folder")
SETTLED = 2.0  # seconds without a change after which a file counts as complete
GONE_AFTER = 10.0  # seconds that a file must be missing: scripts delete and write it again
ALL_GONE_AFTER = 600.0  # the same if all of several files vanished together: perhaps the network share is gone
RETRY_AFTER = 60.0  # seconds until a refused file is tried again
DEEPEST = 4  # folders within the folder; wlmscpfs has one for each called AE title

Signature = tuple[int, int, int]  # modification time, size, inode


def folders(top: Path, blocked: Callable[[Path], None] = lambda path: None) -> Iterator[tuple[Path, list[str]]]:
    """Yield a folder and those within it, each with its worklist files' names; unreadable ones go to `blocked`."""
    depth = len(top.parts)
    for place, within, names in os.walk(top, onerror=lambda error: blocked(Path(str(error.filename)))):
        within[:] = sorted(within) if len(Path(place).parts) - depth < DEEPEST else []
        yield Path(place), [name for name in sorted(names) if name.lower().endswith(worklist_file.SUFFIX)]


def key(path: Path) -> str:
    """Return the text by which a file is stored: its name in the real path of its folder."""
    return path_text(Path(os.path.realpath(path.parent), path.name))


@contextmanager
def shared_lock(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder as wlmscpfs does while it reads; False while a script holds it for writing.

    DCMTK, wlistdb/README: a program that changes the files locks `lockfile` meanwhile.
    """
    try:
        descriptor = os.open(folder / "lockfile", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # Orthanc's folders have none
        yield True
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    except OSError:  # a file system without locks
        yield True
    else:
        yield True
    finally:
        os.close(descriptor)


@dataclass(slots=True)
class _FileState:
    """State of a file between two looks."""

    signature: Signature
    since: float
    done: bool = False  # this content was imported
    tried: int = 0
    problem: str = ""
    retry_at: float = 0.0
    held: FileContent | None = None  # refused alone for another file of its number: perhaps both are to change


@dataclass(slots=True)
class _FolderListing:
    """Files that a look finds, and folders whose files it skips."""

    files: dict[str, tuple[Path, Signature]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)

    def skips(self, name: str) -> bool:
        return any(name.startswith(folder + "/") for folder in self.closed)


class WorklistFolder:
    """Watches one folder; `look` is called every few seconds, by one thread at a time.

    `clock` gives seconds since 1970, for tests.
    """

    def __init__(self, folder: Path, store: Store, clinic: Clinic, *, clock: Callable[[], float] = time.time) -> None:
        self.folder = Path(os.path.realpath(folder))
        self._store, self._clinic, self._clock = store, clinic, clock
        self._seen: dict[str, _FileState] = {}
        self._known: dict[str, str] | None = None  # path -> digest of the imported files that are there
        self._missing: dict[str, float] = {}  # path -> since when
        self._problem = ""

    def look(self) -> Counter[str]:
        """Import what is new, changed or gone; return how often each outcome happened."""
        happened: Counter[str] = Counter()
        if self._known is None:
            with self._store.read() as reader:
                rows = kept_files.present_under(reader, path_text(self.folder))
            # A file with several scheduled steps has a row for each, the first of them the file's own digest.
            self._known = {kept_files.file_of(row.path): "" for row in rows} | {row.path: row.digest for row in rows}
            self._known = {path: known for path, known in self._known.items() if path == kept_files.file_of(path)}
        found = self._list()
        if found is None:
            return happened
        vanished = {
            name: digest for name, digest in self._known.items() if name not in found.files and not found.skips(name)
        }
        for name, (path, signature) in found.files.items():
            if outcome := self._import_if_ready(name, path, signature, vanished):
                happened[outcome] += 1
        happened.update(self._take_together(set(found.files), vanished))
        happened.update(self._withdraw_missing(vanished, found))
        self._seen = {name: seen for name, seen in self._seen.items() if name in found.files or found.skips(name)}
        return happened

    def _list(self) -> _FolderListing | None:
        """Return the files; None if the folder cannot be read, which must not look like an empty one."""
        found = _FolderListing()
        try:
            os.listdir(self.folder)
        except OSError as error:
            self._log_problem(f"cannot be read: {error.strerror}")
            return None
        self._log_problem("")
        for place, names in folders(self.folder, lambda place: found.closed.add(path_text(place))):
            with shared_lock(place) as free:
                if not free:
                    found.closed.add(path_text(place))
                    continue
                for path in (place / name for name in names):
                    try:
                        status = path.stat()
                    except OSError:  # it went meanwhile, or is a dangling link
                        continue
                    if stat.S_ISREG(status.st_mode):  # opening a pipe would block
                        found.files[path_text(path)] = path, (status.st_mtime_ns, status.st_size, status.st_ino)
        return found

    def _import_if_ready(self, name: str, path: Path, signature: Signature, vanished: dict[str, str]) -> str:
        """Import a file if it is new or changed and wholly written, or due for another try; return the outcome."""
        now = self._clock()
        seen = self._seen.get(name)
        if seen is None or seen.signature != signature:
            seen = self._seen[name] = _FileState(signature, now)
        settled = now - signature[0] / 1e9 >= SETTLED or now - seen.since >= SETTLED
        if seen.done or not settled or now < seen.retry_at:
            return ""
        with shared_lock(path.parent) as free:
            if not free:
                return ""
            try:
                with path.open("rb") as file:
                    data = file.read(worklist_file.MOST_BYTES + 1)
            except OSError as error:
                reason = Reason("unreadable", f"it cannot be read: {error.strerror}")
                return self._failed(name, seen, hashlib.sha256(b"").hexdigest(), reason)
        return self._take(name, data, seen, vanished)

    def _take(self, name: str, data: bytes, seen: _FileState, vanished: dict[str, str]) -> str:
        assert self._known is not None
        seen.tried, seen.held = seen.tried + 1, None
        digest = hashlib.sha256(data).hexdigest()
        item, content = None, None
        try:
            items, digest = worklist_file.read_all(data)
            item, content = items[0], FileContent(items, name, digest)
            taken = self._store.write(
                worklist_files.sync_file, items, name, digest, ACTOR, self._clinic, vanished=vanished
            )
        except Unreadable as error:
            # Perhaps it is still being written: the next look sees.
            return self._failed(name, seen, digest, Reason("unreadable", str(error))) if seen.tried > 1 else ""
        except (BadWorklistFile, Refused) as error:
            if may_be_taken_with_others(error):
                seen.held = content
            return self._failed(name, seen, digest, reason_of(error), item.patient if item else None)
        except StoreError:
            raise  # the database, not the file
        except Exception as error:
            return self._failed(name, seen, digest, unexpected(error), item.patient if item else None)
        seen.done, seen.problem = True, ""
        self._known[name] = digest
        if taken.outcome is not SyncOutcome.UNCHANGED:
            log.info("worklist file of %s: %s", taken.accession_number, taken.outcome)
        return taken.outcome

    def _take_together(self, present: set[str], vanished: dict[str, str]) -> Counter[str]:
        """Import files that were refused one by one, and together give all of their request another patient."""
        assert self._known is not None
        happened: Counter[str] = Counter()
        groups: dict[tuple[object, ...], list[str]] = {}
        for name, seen in self._seen.items():
            if seen.held and name in present:
                groups.setdefault(seen.held.request, []).append(name)
        for group in groups.values():
            contents = [held for name in group if (held := self._seen[name].held)]
            if len(group) < 2:
                continue
            try:
                taken = self._store.write(
                    worklist_files.sync_together, contents, ACTOR, self._clinic, vanished=vanished
                )
            except Refused:  # they stay refused, each with its reason
                continue
            for content, result in zip(contents, taken, strict=True):
                seen = self._seen[content.path]
                seen.done, seen.problem, seen.held = True, "", None
                self._known[content.path] = content.digest
                happened[result.outcome] += 1
                log.info("worklist file of %s: %s, with others", result.accession_number, result.outcome)
        return happened

    def _failed(self, name: str, seen: _FileState, digest: str, reason: Reason, patient: Patient | None = None) -> str:
        seen.retry_at = self._clock() + RETRY_AFTER
        if reason.text == seen.problem:
            return ""
        seen.problem = reason.text
        self._store.write(worklist_files.note_problem, name, digest, reason, ACTOR, patient)
        assert self._known is not None
        self._known[name] = digest
        log.warning(
            "worklist file not imported: %s (`worklist-broker import %s --dry-run` names it)",
            reason.text,
            self.folder,
        )
        return "refused"

    def _withdraw_missing(self, vanished: dict[str, str], found: _FolderListing) -> Counter[str]:
        """Withdraw the items of files that have been missing long enough; return how often each outcome happened."""
        assert self._known is not None
        happened: Counter[str] = Counter()
        now = self._clock()
        self._missing = {name: self._missing.get(name, now) for name in vanished}
        wait = ALL_GONE_AFTER if len(vanished) > 1 and not found.files else GONE_AFTER
        for name, since in self._missing.items():
            if now - since < wait:
                continue
            taken = self._store.write(worklist_files.withdraw, name, ACTOR, self._clinic)
            del self._known[name]
            if taken:
                happened[taken.outcome] += 1
                log.info("worklist file of %s is gone: %s", taken.accession_number, taken.outcome)
        return happened

    def _log_problem(self, problem: str) -> None:
        if problem and problem != self._problem:
            log.error("dicom.worklist_folder %s %s", self.folder, problem)
        self._problem = problem


def may_be_taken_with_others(error: Exception) -> bool:
    """Return True for a file that was refused for what other files of its request say: see `sync_together`."""
    return isinstance(error, Refused) and error.reason == "accession_number_taken"


def unexpected(error: Exception) -> Reason:
    """Return the reason of a refusal that nothing foresaw: a fault of ours, which costs its file only."""
    kind, trace = type(error).__name__, "".join(traceback.format_tb(error.__traceback__))
    log.error("a worklist file failed: %s\n%s", kind, trace)  # its message may hold a name
    return Reason("unexpected", f"it could not be read or kept: report it to the administrator ({kind})", about=kind)


def reason_of(error: BadWorklistFile | Refused) -> Reason:
    """Return why a file was refused."""
    if isinstance(error, Refused):
        return Reason(error.reason, error.detail, about=error.about)
    return Reason("unreadable", str(error))


def path_text(path: Path) -> str:
    """Return a path as text, bytes that are not UTF-8 as backslash escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
