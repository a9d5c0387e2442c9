"""The page of one pair: what it says, that it needs nothing else, and that a browser shows it."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from custom_components.outputs.report import VIEWER_LINK, fact_sheet, percent, stage_rows, verdict
from custom_components.outputs.writer import write_failure

SCRIPT = """<script>
addEventListener("load",()=>{
  const images=[...document.images],range=document.getElementById("range"),warped=document.getElementById("warped");
  range.value=30;range.dispatchEvent(new Event("input"));
  const clip=warped.style.clipPath,bar=document.getElementById("bar").style.left;
  document.getElementById("before").click();
  const swapped=[warped.hidden,document.getElementById("unaligned").hidden,document.getElementById("tag").textContent];
  document.getElementById("fade").click();
  const seen={images:images.length,broken:images.filter(i=>!i.complete||!i.naturalWidth).map(i=>i.alt||i.id),
    clip,bar,swapped,opacity:document.getElementById("unaligned").style.opacity,
    wide:document.documentElement.scrollWidth>innerWidth,divide:document.body.dataset.divide};
  document.body.insertAdjacentHTML("beforeend","<pre id=seen>"+JSON.stringify(seen)+"</pre>");
});</script></body>"""


class Page(HTMLParser):
    """Tags of a page with their attributes, and its text without scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside not in ("script", "style"):
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def html(case):
    case.write(note="Half real, half <made>")
    return (case.folder / "report.html").read_text(encoding="utf-8")


def decoded(uri: str) -> np.ndarray:
    head, _, text = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text, validate=True))))


def test_page_needs_no_network_and_no_other_file(html):
    page = Page(html)
    sources = [tag[key] for _, tag in page.tags for key in ("src", "href", "srcset", "poster") if tag.get(key)]
    assert sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    plain = re.sub(r"data:[^\"]*", "", html)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|fetch\(|XMLHttpRequest", plain)
    policy = next(tag["content"] for tag in page.all("meta") if tag.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy


def test_the_link_to_the_viewer_waits_in_a_comment(html):
    assert html.count(f"<!--{VIEWER_LINK}-->") == 1
    assert not Page(html).all("a")
    assert [tag["href"] for tag in Page(html.replace(f"<!--{VIEWER_LINK}-->", VIEWER_LINK)).all("a")] == ["viewer.html"]


def test_pictures_are_whole_and_compared_ones_have_one_size(html):
    images = [tag for tag in Page(html).all("img") if tag.get("src")]
    sizes = {tag.get("id") or f"picture {i}": decoded(tag["src"]).shape for i, tag in enumerate(images)}
    assert len(sizes) >= 12
    assert sizes["fixed"] == sizes["warped"] == sizes["unaligned"] == (96, 120, 3)
    assert all(shape[2] == 3 for shape in sizes.values())


def test_copies_of_pictures_point_to_pictures_that_exist(html):
    page = Page(html)
    ids = {tag["id"] for _, tag in page.tags if tag.get("id")}
    copies = [tag["data-copy"] for tag in page.all("img") if tag.get("data-copy")]
    assert sorted(copies) == ["fixed", "unaligned", "warped"]
    assert set(copies) | {"range", "bar", "compare", "before", "after", "curtain", "fade", "tag"} <= ids
    assert page.all("input")[0]["type"] == "range"


def test_warped_picture_shows_the_fixed_frame_of_the_moving_image(html, case):
    images = {tag.get("id"): tag.get("src") for tag in Page(html).all("img") if tag.get("id")}
    warped, before = decoded(images["warped"]).astype(int), decoded(images["unaligned"]).astype(int)
    moving = case.images["moving"].numpy().transpose(1, 2, 0).astype(int)
    # warped(row, col) = moving(row + 4, col - 6), before it moving(row, col)
    assert np.abs(warped[20:80, 20:100] - moving[24:84, 14:94]).mean() < 3
    assert np.abs(before[20:80, 20:100] - moving[20:80, 20:100]).mean() < 3


def test_words_say_how_it_went(html):
    page = Page(html)
    for words in ("a_to_b", "Aligned", "40 consistent matches", "no folding", "40 kept", "5 rejected",
                  "9 landmarks", "fell from 7.2 to 0.0 px", "100% of them moved closer", "affine_alignment",
                  "Half real, half <made>", "unit: pixel"):  # fmt: skip
        assert words in page.text, words
    assert "<made>" not in html


def test_poor_result_says_why_first(case):
    case.stages = (replace(case.stages[1], details={"similarity": 0.02}),)
    case.write()
    text = Page((case.folder / "report.html").read_text()).text
    assert "Look closely before you use this" in text
    assert text.index("The local similarity after registration is only 0.02") < text.index("consistent matches")


def test_without_landmarks_there_is_no_landmark_section(case):
    case.write(pair=replace(case.pair, moving_landmarks=None, fixed_landmarks=None))
    assert "Landmarks" not in Page((case.folder / "report.html").read_text()).text


def test_failed_pair_has_a_page_with_the_reason_and_no_pictures(case):
    write_failure(case.pair, "moving.png is empty: all <pixels> are 255", case.output_dir, 1.0)
    html = (case.folder / "report.html").read_text()
    page = Page(html)
    assert "Not aligned" in page.text
    assert "Moving.png is empty: all <pixels> are 255." in page.text
    assert "<pixels>" not in html
    assert page.all("img") == []
    assert page.all("script") == []


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.0, "0 %"), (1e-6, "< 0.01 %"), (0.0123, "1.23 %"), (1.0, "100.00 %")]
)
def test_percent_never_rounds_to_a_false_zero(fraction, text):
    assert percent(fraction) == text


def test_verdict_admits_that_landmarks_went_astray():
    marks = {"mean": 0.1, "initial_mean": 0.05, "count": 4, "robustness": 0.25}
    metrics = {
        "status": "poor", "matches": 0, "folding_share": 0.02, "unit": "pixel", "landmarks": marks,
        "fixed_grid": {"shape": [300, 400]},
    }  # fmt: skip
    assert verdict(metrics) == (
        "2.00 % of the tissue is folded over. The mean error of 4 landmarks rose from 25.0 to 50.0 px; "
        "25% of them moved closer."
    )
    assert verdict({"status": "failed"}) == ""


def test_stages_are_told_in_words():
    stages = {"affine": {"seconds": 0.5, "kept_forest": 0.951, "mirrored": False, "degrees": 30.0, "matches": 7}}
    assert stage_rows({"stages": stages}) == [
        ("affine", 0.5, "kept forest 95.10 %; mirrored: no; degrees 30; matches 7")
    ]


@pytest.mark.slow
def test_a_real_browser_shows_every_picture_and_the_slider_works(html, tmp_path):
    browsers = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    browser = next((found for found in browsers if found), None)
    if browser is None:
        pytest.skip("no Chromium on the path")
    # the page as it is, with a probe at its end that works the controls and writes down what it finds
    probe = tmp_path / "probe.html"
    assert html.endswith("</body></html>")
    probe.write_text(html.removesuffix("</body></html>") + SCRIPT + "</html>", encoding="utf-8")
    picture = tmp_path / "page.png"
    options = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --window-size=1200,2000"
    command = [browser, *options.split(), f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000"]
    dumped = subprocess.run(
        [*command, "--dump-dom", probe.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r'<pre id="seen">(.*?)</pre>', dumped.stdout)
    assert found, dumped.stderr[-2000:]
    seen = json.loads(found[1])
    assert seen["images"] >= 15
    assert seen["broken"] == []
    assert seen["clip"].replace("0px", "0") == "inset(0 0 0 30%)"
    assert seen["bar"] == "30%"
    assert seen["swapped"] == [True, False, "moving, as it came"]
    assert (seen["opacity"], seen["divide"], seen["wide"]) == ("0.3", "30", False)

    page = (tmp_path / "out" / "a_to_b" / "report.html").as_uri()
    subprocess.run([*command, f"--screenshot={picture}", page], capture_output=True, timeout=120, check=True)
    shot = np.asarray(Image.open(picture).convert("RGB"))
    assert shot.shape[:2] == (2000, 1200)
    assert shot.std() > 10  # not a blank page


@pytest.mark.parametrize("dice", [None, {"1": 0.5, "2": 0.75}])
def test_the_mean_dice_stands_in_a_box_where_there_are_label_maps(dice) -> None:
    metrics = {
        "status": "ok", "matches": 0, "folding_share": 0.0, "unit": "pixel", "residual_median_physical": 0.0,
        "inverse_error": {"median": 0.0}, "dice": dice,
    }  # fmt: skip
    assert (("0.625", "mean Dice of the labels") in fact_sheet(metrics)) == (dice is not None)
