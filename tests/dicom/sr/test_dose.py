"""Dose reports of real devices: what they state comes out in the units that doctors use."""

from __future__ import annotations

import pydicom
import pytest

from broker.dicom.sr import dose as parser
from broker.domain.studies import dose
from broker.domain.studies.dose import DoseReport, Quantity
from tests.support import dose_reports


def read(name: str, package: str = "openrem") -> DoseReport:
    return parser.read(pydicom.dcmread(getattr(dose_reports, package)(name)))


def parts(report: DoseReport, quantity: Quantity) -> dict[str, float]:
    return {each.part: each.value for each in dose.of_study([report]).values if each.quantity is quantity}


@pytest.mark.parametrize(
    ("name", "quantity", "total"),
    [
        ("DX-RDSR-Canon_CXDI", Quantity.DAP, 10.7),
        ("DX-RDSR-Carestream_DRXEvolution", Quantity.DAP, 5.8099997),
        ("Dual-RDSR-DX", Quantity.DAP, 2.39),  # Gym2, without a dot
        ("RF-RDSR-Siemens-Zee", Quantity.DAP, 16.0),
        ("RF-RDSR-GE", Quantity.DAP, 241.26),
        ("RF-RDSR-GE-OECEliteMiniView", Quantity.DAP, 1.3316568),  # names no template
        ("RF-RDSR-Eurocolumbus", Quantity.DAP, 9.0),  # lists a voltage for each pulse
        pytest.param("RF-RDSR-Philips_Azurion", Quantity.DAP, 2474.09, marks=pytest.mark.slow),
        ("RF-RDSR-GE", Quantity.RP, 11.7317),
        ("CT-RDSR-Siemens_Flash-TAP-SS", Quantity.DLP, 724.52),
        ("CT-RDSR-Philips_BigBore4DCT", Quantity.DLP, 541.1),
        ("CT-RDSR-ToshibaPixelMed", Quantity.DLP, 349.7),
        ("CT-RDSR-GEPixelMed", Quantity.DLP, 586.34),
        ("CT-ESR-GE_Optima", Quantity.DLP, 415.82),  # an Enhanced SR, mGycm
        ("CT-ESR-GE_VCT", Quantity.DLP, 2002.39),
    ],
)
def test_the_total_of_a_real_report_comes_out(name: str, quantity: Quantity, total: float) -> None:
    assert dose.of_study([read(name)]).of(quantity) == pytest.approx(total)


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("siemens_axiom_artis", 9.37),
        ("siemens_axiom_example_procedure", 279.02),
        ("philips_allura_clarity_u601", 10.92583885),
    ],
)
def test_the_totals_of_angiography_come_out(name: str, total: float) -> None:
    assert dose.of_study([read(name, "pyskindose")]).of(Quantity.DAP) == pytest.approx(total)


def test_the_planes_of_a_biplane_device_are_told_apart_and_their_area_products_add_up() -> None:
    report = read("philips_allura_clarity_u104", "pyskindose")
    assert parts(report, Quantity.DAP) == {"A": pytest.approx(7.839132429), "B": 0.0}
    assert dose.of_study([report]).of(Quantity.DAP) == pytest.approx(7.839132429)


def test_each_breast_has_its_own_dose_and_they_are_never_added() -> None:
    report = read("MG-RDSR-Hologic_2D")
    assert parts(report, Quantity.AGD) == {"L": pytest.approx(1.30), "R": pytest.approx(1.28)}
    assert dose.of_study([report]).of(Quantity.AGD) is None


def test_a_cumulative_report_replaces_those_before_it() -> None:
    reports = [read(f"CT-RDSR-Siemens-Multi-{number}") for number in (1, 2, 3)]
    found = dose.of_study(reports)
    assert found.of(Quantity.DLP) == pytest.approx(236.09)
    assert found.reports == 1
    assert dose.of_study(reports[::-1]).of(Quantity.DLP) == pytest.approx(236.09)  # in whichever order they come


def test_a_continued_report_adds_to_the_one_before_it() -> None:
    found = dose.of_study([read(f"CT-RDSR-Siemens-Continued-{number}") for number in (1, 2)])
    assert found.of(Quantity.DLP) == pytest.approx(60.17 + 56.44)
    assert found.reports == 2


def test_a_report_without_doses_is_no_dose_report() -> None:
    assert not parser.is_dose_report(pydicom.dcmread(dose_reports.openrem("ESR_non-dose")))
    for name in ("reportsi.dcm", "test-SR.dcm"):
        assert not parser.is_dose_report(pydicom.dcmread(dose_reports.pydicom_file(name)))


def test_the_views_and_voltages_of_real_reports_come_out() -> None:
    canon = dose.of_study([read("DX-RDSR-Canon_CXDI")])
    assert canon.views == {"THORAX AP 90kv-0,9mAs"}
    assert canon.kilovolts == (90.0, 90.0)
    assert dose.of_study([read("MG-RDSR-Hologic_2D")]).views == {"R-10242", "cranio-caudal"}
    assert dose.of_study([read("DX-RDSR-Carestream_DRXEvolution")]).views == {"Thigh Right"}  # not all name the view
    assert dose.of_study([read("RF-RDSR-Eurocolumbus")]).kilovolts is None  # one event states none
