"""A doctor attaches a signed file to a report; everybody who sees the report sees it, as it came."""

from __future__ import annotations

from typing import Any

import pytest

from broker.domain.actors import Actor, ActorKind, Role
from broker.workflow.reading import attachments, reports
from tests.support.factory import CLINIC
from tests.ui.conftest import Site, person
from tests.ui.reading.report.test_page import DOCTOR, TEXT, done
from tests.ui.scene import Scene
from tests.workflow.reading.test_attachments import PDF, SIGNATURE
from ui.services import Services
from ui.web import middleware

pytestmark = pytest.mark.usefixtures("scene")
LATER = Actor(ActorKind.PERSON, "volskaya", "Вольская Т. А.", frozenset({Role.RADIOLOGIST}))


def signed(scene: Scene) -> str:
    order = done(scene)
    scene.store.write(reports.sign, order.id, 0, TEXT, DOCTOR, CLINIC)
    return order.accession_number


def post(site: Site, number: str, content: bytes = PDF.content, version: str = "1", **headers: str) -> Any:
    files = [
        ("document", (PDF.name, content, "text/html")),
        ("signatures", (SIGNATURE.name, SIGNATURE.content, "x/y")),
    ]
    origin = {"origin": str(site.http.base_url).rstrip("/")} | headers
    return site.http.post(f"/attach/{number}", data={"version": version}, files=files, headers=origin)


def test_what_is_attached_comes_back_byte_for_byte(site: Site, scene: Scene) -> None:
    number = signed(scene)
    site.sign_in("volskaya")
    answer = post(site, number)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/reading/{number}")
    pdf, signature = (site.http.get(f"/attachment/{id}") for id in (1, 2))
    assert (pdf.content, pdf.headers["content-type"]) == (PDF.content, "application/pdf")
    assert (signature.content, signature.headers["content-type"]) == (SIGNATURE.content, "application/octet-stream")
    assert signature.headers["content-disposition"].startswith("attachment")
    for id in (3, 1 << 70):
        assert site.http.get(f"/attachment/{id}").status_code == 404


def test_what_is_no_pdf_or_is_for_another_version_or_by_others_is_refused(site: Site, scene: Scene) -> None:
    number = signed(scene)
    site.sign_in("volskaya")
    assert "Это не PDF и не XML." in post(site, number, b"<html>").text
    assert post(site, number, version="2").status_code == 422
    assert post(site, "нет").status_code == 422
    assert post(site, number, origin="https://elsewhere.example").status_code == 403
    big = post(site, number, b"%PDF-" + b"x" * attachments.LARGEST_DOCUMENT)
    assert (big.status_code, "больше 10 МБ" in big.text) == (422, True)
    assert post(site, number, b"x" * middleware.LARGEST_UPLOAD).status_code == 413
    site.sign_in("orlova")
    assert post(site, number).status_code == 403
    assert site.http.get("/attachment/1").status_code == 404


async def test_it_is_listed_on_the_card_and_on_the_report_page(scene: Scene, services: Services) -> None:
    number = signed(scene)
    scene.store.write(attachments.attach, 1, 1, attachments.examine(PDF, (SIGNATURE,)), LATER)
    async with person(services, "volskaya") as user:
        for address in (f"/order/{number}", f"/reading/{number}"):
            await user.open(address)
            await user.should_see(PDF.name)
            await user.should_see("к версии 1")
            await user.should_see("Вольская Т. А.")
        await user.should_see("Приложить подписанный файл")
    async with person(services, "orlova") as user:
        await user.open(f"/order/{number}")
        await user.should_see(PDF.name)
        await user.should_not_see("Приложить подписанный файл")
