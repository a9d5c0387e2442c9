"""The repository's own files as pages of the site, and the API reference from the docstrings.

Pages keep their place in the repository, so a relative link is the same on the site and in the repository. What a page
links to besides pages (pictures, scripts, the licence) becomes part of the site.
"""

from __future__ import annotations

import ast
import os
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "custom_components"
SOURCES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs/*.md", "bundles/*/docs/README.md")
BUNDLE_PAGE = "bundles/*/docs/README.md"
LINK = re.compile(r"\[(?P<text>[^][]*)\]\((?P<target>(?!\w+:|[#/])[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")


def source_pages() -> list[str]:
    """The files of the repository that are pages, by their paths in it."""
    return [str(path.relative_to(ROOT)) for pattern in SOURCES for path in sorted(ROOT.glob(pattern))]


def prose_and_code(markdown: str) -> list[tuple[bool, str]]:
    """The lines of a page, each with whether it is prose (else inside a fence or indented as code)."""
    lines, fence = [], ""
    for line in markdown.splitlines(keepends=True):
        mark = re.match(r" {0,3}(```+|~~~+)", line)
        if mark and (not fence or line.strip() == fence):
            fence = "" if fence else mark[1]
            lines.append((False, line))
        else:
            lines.append((not fence and not line.startswith("    "), line))
    return lines


def linked_files(page: str) -> set[str]:
    """Files of the repository, other than pages, that a page links to."""
    prose = "".join(line for is_prose, line in prose_and_code((ROOT / page).read_text()) if is_prose)
    targets = [(ROOT / page).parent / link["target"] for link in LINK.finditer(prose)]
    return {str(target.resolve().relative_to(ROOT)) for target in targets if target.is_file()}


def modules() -> dict[str, Path]:
    """Public packages and modules right below the package: name and file."""
    packages = {path.parent.name: path for path in sorted((ROOT / PACKAGE).glob("*/__init__.py"))}
    single = {path.stem: path for path in sorted((ROOT / PACKAGE).glob("*.py"))}
    return {name: path for name, path in {**packages, **single}.items() if not name.startswith("_")}


def exported(init: Path) -> dict[str, str]:
    """What a package exports: each name of ``__all__`` with the path of its definition, module by module.

    A package without ``__all__`` has its modules imported by their own names, so it is these.
    """
    tree = ast.parse(init.read_text())
    lists = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
    ]
    if not lists:
        stems = [path.stem for path in sorted(init.parent.glob("*.py")) if not path.stem.startswith("_")]
        return {stem: f"{PACKAGE}.{init.parent.name}.{stem}" for stem in stems}
    origins = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    names = ast.literal_eval(lists[0])
    own = {name: f"{PACKAGE}.{init.parent.name}.{name}" for name in names if name not in origins}
    return {name: origin for name, origin in origins.items() if name in names} | own


def api_page(name: str, file: Path) -> str:
    """Markdown of a package's or module's page."""
    path = f"{PACKAGE}.{name}"
    head = f"---\ntitle: {name}\n---\n\n# {path}\n\n::: {path}\n    options:\n      show_root_heading: false\n"
    if file.name != "__init__.py":
        return head
    members = [f"::: {origin}\n" for origin in exported(file).values()]
    return head + "      show_root_toc_entry: false\n      members: false\n\n" + "\n".join(members)


def api_index() -> str:
    """Markdown of the reference's first page: each package and module with the first line of its docstring."""
    firsts = {
        name: (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n")[0] for name, file in modules().items()
    }
    rows = [f"| [`{name}`]({name}.md) | {first} |\n" for name, first in firsts.items()]
    return (
        f"# API reference\n\nThe package `{PACKAGE}`, from its docstrings: of a package what it exports, of a module "
        "what it defines. Configs name these objects as `_target_`, by the same paths.\n\n"
        "| | |\n| --- | --- |\n" + "".join(rows)
    )


def expand(entry: Any, pages: list[str]) -> list[Any]:
    """A nav entry with each pattern in it replaced by the pages that match."""
    if isinstance(entry, dict):
        return [
            {title: [e for item in value for e in expand(item, pages)] if isinstance(value, list) else value}
            for title, value in entry.items()
        ]
    return [page for page in pages if fnmatch(page, entry)] if "*" in entry else [entry]


def named(entry: Any) -> set[str]:
    """The pages that a nav entry names."""
    if isinstance(entry, dict):
        return {page for value in entry.values() for page in named(value)}
    return {page for item in entry for page in named(item)} if isinstance(entry, list) else {entry}


def on_config(config: MkDocsConfig) -> None:
    """Fill the patterns of the nav."""
    pages = [*source_pages(), *(f"api/{name}.md" for name in modules())]
    free = [page for page in pages if page not in named(config.nav)]
    config.nav = [e for entry in config.nav or [] for e in expand(entry, free)]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the repository's pages, what they link to, and the reference."""
    pages = source_pages()
    linked = {file for page in pages for file in linked_files(page)} - set(pages)
    for path in (*pages, *sorted(linked)):
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    files.append(File.generated(config, "api/README.md", content=api_index()))
    for name, file in modules().items():
        files.append(File.generated(config, f"api/{name}.md", content=api_page(name, file)))


def page_of(folder: Path) -> Path | None:
    """The page about a folder of the repository: a bundle's documentation, or a package's reference."""
    if folder.is_dir() and folder.is_relative_to(ROOT / PACKAGE):
        return ROOT / "api" / (f"{folder.name}.md" if folder != ROOT / PACKAGE else "README.md")
    return folder / "docs/README.md" if (folder / "docs/README.md").is_file() else None


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Name a bundle's page for the bundle, and turn links to folders into links to their pages or into text."""
    here = (ROOT / page.file.src_uri).parent

    def without_folder(link: re.Match[str]) -> str:
        folder = (here / link["target"]).resolve()
        if not folder.is_dir():
            return link[0]
        target = page_of(folder)
        return link["text"] if target is None else f"[{link['text']}]({os.path.relpath(target, here)})"

    def adapted(line: str) -> str:
        if fnmatch(page.file.src_uri, BUNDLE_PAGE):
            line = f"# {here.parent.name}\n" if line == "# Model Overview\n" else re.sub(r"^# ", "## ", line)
        return LINK.sub(without_folder, line)

    return "".join(adapted(line) if is_prose else line for is_prose, line in prose_and_code(markdown))
