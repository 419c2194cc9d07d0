"""The lease of a form: it begins with what is typed, and ends with the last window of its doctor."""

from __future__ import annotations

import pytest

from broker.store.tables.reading import leases
from broker.workflow.reading import writing
from tests.support.factory import CLINIC
from tests.support.waiting import wait_until_async
from tests.ui.conftest import person
from tests.ui.reading.report.test_page import DOCTOR, OTHER, done, write
from tests.ui.scene import Scene
from ui.reading.report.writing_lease import WritingLease
from ui.services import Services
from ui.writing_windows import Place

pytestmark = pytest.mark.usefixtures("scene")


def writer(scene: Scene, order_id: int) -> str:
    with scene.store.read() as reader:
        lease = leases.of_order(reader, order_id, scene.now)
    return lease.reader if lease else ""


async def test_it_outlives_the_first_of_two_windows_and_not_the_last(services: Services, scene: Scene) -> None:
    order = done(scene)
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{order.accession_number}")
        write(user, description="Пишу")
        await wait_until_async(lambda: writer(scene, order.id) == "volskaya")
        with user:
            second = WritingLease(services, DOCTOR, order.id)
            assert await second.begin()
        services.writing.open(Place(order.id, "volskaya"), "first window")
        second.leave()
        assert writer(scene, order.id) == "volskaya"
        assert services.writing.close(Place(order.id, "volskaya"), "first window")
        second.leave()
        assert writer(scene, order.id) == ""


async def test_it_is_not_had_while_another_writes(services: Services, scene: Scene) -> None:
    order = done(scene)
    scene.store.write(writing.begin, order.id, OTHER, CLINIC)
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{order.accession_number}")
        with user:
            lease = WritingLease(services, DOCTOR, order.id)
            assert not await lease.begin()
            assert not lease.is_held
            lease.leave()
    assert writer(scene, order.id) == "sokolov"
