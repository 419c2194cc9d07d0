"""Writes XLSX files part by part, as programs other than Excel write them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
PARTS = ("xl/workbook.xml", "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml")

Value = str | float | None


def write(
    rows: Sequence[Sequence[Value]],
    *,
    stored: Mapping[str, str] | None = None,
    shared: bool = True,
    backslashes: bool = False,
) -> bytes:
    """Return a workbook without styles whose sheet has these rows; a number is a number without a format.

    `stored` are the names under which parts are stored where others refer to them by their usual names; texts stand
    in a part of their own if they are `shared`.
    """
    strings: list[str] = []
    sheet = "".join(
        f'<row r="{number}">{"".join(_cell(value, strings, shared) for value in row)}</row>'
        for number, row in enumerate(rows, 1)
    )
    parts = {
        "[Content_Types].xml": _content_types(shared),
        "_rels/.rels": _relations({"rId1": ("officeDocument", "xl/workbook.xml")}),
        "xl/workbook.xml": (
            f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>'
            '<sheet name="TDSheet" sheetId="1" r:id="rId1"/></sheets></workbook>'
        ),
        "xl/_rels/workbook.xml.rels": _relations(
            {"rId1": ("worksheet", "worksheets/sheet1.xml"), "rId2": ("sharedStrings", "sharedStrings.xml")}
        ),
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_MAIN}"><sheetData>{sheet}</sheetData></worksheet>',
    }
    if shared:
        items = "".join(f"<si><t>{escape(each)}</t></si>" for each in strings)
        parts["xl/sharedStrings.xml"] = f'<sst xmlns="{_MAIN}">{items}</sst>'
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            as_stored = (stored or {}).get(name, name)
            archive.writestr(as_stored.replace("/", "\\") if backslashes else as_stored, text)
    return file.getvalue()


def _cell(value: Value, strings: list[str], shared: bool) -> str:
    match value:
        case None:
            return "<c/>"
        case str() if shared:
            strings.append(value)
            return f'<c t="s"><v>{len(strings) - 1}</v></c>'
        case str():
            return f'<c t="inlineStr"><is><t>{escape(value)}</t></is></c>'
        case _:
            return f"<c><v>{value}</v></c>"


def _content_types(shared: bool) -> str:
    names = {"/xl/workbook.xml": "sheet.main", "/xl/worksheets/sheet1.xml": "worksheet"}
    if shared:
        names["/xl/sharedStrings.xml"] = "sharedStrings"
    overrides = "".join(
        f'<Override PartName="{name}" ContentType="{_TYPES}.{kind}+xml"/>' for name, kind in names.items()
    )
    return (
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>'
    )


def _relations(targets: Mapping[str, tuple[str, str]]) -> str:
    listed = "".join(
        f'<Relationship Id="{key}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for key, (kind, target) in targets.items()
    )
    return (
        f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{listed}</Relationships>'
    )
