"""The viewer: its tiles are the images, and in a real browser both layers stay together."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from custom_components.commands.view import write_viewer
from custom_components.common.errors import InputError
from custom_components.fields import Grid
from custom_components.outputs.report import VIEWER_LINK
from custom_components.pairs import slides, write_image
from custom_components.pairs.slides import block_mean
from custom_components.slides.pyramid import TILE, PyramidWriter

WIDTH, HEIGHT = 1500, 1100
FIXED, WARPED, MARK = (200, 60, 40), (40, 90, 220), (20, 200, 60)
RING = [[300, 200], [700, 200], [700, 600], [300, 200]]


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Path:
    """A result's folder with a red fixed and a blue warped image, each with a green square about x 1000, y 700."""
    folder = tmp_path_factory.mktemp("out") / "a & b"
    folder.mkdir()
    for name, colour in (("fixed", FIXED), ("warped", WARPED)):
        image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        image[:] = colour
        image[680:720, 980:1020] = MARK
        write_image(folder / f"{name}.png", np.moveaxis(image, -1, 0))
    metrics = {
        "id": "a & b", "status": "ok", "reason": "", "fixed": str(folder / "fixed.png"), "moving": "moving.png",
        "unit": "pixel", "fixed_grid": Grid.of_pixels((HEIGHT, WIDTH)).as_json(), "fixed_pixel_size": [0.5, 0.5],
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "warped_regions.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [RING]}))
    write_viewer(folder)
    return folder


def scene_of(folder: Path):
    return json.loads(re.search(r"const scene=(.*);", (folder / "viewer.html").read_text()).group(1))


def test_every_tile_of_the_page_is_there(result):
    scene = scene_of(result)
    assert scene["frame"] == [WIDTH, HEIGHT]
    for layer in ("fixed", "warped"):
        assert scene["layers"][layer] == {"scale": [1, 1], "levels": [[375, 275], [750, 550], [WIDTH, HEIGHT]]}
        for number, (width, height) in enumerate(scene["layers"][layer]["levels"]):
            folder = result / scene["root"] / layer / str(number)
            wanted = {f"{c}_{r}.jpg" for c in range(-(-width // TILE)) for r in range(-(-height // TILE))}
            assert {path.name for path in folder.iterdir()} == wanted


def test_a_second_call_replaces_the_first(result):
    before = sorted(path.name for path in result.rglob("*"))
    write_viewer(result)
    assert sorted(path.name for path in result.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "failed", "reason": "too few matches"}, "no aligned image: too few matches"),
        ({"fixed_grid": Grid.of_pixels((9, 9, 9)).as_json()}, "volumes"),
        ({"fixed": "absent.png"}, r"absent\.png does not exist"),
        (
            {"fixed_grid": Grid.of_pixels((HEIGHT, 64)).as_json()},
            "has 1500 x 1100 pixels, the registered one 64 x 1100; was it",
        ),
    ],
)
def test_what_can_not_be_shown_is_refused_with_the_reason(change, reason, result, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(result, folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**metrics, **change}))
    with pytest.raises(InputError, match=reason):
        write_viewer(folder)


def test_a_folder_without_a_result_is_named(tmp_path):
    with pytest.raises(InputError, match=r"holds no metrics\.json"):
        write_viewer(tmp_path)


def test_an_aligned_image_of_another_frame_is_refused(result, tmp_path):
    write_image(tmp_path / "other.png", np.zeros((3, 64, 64), np.uint8))
    with pytest.raises(InputError, match="is 64 x 64 pixels, which is neither the fixed image's 1500 x 1100 nor"):
        write_viewer(result, image=tmp_path / "other.png")


@pytest.mark.parametrize("level", [-1, 3, 1.5, True, "coarse"])
def test_a_level_that_is_none_is_refused(level, result):
    with pytest.raises(InputError, match=r"--level is a whole number from 0, full resolution, to 2 here, got"):
        write_viewer(result, level=level)


def test_a_full_disk_is_seen_before_anything_is_written(result, tmp_path, monkeypatch):
    folder = tmp_path / "copy"
    shutil.copytree(result, folder, ignore=shutil.ignore_patterns("viewer*"))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(InputError, match="give a higher --level"):
        write_viewer(folder)
    assert not list(folder.glob("*viewer*"))


def test_what_a_stopped_run_left_is_removed(result):
    left = result / ".viewer_tiles.0123abcd.partial"
    left.mkdir()
    write_viewer(result)
    assert not left.exists()


def test_a_failure_leaves_the_older_viewer(result, monkeypatch):
    before = {path: path.read_bytes() for path in result.rglob("*") if path.is_file()}

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(InputError, match="No space left"):
            write_viewer(result)
    assert {path: path.read_bytes() for path in result.rglob("*") if path.is_file()} == before


def spots(height: int, width: int, colour: tuple[int, int, int]) -> np.ndarray:
    """(height, width, 3) of a colour with green squares of 64 pixels, whose first corners are ``PLACES`` (x, y)."""
    image = np.empty((height, width, 3), np.uint8)
    image[:] = colour
    for x, y in PLACES:
        image[y : y + 64, x : x + 64] = MARK
    return image


PLACES = ((128, 64), (1984, 1408), (1024, 768))
TALL, WIDE = 1503, 2105  # so that the last squares of every level are cut off


def write_pyramid(path: Path, image: np.ndarray) -> None:
    writer = PyramidWriter(path, image.shape[:2], 3, np.uint8, pixel_size=(0.5, 0.5))
    for row, column in writer.places:
        writer.put(row, column, image[row : row + 1024, column : column + 1024])
    writer.finish()


@pytest.fixture
def slide_result(tmp_path, monkeypatch) -> Path:
    """A slide's result: fixed a pyramid, ``warped.ome.tif`` a quarter of its size, with green squares in one place."""
    monkeypatch.setattr(slides, "LARGE", 1 << 20)
    folder = tmp_path / "run" / "pair"
    folder.mkdir(parents=True)
    write_pyramid(tmp_path / "fixed.ome.tif", spots(TALL, WIDE, FIXED))
    write_image(folder / "warped.ome.tif", np.moveaxis(block_mean(spots(TALL, WIDE, WARPED), 4), -1, 0))
    metrics = {
        "id": "pair", "status": "ok", "reason": "", "fixed": str(tmp_path / "fixed.ome.tif"),
        "moving": str(tmp_path / "IHC.svs"), "unit": "pixel", "fixed_grid": Grid.of_pixels((TALL, WIDE)).as_json(),
        "fixed_pixel_size": [0.5, 0.5],
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_a_coarse_aligned_image_sets_the_level_and_names_the_way_out(slide_result, capsys):
    write_viewer(slide_result)
    layers = scene_of(slide_result)["layers"]
    assert layers["fixed"] == layers["warped"] == {"scale": [4, 4], "levels": [[264, 188], [527, 376]]}
    said = capsys.readouterr().err
    assert "fixed image 527 x 376, aligned image 527 x 376 pixels, 6 tiles" in said
    assert "warped.ome.tif has 1/4 of the full resolution" in said
    assert re.search(r"warpzoo apply \S+/run/pair --image \S+/IHC\.svs", said)
    assert "both images at 1/4 of the full resolution" in (slide_result / "viewer.html").read_text()


def test_the_slide_that_was_carried_over_is_taken_at_full_resolution(slide_result, capsys):
    write_pyramid(slide_result / "warped_IHC.ome.tif", spots(TALL, WIDE, WARPED))
    write_viewer(slide_result)
    layers = scene_of(slide_result)["layers"]
    assert layers["fixed"] == layers["warped"]
    assert layers["fixed"]["scale"] == [1, 1]
    assert layers["fixed"]["levels"][-1] == [WIDE, TALL]
    assert "note" not in capsys.readouterr().err


def test_the_longest_side_is_bounded_unless_more_is_asked_for(slide_result, monkeypatch, capsys):
    monkeypatch.setattr("custom_components.outputs.viewer.LONGEST", 1100)
    write_pyramid(slide_result / "warped_IHC.ome.tif", spots(TALL, WIDE, WARPED))
    write_viewer(slide_result)
    assert scene_of(slide_result)["layers"]["warped"]["levels"][-1] == [1053, 752]
    assert "aligned image 1053 x 752 pixels (--level 0 for the full resolution)" in capsys.readouterr().err
    write_viewer(slide_result, level=0)
    assert scene_of(slide_result)["layers"]["warped"]["levels"][-1] == [WIDE, TALL]


def test_no_slide_is_read_whole(slide_result, monkeypatch):
    monkeypatch.setattr("custom_components.slides.native.read_image", lambda *_: pytest.fail("an image was read whole"))
    write_pyramid(slide_result / "warped_IHC.ome.tif", spots(TALL, WIDE, WARPED))
    write_viewer(slide_result)


def test_report_and_index_link_to_the_viewer_once_it_is_there(slide_result):
    run = slide_result.parent
    report = slide_result / "report.html"
    report.write_text(f"<p>before</p><!--{VIEWER_LINK}--><p>after</p>")
    (run / "summary.json").write_text("{}")
    (run / "index.html").write_text("old")
    metrics = json.loads((slide_result / "metrics.json").read_text())
    (slide_result / "metrics.json").write_text(json.dumps({**metrics, "seconds": {"total": 1.0}}))
    for _ in range(2):
        write_viewer(slide_result)
        assert report.read_text() == f"<p>before</p>{VIEWER_LINK}<p>after</p>"
        assert (run / "index.html").read_text().count('href="pair/viewer.html"') == 1
    assert '<a href="report.html">' in (slide_result / "viewer.html").read_text()


def test_without_a_report_there_is_no_link_to_one_and_foreign_indexes_stay(slide_result):
    (slide_result.parent / "index.html").write_text("of a series")
    write_viewer(slide_result)
    assert "report.html" not in (slide_result / "viewer.html").read_text()
    assert (slide_result.parent / "index.html").read_text() == "of a series"


@pytest.fixture(scope="module")
def browser(chromium):
    """Headless Chromium; its window is 1000 x 800."""
    found = chromium(1000, 800)
    found.set_page_load_timeout(120)
    yield found
    found.quit()


class Page:
    """The viewer in the browser."""

    def __init__(self, browser, folder: Path) -> None:
        self.browser = browser
        browser.get((folder / "viewer.html").as_uri())
        self.settle()

    def settle(self) -> None:
        """Wait until all tiles that are wanted are there and drawn."""
        self.browser.set_script_timeout(120)
        done = "const done=arguments[0],wait=()=>{[...cache.values()].every(i=>i.complete)&&!waiting"
        self.browser.execute_async_script(
            done + "?requestAnimationFrame(()=>done()):setTimeout(wait,20)};setTimeout(wait,50)"
        )

    def state(self, name: str) -> float:
        return float(self.browser.execute_script(f"return document.body.dataset.{name}"))

    def move(self, element: str, value: int) -> None:
        script = (
            "const e=document.getElementById(arguments[0]);e.value=arguments[1];e.dispatchEvent(new Event('input'))"
        )
        self.browser.execute_script(script, element, value)
        self.settle()

    def press(self, element: str) -> None:
        self.browser.find_element("id", element).click()
        self.settle()

    def colour(self, x: float, y: float, pane: int = 0) -> np.ndarray:
        """RGB on the screen where the pixel (x, y) of the fixed image is shown in a pane."""
        place = self.browser.execute_script(
            "const [x,y,pane]=arguments,b=canvases[pane].getBoundingClientRect();"
            "return [b.left+b.width/2+(x+.5-look.x)*look.zoom,b.top+b.height/2+(y+.5-look.y)*look.zoom]",
            x, y, pane,
        )  # fmt: skip
        return self.shot()[round(place[1]), round(place[0])].astype(int)

    def shot(self) -> np.ndarray:
        """(H, W, 3) of the window."""
        return np.asarray(Image.open(io.BytesIO(self.browser.get_screenshot_as_png())).convert("RGB"))

    def edge(self, x: float, y: float, pane: int, left: tuple[int, ...], right: tuple[int, ...]) -> float:
        """x at which one colour becomes another within 10 pixels of a place, all counted from the outer corner."""
        top, start, zoom = self.browser.execute_script(
            "const [x,y,pane]=arguments,b=canvases[pane].getBoundingClientRect();"
            "return [b.top+b.height/2+(y-look.y)*look.zoom,b.left+b.width/2+(x-10-look.x)*look.zoom,look.zoom]",
            x, y, pane,
        )  # fmt: skip
        row = self.shot()[round(top), round(start) : round(start + 20 * zoom)].astype(float)
        way = np.subtract(right, left)
        fraction = (row - left) @ way / (way @ way)
        assert fraction[0] < 0.1 < 0.9 < fraction[-1]
        return x - 10 + float(np.argmax(fraction > 0.5)) / zoom


@pytest.fixture
def page(browser, result) -> Page:
    return Page(browser, result)


def near(colour, wanted, tolerance=12):
    np.testing.assert_allclose(colour, wanted, atol=tolerance)


@pytest.mark.slow
def test_the_slider_fades_from_fixed_to_aligned(page):
    for fraction in (0, 50, 100):
        page.move("opacity", fraction)
        near(page.colour(200, 900), np.array(FIXED) + (np.array(WARPED) - FIXED) * fraction / 100)
        near(page.colour(1000, 700), MARK)
    assert not [entry for entry in page.browser.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.mark.slow
def test_annotations_lie_where_they_are_and_can_be_hidden(page):
    page.move("opacity", 0)
    near(page.colour(500, 200), (0, 165, 255), tolerance=60)
    page.press("outlines")
    near(page.colour(500, 200), FIXED)


@pytest.mark.slow
@pytest.mark.parametrize("carried", [True, False])
def test_a_slide_and_its_coarse_aligned_image_cover_the_same_frame(carried, browser, slide_result):
    """Edges of the squares lie where they are to half a pixel, from whatever level each image is shown."""
    if carried:
        write_pyramid(slide_result / "warped_IHC.ome.tif", spots(TALL, WIDE, WARPED))
    write_viewer(slide_result, level=0)
    page = Page(browser, slide_result)
    page.press("beside")
    for x, y in PLACES:
        browser.execute_script("look.x=arguments[0];look.y=arguments[1];look.zoom=3;refresh()", x, y)
        page.settle()
        for pane, colour in enumerate((FIXED, WARPED)):
            assert page.edge(x, y + 32, pane, colour, MARK) == pytest.approx(x, abs=0.6)
            assert page.edge(x + 64, y + 32, pane, MARK, colour) == pytest.approx(x + 64, abs=0.6)
            near(page.colour(x + 32, y - 7, pane), colour, 20)
            near(page.colour(x + 32, y + 6, pane), MARK, 20)
    browser.execute_script("look.x=arguments[0];look.y=arguments[1];look.zoom=4;refresh()", WIDE, TALL)
    page.settle()
    for pane, colour in enumerate((FIXED, WARPED)):  # both end at the frame's last pixel
        near(page.colour(WIDE - 2, TALL - 2, pane), colour, 20)
        near(page.colour(WIDE + 1, TALL - 2, pane), (255, 255, 255))
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.mark.slow
def test_a_line_runs_along_the_edge_that_it_was_drawn_on(browser, slide_result):
    """QuPath's numbers begin at the outer corner of the first pixel; at 16-fold zoom half a pixel is 8 there."""
    x, y = PLACES[2]
    line = {"type": "LineString", "coordinates": [[x, y - 40], [x, y + 40]]}
    (slide_result / "warped_a.geojson").write_text(json.dumps(line))
    write_viewer(slide_result, level=0)
    page = Page(browser, slide_result)
    page.move("opacity", 0)
    browser.execute_script("look.x=arguments[0];look.y=arguments[1];look.zoom=16;refresh()", x, y)
    page.settle()
    near(page.colour(x - 0.5, y + 5), (0, 165, 255), 60)
    near(page.colour(x - 0.8, y + 5), FIXED, 25)
    near(page.colour(x - 0.2, y + 5), MARK, 25)


@pytest.mark.slow
def test_links_lead_to_the_report_and_back(browser, slide_result):
    (slide_result / "report.html").write_text(f"<h1>report</h1><!--{VIEWER_LINK}-->")
    write_viewer(slide_result)
    browser.get((slide_result / "report.html").as_uri())
    browser.find_element("css selector", "a").click()
    assert browser.current_url.endswith("/pair/viewer.html")
    browser.find_element("css selector", "header a").click()
    assert browser.current_url.endswith("/pair/report.html")


@pytest.mark.slow
def test_zooming_keeps_the_place_under_the_pointer_and_takes_finer_tiles(page):
    page.move("opacity", 0)
    before = page.state("level")
    page.browser.execute_script(
        "const b=canvases[0].getBoundingClientRect();"
        "for(let i=8;i--;)canvases[0].dispatchEvent(new WheelEvent('wheel',{deltaY:-120,bubbles:true,cancelable:true,"
        "clientX:b.left+b.width/2+(1000.5-look.x)*look.zoom,clientY:b.top+b.height/2+(700.5-look.y)*look.zoom}))"
    )
    page.settle()
    assert page.state("zoom") > 2
    assert page.state("level") > before
    near(page.colour(1000, 700), MARK)
    near(page.colour(970, 700), FIXED)
    near(page.colour(990, 690), MARK)


@pytest.mark.slow
def test_both_panes_show_the_same_place(page):
    page.press("beside")
    page.press("in")
    for x, y in ((1000, 700), (985, 685)):
        near(page.colour(x, y, 0), MARK)
        near(page.colour(x, y, 1), MARK)
    near(page.colour(900, 600, 0), FIXED)
    near(page.colour(900, 600, 1), WARPED)
    if folder := os.environ.get("WARPZOO_SCREENSHOTS"):
        page.browser.save_screenshot(str(Path(folder) / "beside.png"))


@pytest.mark.slow
def test_dragging_moves_both(page):
    from selenium.webdriver.common.action_chains import ActionChains

    page.press("full")
    canvas = page.browser.find_element("css selector", "canvas")
    ActionChains(page.browser).click_and_hold(canvas).move_by_offset(-120, 40).release().perform()
    page.settle()
    assert page.state("x") == pytest.approx(WIDTH / 2 + 120 / page.state("zoom"), abs=2)
    assert page.state("y") == pytest.approx(HEIGHT / 2 - 40 / page.state("zoom"), abs=2)
