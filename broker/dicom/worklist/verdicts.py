"""Verdicts on an order and a device in plain English: what was found, and what to do about what is wrong.

Pure. The screens have their own words, in Russian.
"""

from __future__ import annotations

from datetime import datetime, tzinfo

from broker.domain.device_advice import Verdict

# code -> (sentence, what to do where it is wrong). Details of the verdict are put in by name.
WORDS: dict[str, tuple[str, str]] = {
    "registered": ("it is registered as {name}", ""),
    "unknown_device": (
        "nobody has registered it, and it has never called",
        "let it call once, then approve it: worklist-broker device add {ae_title} --name ... --modality ...",
    ),
    "not_approved": (
        "it has called, and nobody has approved it",
        "approve it: worklist-broker device add {ae_title} --name ... --modality ...",
    ),
    "other_address": (
        "it is turned away: it called from {address}, registered is {registered}",
        "register the address too: worklist-broker device add {ae_title} --address {registered},{address}",
    ),
    "delivered": ("it was given this order on {at}", ""),
    "asked": ("it asked for its list on {at}", ""),
    "asked_before": ("it asked for its list last on {at}, before the order was registered", "refresh its list"),
    "never_asked": (
        "it has never asked for its list",
        "enter our AE title, address and port on it, and refresh its list",
    ),
    "query_real": ("judged by what it asked last", ""),
    "query_usual": ("judged by a usual query, for none of its own is known", ""),
    "masked": ("for whom it asked is not kept ({keys}): judged as if it had asked for anybody", ""),
    "open": ("the order is open", ""),
    "started": ("the order is being performed", ""),
    "completed_lately": ("the order is completed and stays on its list for {hours} hours", ""),
    "completed": (
        "the order is completed",
        "if the list should keep completed orders for a while: device add {ae_title} --closed-hours N",
    ),
    "discontinued": ("the study was discontinued", "register the order again, for another time"),
    "cancelled": ("the order is cancelled", "register a new one"),
    "planned_here": ("it is planned on this device", ""),
    "planned_elsewhere": (
        "it is planned on {stations}",
        "plan it on {ae_title}, or let the device see every device's orders: device add {ae_title} --any-station",
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
    "begun_elsewhere": ("it was begun on {stations}, so it has left the other devices' lists", ""),
    "malformed": (
        "its query is refused, {keyword}: {comment}",
        "correct this filter on the device",
    ),
    "undecodable": (
        "it asked for a name of question marks ({keyword}): it cannot write Cyrillic, so nothing matches",
        "search by accession number or patient id on the device, or by the name in Latin letters",
    ),
    "key_station": (
        "it asks for station {asked}; the order is planned on {has}",
        "enter {ae_title} as its own AE title on the device, or plan the order on {asked}",
    ),
    "key_time": (
        "it asks for {asked}; the order is on {has}",
        "choose the order's day on the device, or move the order",
    ),
    "key_modality": (
        "it asks for modality {asked}; the order has {has}",
        "take this filter off on the device, or correct the modality in the directory of procedures",
    ),
    "key_name": ("it asks for another name ({keyword})", "ask for all on the device"),
    "key": ("it asks for {keyword} {asked}; the order has {has}", "take this filter off on the device"),
    "letters_whole": ("it can be told everything as it is kept ({charset})", ""),
    "letters_altered": (
        "answered in {charset}, {characters} letters are written otherwise and {cut} texts are cut",
        "if names are unreadable: device add {ae_title} --charset ... or --longest ...",
    ),
}
_HOLDS = {
    "key_station": "it asks for station {asked}",
    "key_time": "it asks for {asked}, and the order is then",
    "key_modality": "it asks for modality {asked}",
    "key_name": "the name that it asks for is the patient's",
    "key": "it asks for {keyword} {asked}",
    "planned_elsewhere": "it is planned on {stations}; this device sees every device's orders or names its own station",
    "unknown_device": "nobody has registered it; strangers are served here (dicom.unknown_devices: learn)",
    "not_approved": "nobody has approved it; strangers are served here (dicom.unknown_devices: learn)",
}


def sentence(verdict: Verdict, zone: tzinfo) -> str:
    """Say what was found; instants are told in the clinic's time."""
    told = dict(verdict.details)
    if "at" in told:
        told["at"] = f"{datetime.fromisoformat(told['at']).astimezone(zone):%Y-%m-%d %H:%M}"
    words = WORDS.get(verdict.code, (verdict.code, ""))[0]
    return (_HOLDS.get(verdict.code, words) if verdict.ok else words).format_map(_Told(told))


def remedy(verdict: Verdict, ae_title: str) -> str:
    """Say what to do about a verdict that is against; empty where nothing can be done, or need be."""
    if verdict.ok:
        return ""
    return WORDS.get(verdict.code, ("", ""))[1].format_map(_Told({**verdict.details, "ae_title": ae_title}))


class _Told(dict[str, str]):
    """Details of a code; one that is not told is a dash."""

    def __missing__(self, key: str) -> str:
        return "-"
