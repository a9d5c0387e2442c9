"""The packages import each other one way only, and share their name with other projects."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from custom_components.share.vendoring import ROOT


def imports() -> dict[str, set[str]]:
    """Which package, or module at the top, imports which others, in functions too."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in ROOT.rglob("*.py"):
        parts = file.relative_to(ROOT).parts
        own = parts[0] if len(parts) > 1 else file.stem
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            found[own] |= {name.split(".")[1] for name in names if name.startswith("custom_components.")} - {own}
    return found


def test_packages_import_each_other_without_circles():
    try:
        order = list(TopologicalSorter(imports()).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")
    assert order.index("fields") < order.index("inferers") < order.index("engines")


def test_every_module_has_a_room():
    alone = {file.stem for file in ROOT.glob("*.py")}
    assert alone == {"apply", "view"}  # commands by their earlier names, for one more version


def test_the_lower_packages_know_nothing_of_files():
    graph = imports()
    for package in ("fields", "networks", "losses", "metrics"):
        assert not graph[package] & {"pairs", "outputs", "engines", "results", "slides", "bundles"}
    for package, known in graph.items():
        assert "experiments" not in known, package


@pytest.mark.parametrize("regular", [False, True])
def test_another_project_may_have_the_name_too(regular, tmp_path):
    """Home Assistant's folder ``custom_components``, with or without an ``__init__.py``, before ours on the path."""
    other = tmp_path / "custom_components" / "my_lamp"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("LIGHT = 1\n")
    if regular:
        (tmp_path / "custom_components" / "__init__.py").write_text("")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import warpzoo, custom_components.my_lamp, custom_components.fields\n"
        "print(custom_components.my_lamp.LIGHT, warpzoo.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 ")


def test_the_version_is_that_of_the_distribution():
    from importlib.metadata import version

    import warpzoo

    assert warpzoo.__version__ == version("warpzoo")


def test_every_folder_of_code_is_a_package():
    """``custom_components`` itself has no __init__.py, which is what lets others share it; all below it have one."""
    assert not (ROOT / "__init__.py").exists()
    folders = {file.parent for file in ROOT.rglob("*.py")} - {ROOT}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []
    assert Path(ROOT).name == "custom_components"
