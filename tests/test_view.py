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

from custom_components.errors import InputError
from custom_components.outputs.viewer import TILE, cut, outlines_of, pyramid
from custom_components.pairs import write_image
from custom_components.view import write_viewer

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
        "id": "a & b", "status": "ok", "reason": "", "fixed": str(folder / "fixed.png"),
        "fixed_grid": {"shape": [HEIGHT, WIDTH]}, "fixed_pixel_size": [0.5, 0.5],
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "warped_regions.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [RING]}))
    write_viewer(folder)
    return folder


def test_the_smallest_level_fits_a_tile_and_each_is_half_the_next():
    levels = pyramid(np.zeros((1100, 1500, 3), np.uint8))
    assert [level.shape[:2] for level in levels] == [(275, 375), (550, 750), (1100, 1500)]


def test_tiles_put_together_are_the_image():
    image = np.random.default_rng(0).integers(0, 255, (1100, 1500, 3), dtype=np.uint8)
    whole = np.zeros_like(image)
    for row, column, picture in cut(image):
        whole[row * TILE :, column * TILE :][: picture.shape[0], : picture.shape[1]] = picture
    np.testing.assert_array_equal(whole, image)


def test_every_tile_of_the_page_is_there(result):
    scene = json.loads(re.search(r"const scene=(.*);", (result / "viewer.html").read_text()).group(1))
    assert scene["levels"] == [[375, 275], [750, 550], [WIDTH, HEIGHT]]
    for layer in ("fixed", "warped"):
        for number, (width, height) in enumerate(scene["levels"]):
            folder = result / scene["root"] / layer / str(number)
            wanted = {f"{c}_{r}.jpg" for c in range(-(-width // TILE)) for r in range(-(-height // TILE))}
            assert {path.name for path in folder.iterdir()} == wanted


def test_outlines_are_found_in_every_form_of_geojson():
    assert outlines_of({"type": "Polygon", "coordinates": [RING]}) == [RING]
    feature = {"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": [[RING], [RING]]}}
    assert outlines_of([feature, {"type": "Point", "coordinates": [1, 2]}]) == [RING, RING]
    assert outlines_of({"type": "GeometryCollection", "geometries": [{"type": "LineString", "coordinates": RING}]}) == [
        RING
    ]
    assert outlines_of({"type": "Feature", "geometry": None}) == []


def test_a_second_call_replaces_the_first(result):
    before = sorted(path.name for path in result.rglob("*"))
    write_viewer(result)
    assert sorted(path.name for path in result.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "failed", "reason": "too few matches"}, "no aligned image: too few matches"),
        ({"fixed_grid": {"shape": [9, 9, 9]}}, "volumes"),
        ({"fixed": "absent.png"}, r"absent\.png does not exist"),
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


def test_a_fixed_image_of_another_size_is_refused(result, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(result, folder)
    write_image(folder / "other.png", np.zeros((3, 64, 64), np.uint8))
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**metrics, "fixed": str(folder / "other.png")}))
    with pytest.raises(InputError, match="64 x 64 pixels, the warped one 1500 x 1100"):
        write_viewer(folder)


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium; its window is 1000 x 800."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install '.[browser]'")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1000,800"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options, webdriver.ChromeService(driver))
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
        image = np.asarray(Image.open(io.BytesIO(self.browser.get_screenshot_as_png())).convert("RGB"))
        return image[round(place[1]), round(place[0])].astype(int)


@pytest.fixture
def page(browser, result) -> Page:
    return Page(browser, result)


def near(colour, wanted, tolerance=12):
    np.testing.assert_allclose(colour, wanted, atol=tolerance)


@pytest.mark.slow
def test_the_slider_fades_from_fixed_to_aligned(page):
    for share in (0, 50, 100):
        page.move("opacity", share)
        near(page.colour(200, 900), np.array(FIXED) + (np.array(WARPED) - FIXED) * share / 100)
        near(page.colour(1000, 700), MARK)
    assert not [entry for entry in page.browser.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.mark.slow
def test_annotations_lie_where_they_are_and_can_be_hidden(page):
    page.move("opacity", 0)
    near(page.colour(500, 200), (0, 165, 255), tolerance=60)
    page.press("outlines")
    near(page.colour(500, 200), FIXED)


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
