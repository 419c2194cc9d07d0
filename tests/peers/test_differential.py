"""Our worklist against DCMTK's wlmscpfs: the same items, the same queries, item by item and attribute by attribute.

Every intended difference stands in DIFFERENCES with its reason; any other one fails.
"""

from __future__ import annotations

import copy
import fnmatch
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import ModalityWorklistInformationFind  # type: ignore[attr-defined]

from broker.cli.main import main
from broker.dicom.scu import no_delay
from broker.dicom.server import DicomServer, PortSettings
from broker.domain.clinic.devices import Device
from broker.store.database import Store
from broker.store.tables import devices
from tests.peers import worklist_corpus as corpus
from tests.peers.wlmscpfs import wlmscpfs
from tests.support.factory import CLINIC

pytestmark = pytest.mark.slow

MADE_ITEMS, MADE_QUERIES = 60, 500
STEP = "ScheduledProcedureStepSequence."
Matches = dict[str, dict[str, str]]  # Scheduled Procedure Step ID -> path of keywords -> value


class Reply(NamedTuple):
    """How a server answered: its final status and its matches."""

    status: int
    matches: Matches


class KeyDifference(NamedTuple):
    """A key that wlmscpfs does not match as we do: it is asked without it, and its answer narrowed by hand."""

    keyword: str
    applies: Callable[[str], bool]  # the key's value
    reason: str


class ValueDifference(NamedTuple):
    """An intended difference of one attribute's value."""

    path: str
    applies: Callable[[str, str], bool]  # theirs, ours
    reason: str


def asks(key: str) -> bool:
    """Say whether a key asks for anything."""
    return key not in ("", "*")


RETURN_KEY_ONLY = (
    "wlmscpfs knows it as a return key only; PS3.4 K.6.1.2.2 lets it be matched, and a narrower answer is meant."
)
KEY_DIFFERENCES = (
    KeyDifference("ScheduledProcedureStepID", asks, RETURN_KEY_ONLY),
    KeyDifference("ScheduledProcedureStepLocation", asks, RETURN_KEY_ONLY),
    KeyDifference("ScheduledStationName", asks, RETURN_KEY_ONLY),
    KeyDifference("CommentsOnTheScheduledProcedureStep", asks, RETURN_KEY_ONLY),
    KeyDifference(
        "PatientID",
        lambda key: asks(key) and ("*" in key or "?" in key),
        "Single value matching is all that PS3.4 asks for; we take wildcards too, as devices send them.",
    ),
)
# Values that differ on purpose.
VALUE_DIFFERENCES = (
    ValueDifference(
        STEP + "ScheduledStationAETitle",
        lambda theirs, ours: sorted(ours.split("\\")) == sorted(theirs.split("\\")),
        "The station that is asked for, or the caller's own, is named first: some devices read no further.",
    ),
    ValueDifference(
        STEP + "ScheduledProcedureStepStatus",
        lambda theirs, ours: (theirs, ours) == ("", "SCHEDULED"),
        "Asked for the whole step, we tell its status too: we know it, a file does not.",
    ),
    ValueDifference("SpecificCharacterSet", lambda theirs, ours: ours == "", "Not sent where all letters are ASCII."),
)


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int, Path]]:
    """Both servers on the same files: (wlmscpfs's port, our port, the folder)."""
    folder = tmp_path_factory.mktemp("differential")
    files = folder / "OFFIS"
    files.mkdir()
    assert len(corpus.examples(files)) in (0, 10)
    corpus.items(files, MADE_ITEMS)
    config = folder / "config.yaml"
    config.write_text("clinic: {name: Клиника}\ndata: {directory: data}\n", encoding="utf-8")
    assert main(["import", str(files), "-c", str(config)]) == 0
    store = Store(folder / "data" / "worklist.sqlite")
    everything = Device("SCU", "test", "DX", own_only=False, days_before=100_000, days_after=100_000)
    store.write(lambda tx: devices.put(tx, everything))
    server = DicomServer(PortSettings(ae_title="OFFIS", address="127.0.0.1", port=0), store, CLINIC)
    server.start()
    try:
        with wlmscpfs(folder) as theirs:
            yield theirs, server.port, folder
    finally:
        server.stop()
        store.close()


def associate(port: int) -> Association:
    ae = AE(ae_title="SCU")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    ae.add_requested_context(ModalityWorklistInformationFind)
    assoc = ae.associate("127.0.0.1", port, ae_title="OFFIS", evt_handlers=no_delay.HANDLERS)
    assert assoc.is_established
    return assoc


def ask(assoc: Association, query: Dataset) -> Reply:
    matches: Matches = {}
    final = -1
    for status, identifier in assoc.send_c_find(query, ModalityWorklistInformationFind):
        final = int(status.Status)
        if identifier is not None:
            values = dict(flat(identifier))
            name = values.get(STEP + "ScheduledProcedureStepID") or str(sorted(values.items()))
            while name in matches:  # equal answers where the query asks for little
                name += "+"
            matches[name] = values
    return Reply(final, matches)


def flat(ds: Dataset, path: str = "") -> Iterator[tuple[str, str]]:
    for element in ds:
        where = path + element.keyword
        if element.VR == "SQ":
            for item in element.value or []:
                yield from flat(item, where + ".")
        elif isinstance(element.value, MultiValue):
            yield where, "\\".join(str(each).strip() for each in element.value)
        else:
            yield where, str(element.value if element.value is not None else "").strip()


def ask_them(assoc: Association, query: Dataset) -> Reply:
    """Ask wlmscpfs, and do by hand what it is known not to do."""
    asked, narrowed = copy.deepcopy(query), dict[str, str]()
    for part, path in ((asked, ""), *((item, STEP) for item in asked.get("ScheduledProcedureStepSequence") or [])):
        for each in KEY_DIFFERENCES:
            if each.keyword in part and each.applies(key := str(part[each.keyword].value or "")):
                narrowed[path + each.keyword] = key
                part[each.keyword].value = ""
    reply = ask(assoc, asked)
    matches = {
        name: values
        for name, values in reply.matches.items()
        if all(fnmatch.fnmatchcase(values.get(path, ""), key) and values.get(path) for path, key in narrowed.items())
    }
    return Reply(reply.status, matches)


def compare(query: Dataset, theirs: Reply, ours: Reply) -> list[str]:
    """Return every difference that no entry of the tables explains."""
    wrong = []
    if theirs.status != ours.status:
        wrong.append(f"status: theirs {theirs.status:04X}, ours {ours.status:04X}")
    if set(theirs.matches) != set(ours.matches):
        wrong.append(
            f"only theirs {sorted(set(theirs.matches) - set(ours.matches))},"
            f" only ours {sorted(set(ours.matches) - set(theirs.matches))}"
        )
    for name in set(theirs.matches) & set(ours.matches):
        one, other = theirs.matches[name], ours.matches[name]
        for path in sorted(set(one) | set(other)):
            values = one.get(path, ""), other.get(path, "")
            if values[0] != values[1] and not any(
                path == each.path and each.applies(*values) for each in VALUE_DIFFERENCES
            ):
                wrong.append(f"{name} {path}: theirs {values[0]!r}, ours {values[1]!r}")
    return wrong


def test_dcmtks_own_examples_are_answered_alike(peers: tuple[int, int, Path]) -> None:
    theirs, ours, folder = peers
    queries = corpus.example_queries(folder)
    if not queries:
        pytest.skip("the examples of the package dcmtk are not installed (documentation left out)")
    failures = []
    for name, query in queries:
        one, other = associate(theirs), associate(ours)
        failures += [f"{name}: {each}" for each in compare(query, ask_them(one, query), ask(other, query))]
        for assoc in (one, other):
            assoc.release()
    assert not failures, "\n".join(failures)


def test_generated_queries_are_answered_alike(peers: tuple[int, int, Path]) -> None:
    theirs, ours, _ = peers
    one, other = associate(theirs), associate(ours)
    failures, found = [], 0
    for name, query in corpus.queries(MADE_QUERIES):
        reply = ask_them(one, query)
        found += bool(reply.matches)
        failures += [f"{name}: {each}" for each in compare(query, reply, ask(other, query))]
    for assoc in (one, other):
        assoc.release()
    assert found > MADE_QUERIES / 4, "too few of the generated queries find anything to prove much"
    assert not failures, f"{len(failures)} differences\n" + "\n".join(failures[:40])


def test_every_intended_difference_has_its_reason() -> None:
    for each in (*KEY_DIFFERENCES, *VALUE_DIFFERENCES):
        assert re.fullmatch(r".{20,}\.", each.reason, re.DOTALL), each
