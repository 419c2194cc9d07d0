"""Imports worklist files at somebody's command: from a path to what became of each file.

Every file is a transaction of its own: what is right is put on the worklist, what is wrong is reported. Files that are
refused only for what the others of their request say are tried together in the end. Prints nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from broker.dicom.files import watched_folder, worklist_file
from broker.domain.actors import Actor
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Refused
from broker.domain.import_result import REFUSED, ImportResult, Progress, Reason, silent
from broker.domain.orders import ImportedItem
from broker.domain.patients.patient_match import similar_note
from broker.store.database import Store, StoreError
from broker.workflow.referrals import worklist_files
from broker.workflow.referrals.worklist_files import FileContent, SyncResult

_Seen = dict[tuple[str, str], list[tuple[str, ImportedItem]]]  # number -> the files that have it, with their items


@dataclass(frozen=True, slots=True)
class _Held:
    """A file that was refused alone, with the reason."""

    file: Path
    where: str
    content: FileContent
    reason: Reason


@dataclass(frozen=True, slots=True)
class WorklistImport:
    """How worklist files are imported.

    `dry_run` checks everything and keeps nothing; `send_to_bus` sends their orders to the region, too.
    """

    store: Store
    actor: Actor
    clinic: Clinic
    dry_run: bool = False
    send_to_bus: bool = False
    progress: Progress = silent

    def run(self, path: Path) -> Iterator[ImportResult]:
        """Import a worklist file, or all in a folder and its subfolders."""
        found, closed = _files(path) if path.is_dir() else ([path], [])
        for folder in closed:
            yield ImportResult(
                watched_folder.path_text(folder),
                REFUSED,
                reasons=("it cannot be read now: its script is writing, or access is denied",),
            )
        seen: _Seen = {}
        held: dict[tuple[object, ...], list[_Held]] = {}
        for done, file in enumerate(found, 1):
            where = file.relative_to(path) if path.is_dir() else Path(file.name)
            result = self._file(file, watched_folder.path_text(where), seen)
            if isinstance(result, _Held):
                held.setdefault(result.content.request, []).append(result)
            else:
                yield result
            self.progress(done, len(found))
        for files in held.values():
            yield from self._together(files)

    def _together(self, files: Sequence[_Held]) -> list[ImportResult]:
        """Import files that were refused one by one, and may together give all of their request another patient."""
        refused = [(each.file, each.where, each.content.digest, each.reason, each.content.items[0]) for each in files]
        if len(files) < 2:
            return [self._refused(*each) for each in refused]
        run = self.store.dry_run if self.dry_run else self.store.write
        try:
            taken = run(
                worklist_files.sync_together,
                [each.content for each in files],
                self.actor,
                self.clinic,
                send_to_bus=self.send_to_bus,
            )
        except Refused:  # each for its own reason
            return [self._refused(*each) for each in refused]
        return [
            self._taken(each.where, result, each.content.items[0]) for each, result in zip(files, taken, strict=True)
        ]

    def _file(self, file: Path, where: str, seen: _Seen) -> ImportResult | _Held:
        item, digest, content = None, "", None
        try:
            with file.open("rb") as opened:
                data = opened.read(worklist_file.MOST_BYTES + 1)
            digest = hashlib.sha256(data).hexdigest()
            items, digest = worklist_file.read_all(data)
            item, content = items[0], FileContent(items, watched_folder.key(file), digest)
            for each in items:
                _refuse_twice(each, where, seen)
            run = self.store.dry_run if self.dry_run else self.store.write
            taken = run(
                worklist_files.sync_file,
                items,
                watched_folder.key(file),
                digest,
                self.actor,
                self.clinic,
                send_to_bus=self.send_to_bus,
            )
        except OSError as error:
            return self._refused(
                file, where, digest, Reason("unreadable", f"it cannot be read: {error.strerror}"), item
            )
        except (worklist_file.BadWorklistFile, Refused) as error:
            if content and watched_folder.may_be_taken_with_others(error):
                return _Held(file, where, content, watched_folder.reason_of(error))
            return self._refused(file, where, digest, watched_folder.reason_of(error), item)
        except StoreError:
            raise  # the database, not the file
        except Exception as error:
            return self._refused(file, where, digest, watched_folder.unexpected(error), item)
        return self._taken(where, taken, item)

    def _taken(self, where: str, taken: SyncResult, item: ImportedItem) -> ImportResult:
        number = "" if self.dry_run else taken.accession_number
        notes = tuple(similar_note(each) for each in taken.similar)
        return ImportResult(where, taken.outcome, number or item.accession_number, notes=notes)

    def _refused(self, file: Path, where: str, digest: str, reason: Reason, item: ImportedItem | None) -> ImportResult:
        if not self.dry_run:
            patient = item.patient if item else None
            place = watched_folder.key(file)
            self.store.write(worklist_files.note_problem, place, digest, reason, self.actor, patient)
        return ImportResult(where, REFUSED, reasons=(reason.text,))


def is_worklist(path: Path) -> bool:
    """Return True if a path is of worklist files: a folder, a `.wl` file, or another one in DICOM's file format."""
    if path.is_dir() or path.suffix.lower() == worklist_file.SUFFIX:
        return True
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _files(top: Path) -> tuple[list[Path], list[Path]]:
    """Return the worklist files of a folder, and the folders whose files cannot be read now."""
    found: list[Path] = []
    closed: list[Path] = []
    for folder, names in watched_folder.folders(top, closed.append):
        with watched_folder.shared_lock(folder) as free:
            if free:
                found += [folder / name for name in names if (folder / name).is_file()]
            else:
                closed.append(folder)
    return found, closed


def _refuse_twice(item: ImportedItem, where: str, seen: _Seen) -> None:
    """Refuse an item whose numbers occur in an earlier file of the same import: a dry run cannot see it otherwise.

    Items of one patient may share an accession number: see `workflow.imported_orders`.
    """
    for label, value in (
        ("accession number", item.accession_number),
        ("Study Instance UID", item.study_instance_uid),
    ):
        earlier = seen.setdefault((label, value), []) if value else []
        for other, first in earlier:
            if other != where and not _may_share(first, item):
                raise Refused(f"the {label} {value} is in {other} too", "twice", value)
        earlier.append((where, item))


def _may_share(first: ImportedItem, item: ImportedItem) -> bool:
    """Return True if two items of one import may be two steps, or two procedures, of one accession number."""
    is_request = bool(item.accession_number) and item.accession_number == first.accession_number
    one, other = item.patient, first.patient
    is_person = (one.patient_id, one.name, one.birth_date) == (other.patient_id, other.name, other.birth_date)
    differ = item.study_instance_uid != first.study_instance_uid or item.sps_id != first.sps_id
    return is_request and is_person and (differ or (not item.sps_id and item.start != first.start))
