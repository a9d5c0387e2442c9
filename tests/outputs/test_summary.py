"""The files over all pairs of an output folder."""

from __future__ import annotations

import csv
import json
import shutil

import pytest

from custom_components.outputs.summary import write_summary
from custom_components.outputs.writer import write_failure
from custom_components.pairs import Pair
from custom_components.results.record import metrics_in


@pytest.fixture
def run_folder(case):
    """One good pair with landmarks and one failed."""
    case.write()
    write_failure(Pair("x & y", case.pair.moving, case.pair.fixed), "no tissue & no <hope>", case.output_dir, 2.0)
    return case.output_dir


def table_rows(folder):
    with (folder / "summary.csv").open(newline="") as lines:
        return {row["id"]: row for row in csv.DictReader(lines)}


def test_table_has_every_pair_with_status_reason_and_error(run_folder):
    write_summary(run_folder)
    rows = table_rows(run_folder)
    assert set(rows) == {"a_to_b", "x & y"}
    good, bad = rows["a_to_b"], rows["x & y"]
    assert (good["status"], good["matches"], good["robustness"]) == ("ok", "40", "1.0")
    assert float(good["rTRE_mean"]) < 1e-5 < float(good["rTRE_initial_mean"])
    assert (bad["status"], bad["reason"], bad["rTRE_mean"]) == ("failed", "no tissue & no <hope>", "")
    assert float(bad["seconds"]) == 2.0


def test_summary_counts_and_aggregates(run_folder):
    summary = write_summary(run_folder)
    stored = json.loads((run_folder / "summary.json").read_text())
    assert stored == summary
    assert (stored["pairs"], stored["ok"], stored["poor"], stored["failed"]) == (2, 1, 0, 1)
    assert stored["failed_pairs"] == {"x & y": "no tissue & no <hope>"}
    assert stored["scored"]["pairs"] == 1
    assert {"AArTRE", "AMrTRE", "MArTRE", "MMrTRE", "AMxrTRE", "MMxrTRE", "robustness"} <= set(stored["scored"])


def test_without_landmarks_nothing_is_scored(run_folder):
    shutil.rmtree(run_folder / "a_to_b")
    assert write_summary(run_folder)["scored"] is None


def test_index_links_reports_that_exist_and_escapes_what_users_wrote(run_folder):
    write_summary(run_folder)
    page = (run_folder / "index.html").read_text()
    assert 'href="a_to_b/report.html"' in page
    assert 'src="a_to_b/thumbnail.jpg"' in page
    assert 'href="x%20%26%20y/report.html"' in page
    assert "no tissue &amp; no &lt;hope&gt;" in page
    assert "<hope>" not in page
    (run_folder / "a_to_b" / "report.html").unlink()
    write_summary(run_folder)
    assert 'href="a_to_b/report.html">a_to_b' not in (run_folder / "index.html").read_text()


def test_unfinished_foreign_and_damaged_folders_do_not_count(run_folder):
    for name, text in ((".c.partial", '{"id": ".c.partial", "status": "ok"}'), ("damaged", "{"), ("foreign", "[1]"),
                       ("copied", '{"id": "original", "status": "ok"}')):  # fmt: skip
        (run_folder / name).mkdir()
        (run_folder / name / "metrics.json").write_text(text)
    assert [metrics["id"] for metrics in metrics_in(run_folder)] == ["a_to_b", "x & y"]


def test_summary_of_an_empty_folder_says_so(tmp_path):
    summary = write_summary(tmp_path)
    assert (summary["pairs"], summary["scored"]) == (0, None)
    assert (tmp_path / "summary.csv").read_text().startswith("id,status,reason,")
    assert "0 pairs" in (tmp_path / "index.html").read_text()


def test_nothing_temporary_stays(run_folder):
    write_summary(run_folder)
    assert not [path.name for path in run_folder.iterdir() if path.name.startswith(".")]


def test_index_links_viewers_that_exist(run_folder):
    write_summary(run_folder)
    assert "viewer.html" not in (run_folder / "index.html").read_text()
    (run_folder / "a_to_b" / "viewer.html").write_text("")
    write_summary(run_folder)
    assert (run_folder / "index.html").read_text().count('href="a_to_b/viewer.html"') == 1


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_spreadsheet_takes_a_cell_for_a_formula(case, start):
    text = f"{start}HYPERLINK(1)"
    name = text if start in "=+-@" else "a"
    write_failure(Pair(name, case.pair.moving.with_name(text), case.pair.fixed), text, case.output_dir, 2.0)
    write_summary(case.output_dir)
    ((_, row),) = table_rows(case.output_dir).items()
    assert row["reason"] == "'" + text.replace("\r", "\n")
    assert row["id"] == (f"'{text}" if name == text else "a")
    assert not [cell for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]


def test_ten_thousand_pairs_make_a_page_whose_pictures_come_as_they_are_seen(case):
    case.write()
    text = (case.output_dir / "a_to_b" / "metrics.json").read_text()
    for number in range(250):
        folder = case.output_dir / f"p{number}"
        folder.mkdir()
        (folder / "metrics.json").write_text(text.replace('"id": "a_to_b"', f'"id": "{folder.name}"'))
    write_summary(case.output_dir)
    page = (case.output_dir / "index.html").read_text()
    assert page.count("<tr>") > 250
    assert 'loading="lazy"' in page
    assert 'id="find"' in page
    assert metrics_in(case.output_dir, {"id", "status"})[0] == {"id": "a_to_b", "status": "ok"}
