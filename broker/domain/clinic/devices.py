"""Registered modalities, and the procedures of the clinic's directory. Values only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProcedureType:
    """An entry of the clinic's directory of procedures.

    `local`: the code is the clinic's, not the official dictionary's.
    """

    code: str
    name: str
    modality: str
    minutes: int = 10
    local: bool = True
    body_site: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """A modality in the registry."""

    ae_title: str
    name: str
    modality: str
    room: str = ""
    address: str = ""  # empty: any address may use this AE title
    charset: str = "auto"  # auto | ISO_IR 192 | ISO_IR 144 | latin
    approved: bool = True  # False: it has called, and no administrator has approved it yet
    fallback_charset: str = (
        "ISO_IR 144"  # character set of 8-bit characters in a message without Specific Character Set
    )
    longest: int = 64  # characters that the device shows of a name or description
    own_only: bool = True  # a query without a station returns the items of this device only
    days_before: int = 1  # days that items stay on its list after their date
    days_after: int = 30  # days ahead that a query without a date returns
    closed_hours: int = 0  # hours that completed items stay on its list
    strict_mpps: bool = False  # refuse messages that break the standard instead of taking what can be used
    mpps_hours: int = 12  # hours without a message after which a step expires
    for_others: bool = False  # it may ask for the lists of other devices, and end their steps
    own_study_uids: bool = False  # it makes Study Instance UIDs of its own and reports none: see `studies.archive`
