"""Links that open a study's images in the clinic's viewer, made of a template of the administrator's. Pure.

What a link bears is percent-encoded, and may name a study only: no person, no session of ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

PLACEHOLDERS = ("study", "accession", "patient_id", "ae")
WEB_SCHEMES = ("http", "https")
SCHEMES = (*WEB_SCHEMES, "weasis", "inobitec", "radiant", "vdviewer")
"""What a link may begin with: web pages, and programs that register a scheme of their own. Never a script or a file."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """The viewer of the clinic; `ae_title` is that of the archive which holds the images."""

    template: str
    ae_title: str = ""

    @property
    def is_web_page(self) -> bool:
        """True if it opens in a window of the browser, False if it is a program."""
        return _scheme(self.template) in WEB_SCHEMES

    def link(self, study_instance_uid: str, accession_number: str, patient_id: str) -> str:
        """Return the link to a study; empty if a value that the template wants is not known.

        An empty value could open other studies than this one.
        """
        values = dict(zip(PLACEHOLDERS, (study_instance_uid, accession_number, patient_id, self.ae_title), strict=True))
        if not all(values[name] for name in _named(self.template)):
            return ""
        return re.sub(r"\{(\w+)\}", lambda found: quote(values[found[1]], safe=""), self.template)


def problem(template: str, ae_title: str) -> str:
    """Return what is wrong with a template, in the administrator's words; empty if nothing is."""
    if not re.fullmatch(r"[!-~]+", template):
        return "must be an address of printable ASCII without blanks; percent-encode what it needs (%20)"
    if _scheme(template) not in SCHEMES:
        return f"must begin with one of {', '.join(f'{each}://' for each in SCHEMES)}"
    unknown = [each for each in _named(template) if each not in PLACEHOLDERS]
    if unknown or re.search(r"[{}]", re.sub(r"\{\w+\}", "", template)):
        what = f"{{{unknown[0]}}} is not known" if unknown else "a brace stands alone"
        return f"{what}: placeholders are {', '.join(f'{{{each}}}' for each in PLACEHOLDERS)}"
    if not {"study", "accession", "patient_id"} & set(_named(template)):
        return "must name the study: {study}, {accession} or {patient_id}"
    if "ae" in _named(template) and not ae_title:
        return "{ae} needs pacs.ae_title"
    if _scheme(template) in WEB_SCHEMES:
        try:
            host = urlsplit(template).netloc
        except ValueError:
            host = ""
        if not host or re.search(r"[{}@\\]", host):
            return "must name a host, without name and password, and without placeholders in it"
    return ""


def _scheme(template: str) -> str:
    scheme, colon, _ = template.partition("://")
    return scheme.lower() if colon else ""


def _named(template: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", template)
