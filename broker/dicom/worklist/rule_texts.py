"""Rule results on an order and a device in English: what was found, and what to do about what is wrong.

Pure. The screens have their own texts, in Russian.
"""

from __future__ import annotations

from datetime import datetime, tzinfo

from broker.domain.clinic.device_advice import RuleResult

# code -> (sentence, what to do if it is wrong). Details of the result are put in by name.
WORDS: dict[str, tuple[str, str]] = {
    "registered": ("it is registered as {name}", ""),
    "unknown_device": (
        "it is not registered, and has never called",
        "let it call once, then approve it: worklist-broker device add {ae_title} --name ... --modality ...",
    ),
    "not_approved": (
        "it has called, and is not approved",
        "approve it: worklist-broker device add {ae_title} --name ... --modality ...",
    ),
    "other_address": (
        "it is rejected: it called from {address}, registered is {registered}",
        "register the address too: worklist-broker device add {ae_title} --address {registered},{address}",
    ),
    "delivered": ("it was sent this order on {at}", ""),
    "asked": ("it asked for its list on {at}", ""),
    "asked_before": ("it asked for its list last on {at}, before the order was registered", "refresh its list"),
    "never_asked": (
        "it has never asked for its list",
        "enter our AE title, address and port on it, and refresh its list",
    ),
    "query_real": ("its last query was used", ""),
    "query_usual": ("a typical query was used, as none of its own is known", ""),
    "masked": ("the patient it asked for is not stored ({keys}): any patient was assumed", ""),
    "open": ("the order is open", ""),
    "started": ("the order is being performed", ""),
    "completed_lately": ("the order is completed and stays on its list for {hours} hours", ""),
    "completed": (
        "the order is completed",
        "if the list should keep completed orders for a while: device add {ae_title} --closed-hours N",
    ),
    "discontinued": ("the study was discontinued", "register the order again, for another time"),
    "cancelled": ("the order is cancelled", "register a new one"),
    "planned_on_this": ("it is scheduled on this device", ""),
    "planned_on_other": (
        "it is scheduled on {stations}",
        "schedule it on {ae_title}, or let the device see every device's orders: device add {ae_title} --any-station",
    ),
    "on_called_list": ("it is scheduled on {stations}, which is on the list of {called}", ""),
    "not_on_called_list": (
        "it is scheduled on {stations}; the list of {called} is of {members}",
        "schedule it on one of these, or add its device or room to {called} in dicom.lists",
    ),
    "others_withheld": (
        "it is scheduled on {stations}, whose lists are not for this device",
        "schedule it on {ae_title}, or let the device see other devices' lists: device add {ae_title} --for-others",
    ),
    "near": ("its day is among those that the device sees", ""),
    "past": (
        "its day has passed; the device sees {days} days back",
        "move the order, or: device add {ae_title} --days-before N",
    ),
    "ahead": (
        "its day is too far ahead; without a date in its query the device sees {days} days",
        "ask for the date on the device, or: device add {ae_title} --days-after N",
    ),
    "started_on_other": ("it was started on {stations}, so it has left the other devices' lists", ""),
    "malformed": (
        "its query is refused, {keyword}: {comment}",
        "correct this filter on the device",
    ),
    "undecodable": (
        "it asked for a name of question marks ({keyword}): it cannot write Cyrillic, so nothing matches",
        "search by accession number or patient id on the device, or by the name in Latin letters",
    ),
    "key_station": (
        "it asks for station {asked}; the order is scheduled on {has}",
        "enter {ae_title} as its own AE title on the device, or schedule the order on {asked}",
    ),
    "key_time": (
        "it asks for {asked}; the order is on {has}",
        "choose the order's day on the device, or move the order",
    ),
    "key_modality": (
        "it asks for modality {asked}; the order has {has}",
        "remove this filter on the device, or correct the modality in the directory of procedures",
    ),
    "key_name": ("it asks for another name ({keyword})", "ask for all patients on the device"),
    "key": ("it asks for {keyword} {asked}; the order has {has}", "remove this filter on the device"),
    "letters_whole": ("everything can be sent as it is stored ({charset})", ""),
    "letters_altered": (
        "in {charset}, {characters} characters are replaced and {cut} texts are shortened",
        "if names are unreadable: device add {ae_title} --charset ... or --longest ...",
    ),
}
_HOLDS = {
    "key_station": "it asks for station {asked}",
    "key_time": "it asks for {asked}, and the order is then",
    "key_modality": "it asks for modality {asked}",
    "key_name": "the name that it asks for is the patient's",
    "key": "it asks for {keyword} {asked}",
    "planned_on_other": "it is scheduled on {stations}; this device sees every device's orders or names a station",
    "unknown_device": "it is not registered; unknown devices are served here (dicom.unknown_devices: learn)",
    "not_approved": "it is not approved; unknown devices are served here (dicom.unknown_devices: learn)",
}


def sentence(result: RuleResult, zone: tzinfo) -> str:
    """Return what was found; instants are in the clinic's time."""
    details = dict(result.details)
    if "at" in details:
        details["at"] = f"{datetime.fromisoformat(details['at']).astimezone(zone):%Y-%m-%d %H:%M}"
    words = WORDS.get(result.code, (result.code, ""))[0]
    return (_HOLDS.get(result.code, words) if result.ok else words).format_map(_Details(details))


def remedy(result: RuleResult, ae_title: str) -> str:
    """Return what to do about a result that is not ok; empty if nothing can be done, or need be."""
    if result.ok:
        return ""
    return WORDS.get(result.code, ("", ""))[1].format_map(_Details({**result.details, "ae_title": ae_title}))


class _Details(dict[str, str]):
    """Details of a code; a missing one is a dash."""

    def __missing__(self, key: str) -> str:
        return "-"
