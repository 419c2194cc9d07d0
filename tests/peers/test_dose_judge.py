"""DCMTK's dsrdump as judge of dose reports: what it reads of the totals, this program reads, too."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pydicom
import pytest

from broker.dicom.sr import dose
from broker.domain.studies.dose import Quantity
from tests.peers.dcmtk import tool
from tests.support import dose_reports

_TOTALS = {
    "113722": Quantity.DAP,
    "113725": Quantity.RP,
    "111637": Quantity.AGD,
    "113813": Quantity.DLP,
    "113730": Quantity.FLUORO_TIME,
}
_NUMBER = re.compile(r'NUM:\((\d+),DCM,"[^"]*"\)="([^"]*)" \(([^,]*),')


def judged(path: Path) -> list[tuple[Quantity, float, str]]:
    """Return the totals of a report as dsrdump prints them; fail where it does not take it for one."""
    done = subprocess.run(
        [tool("dsrdump"), "-Ec", "-Ee", "+Pc", str(path)], capture_output=True, timeout=60, check=True
    )
    found = _NUMBER.findall(done.stdout.decode("utf-8", "replace"))
    return sorted((_TOTALS[code], float(value), unit) for code, value, unit in found if code in _TOTALS)


def totals(path: Path) -> list[tuple[Quantity, float, str]]:
    """Return the totals of a report as this program reads them."""
    found = dose.read(pydicom.dcmread(path)).totals
    return sorted((each.quantity, each.value, each.unit) for each in found if each.quantity in _TOTALS.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "DX-RDSR-Canon_CXDI",
        "DX-RDSR-Carestream_DRXEvolution",
        "Dual-RDSR-DX",
        "RF-RDSR-Siemens-Zee",
        "RF-RDSR-GE",
        "RF-RDSR-GE-OECEliteMiniView",
        "RF-RDSR-Philips_Azurion",
        "CT-RDSR-Siemens-Multi-1",
        "CT-RDSR-Siemens-Multi-2",
        "CT-RDSR-Siemens-Multi-3",
        "CT-RDSR-Siemens-Continued-1",
        "CT-RDSR-Siemens-Continued-2",
        "CT-RDSR-Siemens_Flash-TAP-SS",
        "CT-RDSR-ToshibaPixelMed",
        "CT-RDSR-Philips_BigBore4DCT",
        "CT-RDSR-GEPixelMed",
        "CT-ESR-GE_Optima",
        "CT-ESR-GE_VCT",
        "MG-RDSR-Hologic_2D",
    ],
)
def test_the_totals_are_those_that_dsrdump_reads(name: str) -> None:
    path = dose_reports.openrem(name)
    assert totals(path) == judged(path)
    assert totals(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["siemens_axiom_artis", "philips_allura_clarity_u104", "philips_allura_clarity_u601"])
def test_the_totals_of_angiography_are_those_that_dsrdump_reads(name: str) -> None:
    path = dose_reports.pyskindose(name)
    assert totals(path) == judged(path)


def test_a_report_made_for_tests_is_one_that_dsrdump_reads(tmp_path: Path) -> None:
    path = dose_reports.write(dose_reports.projection(1.07e-5), tmp_path / "report.dcm")
    assert judged(path) == [(Quantity.DAP, 1.07e-5, "Gy.m2")]


def test_a_report_that_dsrdump_refuses_is_read_nevertheless() -> None:
    path = dose_reports.openrem("RF-RDSR-Eurocolumbus")  # it lists a voltage for each pulse in one number
    with pytest.raises(subprocess.CalledProcessError):
        judged(path)
    assert totals(path)
