"""Series, operators and dose are kept as what they are; a step is given back as it is now (N-GET)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from broker.dicom.mpps import service
from broker.dicom.statuses import Status
from broker.domain.orders import Order
from broker.domain.studies.performed import PerformedSeries
from broker.store.database import Store
from broker.store.tables import devices
from broker.store.tables.studies import performed
from broker.workflow.referrals import referrals
from tests.support import factory
from tests.support.factory import CLINIC, REGISTRAR
from tests.support.modality import CALLER, change, create, creation, dataset, ending, notes, registered, series


@pytest.fixture
def order(store: Store) -> Order:
    return store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC)


def test_series_operators_and_dose_are_kept_as_what_they_are(store: Store) -> None:
    exposures = [
        dataset({"KVP": "70", "XRayTubeCurrentInuA": "200000", "ExposureTime": "12"}),
        dataset({"KVP": "66.5", "ExposureTime": "9"}),
    ]
    create(store, creation())
    change(
        store,
        ending(
            PerformedSeriesSequence=[
                series(2, OperatorsName="Юдин^К"),
                series(1, SeriesInstanceUID="1.9.9.2", OperatorsName=["Юдин^К", "Белова^А"], SeriesDescription=""),
            ],
            TotalNumberOfExposures=2,
            TotalTimeOfFluoroscopy=35,
            EntranceDose=3,
            EntranceDoseInmGy="310.5",
            ImageAndFluoroscopyAreaDoseProduct="1.25",
            ExposureDoseSequence=exposures,
        ),
    )
    with store.read() as reader:
        step = performed.get(reader, "1.2.3")
        assert step is not None
        made, doses = performed.series(reader, step.stored_id), performed.doses(reader, step.stored_id)
    assert (step.operator, step.images) == ("Юдин К, Белова А", 3)
    assert made == [
        PerformedSeries("1.9.9.1", "Колено", "KNEE AP", "Юдин К", 2),
        PerformedSeries("1.9.9.2", "", "KNEE AP", "Юдин К, Белова А", 1),
    ]
    assert {(dose.position, dose.keyword): f"{dose.value:g} {dose.unit}" for dose in doses} == {
        (0, "TotalNumberOfExposures"): "2 1",
        (0, "TotalTimeOfFluoroscopy"): "35 s",
        (0, "EntranceDose"): "3 dGy",
        (0, "EntranceDoseInmGy"): "310.5 mGy",
        (0, "ImageAndFluoroscopyAreaDoseProduct"): "1.25 dGy.cm2",
        (1, "KVP"): "70 kV",
        (1, "XRayTubeCurrentInuA"): "200000 uA",
        (1, "ExposureTime"): "12 ms",
        (2, "KVP"): "66.5 kV",
        (2, "ExposureTime"): "9 ms",
    }


def test_a_later_message_replaces_series_and_dose_of_an_earlier_one(store: Store) -> None:
    create(store, creation(EntranceDoseInmGy="1", TotalNumberOfExposures=1))
    change(store, dataset({"PerformedSeriesSequence": [series()], "EntranceDoseInmGy": "5"}))
    change(store, ending(PerformedSeriesSequence=[series(SeriesInstanceUID="1.9.9.7")], EntranceDoseInmGy=""))
    with store.read() as reader:
        step = performed.get(reader, "1.2.3")
        assert step is not None
        assert [each.series_instance_uid for each in performed.series(reader, step.stored_id)] == ["1.9.9.7"]
        assert [(dose.keyword, dose.value) for dose in performed.doses(reader, step.stored_id)] == [
            ("TotalNumberOfExposures", 1)
        ]


@pytest.mark.parametrize("value", ["много", "NaN", "1e999", "-4", "12,5"])
def test_a_dose_that_is_not_a_number_is_noted_not_stored(store: Store, value: str) -> None:
    create(store, creation())
    ds = ending(TotalNumberOfExposures=2)
    ds.add_new(Tag("EntranceDoseInmGy"), "LO" if value in ("много", "12,5") else "DS", value)  # as it is decoded
    assert change(store, ds).Status == Status.SUCCESS
    with store.read() as reader:
        step = performed.get(reader, "1.2.3")
        assert step is not None
        assert [dose.keyword for dose in performed.doses(reader, step.stored_id)] == ["TotalNumberOfExposures"]
    assert notes(store)["mpps_dose"] == "not a number: EntranceDoseInmGy"


def get(store: Store, *keywords: str, uid: str = "1.2.3") -> tuple[int, Dataset | None]:
    answered, ds = service.retrieve(
        uid, [Tag(keyword) for keyword in keywords], CALLER, registered(store, CALLER), store
    )
    return answered.Status, ds


def test_a_step_is_given_back_as_it_is_now(store: Store, order: Order) -> None:
    create(store, creation(order.study_instance_uid))
    change(store, ending())
    status, ds = get(store)
    assert status == Status.SUCCESS
    assert ds is not None
    assert (str(ds.PatientName), ds.PerformedProcedureStepStatus) == ("Кузнецова^Марина", "COMPLETED")
    assert ds.ScheduledStepAttributesSequence[0].StudyInstanceUID == order.study_instance_uid
    assert len(ds.PerformedSeriesSequence[0].ReferencedImageSequence) == 2
    assert ds.SpecificCharacterSet == "ISO_IR 192"


def test_only_requested_attributes_are_returned_and_0001_reports_unknown_ones(store: Store) -> None:
    create(store, creation(StudyID=None))
    status, ds = get(store, "PatientID", "StudyID", "SpecificCharacterSet")
    assert status == Status.SUCCESS
    assert ds is not None
    assert list(ds.keys()) == [Tag("PatientID"), Tag("StudyID")]  # of type 2, so it comes back empty
    assert ds["StudyID"].is_empty
    status, ds = get(store, "PatientID", "CommentsOnRadiationDose")
    assert status == Status.ATTRIBUTES_NOT_SUPPORTED
    assert ds is not None
    assert list(ds.keys()) == [Tag("PatientID")]
    assert get(store, uid="9.9") == (Status.NO_SUCH_SOP_INSTANCE, None)


def test_a_step_is_returned_in_characters_that_the_device_can_read(store: Store) -> None:
    create(store, creation())
    store.write(lambda tx: devices.put(tx, replace(factory.DEVICES[0], charset="ISO_IR 144")))
    _, ds = get(store, "PatientName")
    assert ds is not None
    assert ds.SpecificCharacterSet == "ISO_IR 144"
    store.write(lambda tx: devices.put(tx, replace(factory.DEVICES[0], charset="latin")))
    _, ds = get(store, "PatientName")
    assert ds is not None
    assert "SpecificCharacterSet" not in ds
    assert str(ds.PatientName).isascii()
