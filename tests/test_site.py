"""The documentation site builds without a warning, has all pages, links that lead somewhere, and needs no network."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("mkdocs", reason="MkDocs is not installed: pip install 'warpzoo[docs]'")
pytest.importorskip("material", reason="mkdocs-material is not installed: pip install 'warpzoo[docs]'")
pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed: pip install 'warpzoo[docs]'")
pytestmark = pytest.mark.slow

LOADED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "object": "data", "link": "href"}


class Page(HTMLParser):
    """What a page names: its anchors, where it leads, and what a browser loads for it by itself."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.images = 0
        self.feed(file.read_text())

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.anchors.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADED and LOADED[tag] in given and given.get("rel") not in ("prev", "next", "canonical"):
            self.loaded.append(given[LOADED[tag]])
        self.images += tag == "img"


@pytest.fixture(scope="module")
def site(repository, tmp_path_factory) -> Path:
    """The site as `make docs` builds it, in a folder of its own."""
    folder = tmp_path_factory.mktemp("site") / "html"
    config = repository / "docs/site/mkdocs.yml"
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", config, "--site-dir", folder],
        cwd=folder.parent, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr, built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    """All pages by their file."""
    return {file: Page(file) for file in site.rglob("*.html")}


def test_every_page_of_the_repository_is_on_the_site(repository, site, pages):
    sources = [*repository.glob("docs/*.md"), *repository.glob("bundles/*/docs/README.md")]
    sources += [repository / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    assert len(sources) > 15
    for source in sources:
        name = "index.html" if source.name == "README.md" else f"{source.stem}.html"
        assert site / source.relative_to(repository).parent / name in pages


def test_a_bundles_page_is_headed_by_its_name_and_shows_its_pictures(repository, site, pages):
    for readme in repository.glob("bundles/*/docs/README.md"):
        file = site / readme.relative_to(repository).parent / "index.html"
        assert re.findall(r"<h1[^>]*>([^<]*)", file.read_text()) == [readme.parts[-3]]
        assert pages[file].images == len(re.findall(r"^!\[", readme.read_text(), re.MULTILINE))


def test_the_reference_has_every_public_name_and_no_private_one(repository, site, pages):
    names = [path.parent.name for path in repository.glob("custom_components/*/__init__.py")]
    for name in names:
        anchors = pages[site / "api" / f"{name}.html"].anchors
        package = import_module(f"custom_components.{name}")
        find_modules = [path.stem for path in (repository / "custom_components" / name).glob("[a-z]*.py")]
        missing = [
            public for public in getattr(package, "__all__", find_modules)
            if not any(re.fullmatch(rf"custom_components\.{name}\.(\w+\.)?{public}", anchor) for anchor in anchors)
        ]  # fmt: skip
        assert not missing, f"custom_components.{name} exports {missing}, which {name}.html does not show"
    modules = [path for path in repository.glob("custom_components/*.py") if path.stem != "__init__"]
    for module in modules:
        anchors = pages[site / "api" / f"{module.stem}.html"].anchors
        for node in ast.parse(module.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert f"custom_components.{module.stem}.{node.name}" in anchors
    assert len(names) > 15
    anchors = {a for file, page in pages.items() if file.parent.name == "api" for a in page.anchors}
    private = [a for a in anchors if a.startswith("custom_components.") and re.search(r"\._(?!_call__$)", a)]
    assert not private


def test_links_lead_to_pages_files_and_headings_that_exist(site, pages):
    broken, followed = [], 0
    for file, page in pages.items():
        if file.name == "404.html":  # served at any address, so its links are absolute
            continue
        for link in (*page.links, *page.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            anchor = unquote(parts.fragment)
            known = target.is_file() and (not anchor or target not in pages or anchor in pages[target].anchors)
            followed += 1
            if not known and anchor != "__skip":
                broken.append(f"{file.relative_to(site)}: {link}")
    assert followed > 1000
    assert not broken


def test_no_table_fence_or_link_is_left_as_its_markdown(site, pages):
    left = []
    for file in pages:
        without_code = re.sub(r"<(pre|code|script|style|svg)\b.*?</\1>", "", file.read_text(), flags=re.DOTALL)
        text = re.sub(r"<[^>]+>", "", without_code)
        left += [f"{file.relative_to(site)}: {found}" for found in re.findall(r".*(?:```|\]\(|\| --- ).*", text)]
    assert not left


def test_nothing_is_loaded_from_the_network(site, pages):
    remote = [link for page in pages.values() for link in page.loaded if urlsplit(link).netloc]
    for sheet in site.rglob("*.css"):
        remote += re.findall(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^)\"']+)", sheet.read_text())
    assert not remote
    # the theme's script would fetch a drawing library for these
    assert not [file for file in pages if 'class="mermaid"' in file.read_text()]


def test_the_search_works_on_pages_opened_from_the_disk(site, chromium):
    browser = chromium(1400, 1000)
    from selenium.webdriver.support.wait import WebDriverWait

    try:
        browser.get((site / "docs/faq.html").as_uri())
        browser.find_element("css selector", "input.md-search__input").send_keys("half pixels")
        wanted = "a.md-search-result__link[href*='docs/conventions.html'][href$='#half-pixels']"
        WebDriverWait(browser, 60).until(lambda _: browser.find_elements("css selector", wanted))
        if folder := os.environ.get("WARPZOO_SCREENSHOTS"):
            browser.save_screenshot(str(Path(folder) / "search.png"))
        severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    finally:
        browser.quit()
    assert not severe
