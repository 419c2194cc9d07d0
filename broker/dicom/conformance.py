"""The DICOM Conformance Statement (PS3.2), written from the tables that the services use, so that it cannot drift."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.datadict import dictionary_description
from pydicom.tag import Tag
from pydicom.uid import UID

from broker.dicom import services
from broker.dicom.codec import charset
from broker.dicom.mpps.rules import RULES
from broker.dicom.receiving.service import SOP_CLASSES as STORED
from broker.dicom.scu.archive import DAYS as ARCHIVE_DAYS
from broker.dicom.scu.archive import LONGEST, SCAN_EVERY, TIMEOUT, ArchiveAddress
from broker.dicom.scu.archive_query import MATCHED, NO_IMAGES, SERIES_KEYS, SOP_CLASS, STUDY_KEYS
from broker.dicom.scu.mpps_forwarder import FIRST_WAIT, LONGEST_WAIT, MppsNode
from broker.dicom.scu.mpps_forwarder import TIMEOUT as NODE_TIMEOUT
from broker.dicom.scu.report_document import SOP_CLASS as DOCUMENT
from broker.dicom.server import PortSettings
from broker.dicom.statuses import MAY_NO_LONGER_BE_UPDATED, Status
from broker.dicom.worklist import service
from broker.dicom.worklist.attributes import STEP, TOP, Attribute, Match
from broker.domain.studies.step_rules import Rule

# What each status means in each service, beside its name.
_FIND = {
    Status.SUCCESS: "Matching is complete.",
    Status.PENDING: "A match; the item has whatever was asked for, and all keys were matched.",
    Status.PENDING_WARNING: "A match; some optional key is not supported for this item, to be matched or returned.",
    Status.CANCEL: "The device sent C-CANCEL.",
    Status.OUT_OF_RESOURCES: f"More than {service.MOST} items match; the first ones were sent. Ask for less.",
    Status.IDENTIFIER_DOES_NOT_MATCH: "A key cannot be understood; Offending Element and Error Comment name it.",
    Status.SOP_CLASS_NOT_SUPPORTED: "The request names another SOP class than its presentation context.",
    Status.UNABLE_TO_PROCESS: "The identifier cannot be read to its end, or the worklist cannot be read.",
}
_STEP = {
    Status.ATTRIBUTES_NOT_SUPPORTED: "N-GET only: some of the requested optional attributes are not supported.",
    Status.NO_SUCH_ATTRIBUTE: "An N-SET sets an attribute that the step was not created with.",
    Status.INVALID_SOP_INSTANCE: "The SOP Instance UID is not a UID.",
    Status.SUCCESS: "The message has been committed to the database, now or before (an identical repetition).",
    Status.INVALID_ATTRIBUTE_VALUE: "The operation does not allow this status, or a fixed value was changed.",
    Status.PROCESSING_FAILURE: (
        f"The step has ended (Error ID {MAY_NO_LONGER_BE_UPDATED:04X}), or the message cannot be read."
    ),
    Status.DUPLICATE_SOP_INSTANCE: "The SOP Instance UID exists with another content.",
    Status.NO_SUCH_SOP_INSTANCE: "No such step was created here; the message is stored for people to see.",
    Status.NO_SUCH_SOP_CLASS: "The request names a SOP class that is not offered here.",
    Status.CLASS_INSTANCE_CONFLICT: "The request names another SOP class than its presentation context.",
    Status.MISSING_ATTRIBUTE: "A mandatory attribute is missing; the Error Comment names it.",
    Status.MISSING_ATTRIBUTE_VALUE: "A mandatory attribute is empty; the Error Comment names it.",
    Status.UNRECOGNISED_OPERATION: "The SOP class has no such operation; for any SOP class.",
    Status.RESOURCE_LIMITATION: "The database refuses changes (disk full): send again later.",
}
_STORE = {
    Status.SUCCESS: "The object has been committed to the database, now or before (the same object again).",
    Status.OUT_OF_RESOURCES: "The dataset is longer than is taken here, or the database refuses changes.",
    Status.UNABLE_TO_PROCESS: "The dataset cannot be read, or another object with this SOP Instance UID is here.",
    Status.INVALID_SOP_INSTANCE: "The SOP Instance UID is not a UID.",
    Status.SOP_CLASS_NOT_SUPPORTED: "The request names another SOP class than its presentation context.",
}
_INVENTED = ("ISO_IR_192", "UTF-8", "ISO IR 144", "windows-1251", "Not Supplied", "ISO 2022 IR 6")
_MATCHING = {
    Match.NONE: "returned, not matched",
    Match.IGNORED: "returned; a value in the query is not a key",
    Match.TEXT: "single value, wildcard",
    Match.NAME: "single value, wildcard; without case, by component",
    Match.UID: "list of UID",
    Match.DATE: "single value, range",
    Match.WINDOW: "single value, range; date and time together are one interval",
    Match.NUMBER: "single value, wildcard; our number or the region's",
    Match.PATIENT_ID: "single value, wildcard; the card's number, or that of a card merged into it",
    Match.STATION: "single value, wildcard, or a list of these; any of the item's stations",
    Match.LIST: "single value, wildcard, or a list of these",
    Match.CODE: "sequence: Code Value and Coding Scheme Designator, single value or wildcard",
    Match.SEQUENCE: "sequence",
}


def write(
    dicom: PortSettings,
    archive: ArchiveAddress | None,
    version: str,
    *,
    nodes: Sequence[MppsNode] = (),
    sends_reports: bool = False,
) -> str:
    """Return the statement of this installation as Markdown.

    `version` is the program's, MPPS goes on to `nodes`; `sends_reports`: signed reports go to the archive.
    """
    return "\n".join(_statement(dicom, archive, version, nodes, sends_reports=sends_reports)) + "\n"


def _statement(
    dicom: PortSettings,
    archive: ArchiveAddress | None,
    version: str,
    nodes: Sequence[MppsNode],
    *,
    sends_reports: bool,
) -> Iterator[str]:
    requested = [*services.REQUESTED, *([services.PERFORMED_STEP] if nodes else [])]
    with_archive = "Yes" if archive else "Without an archive set, no"
    yield f"# DICOM Conformance Statement: Worklist Broker {version}"
    yield ""
    yield from _section(
        "1 Overview",
        "Worklist Broker is a Modality Worklist and Modality Performed Procedure Step manager for a clinic without a"
        " RIS. Registrars enter referrals, modalities find them in their worklist and report what was performed.",
    )
    yield from _table(
        ("Network service", "SOP Class UID", "User (SCU)", "Provider (SCP)"),
        [
            *((UID(uid).name, uid, "Yes" if uid in requested else "No", "Yes") for uid in services.SOP_CLASSES),
            *(
                (
                    UID(uid).name,
                    uid,
                    "Yes" if sends_reports and uid == DOCUMENT else "No",
                    "Yes" if dicom.storage else "Switched off here, no",
                )
                for uid in STORED
            ),
            (UID(services.AVAILABILITY).name, services.AVAILABILITY, "No", with_archive),
            (UID(SOP_CLASS).name, SOP_CLASS, with_archive, "No"),
        ],
    )
    yield from _section("2 Implementation model", "One application entity on one process.")
    yield from _section("2.1 Application entity")
    yield from _table(
        ("Property", "Value"),
        [
            ("AE title", ", ".join((dicom.ae_title, *dicom.lists))),
            ("Address and port", f"{dicom.address}:{dicom.port}"),
            ("Application context", "1.2.840.10008.3.1.1.1"),
            ("Implementation Class UID", services.IMPLEMENTATION_CLASS_UID),
            ("Implementation Version Name", services.IMPLEMENTATION_VERSION_NAME),
            ("Maximum PDU length received", f"{dicom.limits.max_pdu} bytes"),
            ("Simultaneous associations", str(dicom.limits.associations)),
            ("Asynchronous operations", "none"),
            ("Idle association closed after", f"{dicom.limits.idle:g} s"),
            ("Association negotiation limited to", f"{dicom.limits.association:g} s"),
            ("A message limited to", f"{dicom.limits.message:g} s"),
        ],
    )
    yield from _section("3 Association acceptance")
    yield from _section(
        "3.1 Policy",
        "The called AE title must be one of ours"
        + ("; each but the first one stands for the list of some stations. The" if dicom.lists else ". The")
        + " calling AE title must be registered here; where addresses are registered"
        " with it, it must call from one of them. Others are rejected (permanent, service user, calling AE title not"
        " recognised) and recorded for an administrator to approve"
        + ("; this installation serves them meanwhile." if dicom.learns_unknown_devices else "."),
    )
    yield from _section("3.2 Presentation contexts", "Every SOP class is accepted in:")
    yield from _table(("Transfer syntax", "UID"), [(UID(uid).name, uid) for uid in services.TRANSFER_SYNTAXES])
    yield from _worklist()
    yield from _performed()
    yield from _section(
        "5.3 Instance Availability Notification (PS3.4 Annex R)",
        "Accepted where an archive is set. An N-CREATE is a hint: the archive is asked for the study within seconds."
        " Nothing is believed of it, and N-CREATE is answered with success whatever study it names.",
    )
    yield from _storage(dicom)
    yield from _section("6 Association initiation")
    yield from _section(
        "6.1 Verification",
        "C-ECHO is sent to our own port, to any AE by the command `echo`"
        + (f", and to the archive {archive.ae_title} for the health report." if archive else "."),
    )
    yield from _archive(archive)
    whom = ", ".join(f"{each.ae_title} at {each.host}:{each.port}" for each in nodes)
    yield from _section(
        "6.3 Modality Performed Procedure Step (PS3.4 Annex F)",
        f"Messages that were answered with success are forwarded ({whom or 'no node is configured here'}), in the order"
        " in which they came, with all of their attributes, in ISO_IR 192 where they have other letters than ASCII."
        f" Without an association or an answer within {NODE_TIMEOUT:g} s, or after {Status.RESOURCE_LIMITATION:04X},"
        f" a message is sent again after {FIRST_WAIT:g} to {LONGEST_WAIT:g} s; 0110 and 0111 then mean that it was"
        " taken before. After any other failure the next message follows."
        " What a node has sent itself is not sent back.",
    )
    yield from _reports(archive if sends_reports else None)
    yield from _section("7 Character sets")
    yield from _section(
        "7.1 Queries",
        "Any character set that PS3.3 C.12.1.1.2 defines. Terms that devices invent are read as what they mean, for"
        " example " + ", ".join(f"`{term}` as {charset.intended(term) or 'none'}" for term in _INVENTED) + ". Letters"
        " without a character set are read as UTF-8 where they can be, else in the set that is set for the device.",
    )
    yield from _section(
        "7.2 Answers",
        "ISO_IR 192 (UTF-8), ISO_IR 144, 100, 101, 109, 126, 148, ISO 2022 IR 144, 100, 101, 109, 126, 148 (with"
        " ISO 2022 IR 6 as second value, and no escape sequences), or Latin letters without a character set, as is"
        " set for the device; by default in what its query names, if that has Cyrillic letters. Characters that"
        " the set lacks are replaced by similar ones, Cyrillic letters by their transliteration where the set has"
        " none.",
    )
    yield from _section(
        "8 Security",
        (
            "Associations"
            if dicom.tls_certificate is None
            else f"Associations over TLS 1.2 and later are accepted at port"
            f" {dicom.tls_port}"
            + (", from devices with a certificate" if dicom.tls_ca else "")
            + "; those at the other port"
        )
        + " are not encrypted; keep the port inside the clinic's network. The archive (6.2, 6.4) is spoken to over TLS"
        " 1.2 and later where the configuration names the authority of its certificate. Callers are"
        " checked by AE title and, where registered, address. Every change is written to an"
        " append-only audit trail. Patients' names are"
        " not written into logs.",
    )


def _worklist() -> Iterator[str]:
    yield from _section(
        "4 Modality Worklist (PS3.4 Annex K)",
        "Items are offered while their step is SCHEDULED or STARTED, within the days set for the device; a device that"
        " names no station gets the items of its own AE title unless set otherwise. Attributes that are asked for and"
        " supported come back, empty where there is no value. An imported item is also asked for whatever else it"
        " holds, private attributes by who reserved their block; for an item without such a key the key is not matched,"
        " and FF01 says so. Patient's Names match in Cyrillic without case (ё as е),"
        " and by their Latin transliterations. A name of question marks only matches no item.",
    )
    yield from _section("4.1 Attributes")
    rows = [_attribute(each, "") for each in TOP if each.match is not Match.SEQUENCE]
    rows.append(("Scheduled Procedure Step Sequence", "(0040,0100)", "sequence", "1"))
    rows += [_attribute(each, "> ") for each in STEP]
    yield from _table(("Attribute", "Tag", "Matching", "Return type"), rows)
    yield from _section("4.2 Statuses")
    yield from _statuses(_FIND)


def _performed() -> Iterator[str]:
    yield from _section(
        "5 Modality Performed Procedure Step (PS3.4 Annex F)",
        "A step is linked to the order that it names by Study Instance UID, Scheduled Procedure Step ID, Accession"
        " Number or Requested Procedure ID; one that names none is stored, and a person links it. A"
        " device that is not set to be"
        " strict may leave out mandatory attributes; what can be used is used and the rest noted. An identical"
        " repetition of a message is answered as the first time.",
    )
    yield from _section("5.1 Attributes", "Final is what must be known when the step has ended.")
    yield from _table(("Attribute", "Tag", "N-CREATE", "N-SET", "Final"), list(_rules(RULES, "")))
    yield from _section("5.2 Statuses")
    yield from _statuses(_STEP)


def _storage(dicom: PortSettings) -> Iterator[str]:
    limits = dicom.storage
    taken = (
        f"Datasets of up to {limits.report} bytes are taken, of encapsulated documents up to {limits.document}."
        if limits
        else "This installation does not offer it."
    )
    yield from _section(
        "5.4 Storage (PS3.4 Annex B)",
        "Structured reports and encapsulated documents are stored as they came; images are not offered. An object is"
        " joined with an order by Study Instance UID, then by Accession Number, if its patient does not contradict the"
        " order's; any other is kept for a person to decide. Of dose reports (PS3.16 TID 10001 and 10011, also as"
        f" Enhanced SR) the doses are read, of each irradiation event once. {taken}",
    )
    yield from _statuses(_STORE)


def _reports(address: ArchiveAddress | None) -> Iterator[str]:
    whom = f"{address.ae_title} at {address.host}:{address.port}" if address else "switched off here"
    yield from _section(
        "6.4 Storage of encapsulated PDF (PS3.4 Annex B, PS3.3 A.45.1)",
        f"A signed report is stored in the archive ({whom}) as an instance of the study that its images are in, with"
        " Modality DOC, in ISO_IR 192, Explicit or Implicit VR Little Endian. Over the same association the archive is"
        " asked for the study first, as in 6.2: nothing is stored before it knows the study, and Patient ID, Issuer,"
        " Study ID, Study Date and Time and Accession Number are those of its answer. A version of a report has the"
        " same SOP Instance UID whenever it is stored, each has its own Instance Number, and those of an order are one"
        " series.",
        "0000, Bxxx and 0111 mean that it is there. After A7xx, 0110, 0213, and without an association or an answer"
        f" within {TIMEOUT:g} s it is stored again later. Any other status waits for a person.",
    )


def _archive(address: ArchiveAddress | None) -> Iterator[str]:
    whom = f"{address.ae_title} at {address.host}:{address.port}" if address else "none is configured here"
    yield from _section(
        "6.2 Study Root Query/Retrieve: FIND (PS3.4 C.6.2)",
        f"Every minute the archive ({whom}) is asked for the orders of the last {ARCHIVE_DAYS} days, over one"
        f" association that lasts at most {LONGEST:g} s; each answer is awaited for {TIMEOUT:g} s. The transfer"
        " syntaxes are the library's defaults, queries are in ISO_IR 192. Nothing is retrieved.",
        "At study level an order is asked for by its Study Instance UID, by those under which modalities have reported"
        " its images (MPPS), then by each of its Accession Numbers. An answer counts only if it has one of these UIDs,"
        " its patient agrees with the order's in name or Patient ID and contradicts it in nothing, and it is not older"
        " than the order. By its Accession Number alone it counts only for modalities that are set so. At series level"
        " the images of"
        f" such a study are counted, without series of {', '.join(sorted(NO_IMAGES))}. Every"
        f" {SCAN_EVERY / 60:g} minutes the studies of each of these days are asked for by Study Date, to find those"
        " that belong to no order.",
    )
    yield from _section("6.2.1 Keys")
    yield from _table(
        ("Level", "Attribute", "Tag", "Use"),
        [
            (level, *_named(keyword, ""), "single value, or returned" if keyword in MATCHED[level] else "returned")
            for level, keywords in (("STUDY", STUDY_KEYS), ("SERIES", SERIES_KEYS))
            for keyword in keywords
        ],
    )
    yield from _section(
        "6.2.2 Statuses",
        "FF00 and FF01 are matches, 0000 ends them. With any other status, or an identifier that cannot be read, the"
        " whole answer is left aside and the archive is asked again at the next turn.",
    )


def _attribute(attribute: Attribute, mark: str) -> tuple[str, ...]:
    return (*_named(attribute.keyword, mark), _MATCHING[attribute.match], attribute.type)


def _rules(rules: Sequence[Rule], mark: str) -> Iterator[tuple[str, ...]]:
    for rule in rules:
        yield (*_named(rule.keyword, mark), rule.create, rule.set or "not allowed", rule.final)
        yield from _rules(rule.items, mark + "> ")


def _named(keyword: str, mark: str) -> tuple[str, str]:
    tag = Tag(keyword)
    return mark + dictionary_description(tag), f"({tag.group:04X},{tag.element:04X})"


def _statuses(meanings: dict[Status, str]) -> Iterator[str]:
    rows = [(f"{code:04X}", code.name.replace("_", " ").lower(), words) for code, words in meanings.items()]
    yield from _table(("Status", "Meaning", "When"), rows)


def _section(title: str, *paragraphs: str) -> Iterator[str]:
    level = "###" if "." in title.split(" ")[0] else "##"
    yield f"{level} {title}"
    yield ""
    for paragraph in paragraphs:
        yield paragraph
        yield ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""
