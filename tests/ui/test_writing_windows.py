"""A person's lease ends with the last window in which they write."""

from __future__ import annotations

from ui.writing_windows import Place, WritingWindows


def test_the_last_window_of_a_person_ends_it() -> None:
    windows, place = WritingWindows(), Place(1, "anna")
    windows.open(place, "one")
    windows.open(place, "two")
    windows.open(place, "two")
    assert not windows.close(place, "one")
    assert windows.close(place, "two")
    assert windows.close(place, "two")


def test_other_studies_and_people_are_other_places() -> None:
    windows = WritingWindows()
    windows.open(Place(1, "anna"), "one")
    windows.open(Place(2, "anna"), "one")
    windows.open(Place(1, "boris"), "two")
    assert windows.close(Place(1, "anna"), "one")
