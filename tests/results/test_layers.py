"""Results read what outputs write; neither needs all of the other."""

from __future__ import annotations

from custom_components.share.vendoring import ROOT, imports


def imported_by(package: str) -> set[str]:
    """Dotted names inside ours that the modules of a package import, in functions too."""
    names = {name for file in (ROOT / package).glob("*.py") for name in imports(file)}
    return {name.removeprefix("custom_components.") for name in names if name.startswith("custom_components.")}


def test_outputs_know_no_more_of_results_than_their_records():
    of_results = {name for name in imported_by("outputs") if name.startswith("results")}
    assert of_results
    assert all(name.startswith("results.record.") for name in of_results)


def test_results_and_slides_know_nothing_of_what_is_above_them():
    below = {"annotations", "common", "fields", "pairs"}
    assert {name.split(".")[0] for name in imported_by("results")} == below | {"results", "slides"}
    assert {name.split(".")[0] for name in imported_by("slides")} <= below - {"annotations"} | {"slides"}
