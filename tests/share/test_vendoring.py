"""The modules that a bundle takes along are those that importing what it names runs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from custom_components import outputs
from custom_components.common.errors import InputError
from custom_components.share.vendoring import (
    ROOT,
    data_files,
    find_modules,
    foreign_packages,
    imports,
    names_in,
    renamed,
)

LOADED = """
import importlib, sys
importlib.import_module("{name}")
print(*[m.__file__ for n, m in sys.modules.items() if n.startswith("custom_components.")], sep="\\n")
"""


@pytest.mark.parametrize("name", ["custom_components.inferers", "custom_components.outputs.report"])
def test_modules_are_those_that_python_loads(name):
    done = subprocess.run([sys.executable, "-c", LOADED.format(name=name)], check=True, capture_output=True, text=True)
    loaded = {Path(line) for line in done.stdout.splitlines()}
    assert loaded <= find_modules({name})


def test_modules_that_nobody_asks_for_stay_behind():
    found = {file.relative_to(ROOT).as_posix() for file in find_modules({"custom_components.fields.smooth"})}
    assert "fields/smooth.py" in found
    assert "fields/__init__.py" in found
    assert not [name for name in found if name.split("/")[0] in ("networks", "outputs", "share")]


def test_names_are_found_in_targets_imports_and_commands():
    text = "_target_: custom_components.a.B\n$import custom_components.c as c\npython -m custom_components.d --x"
    assert names_in(text) == {"custom_components.a.B", "custom_components.c", "custom_components.d"}


def test_a_name_that_lies_nowhere_is_an_error():
    with pytest.raises(InputError, match=r"custom_components\.nothing is in no module"):
        find_modules({"custom_components.nothing"})


def test_templates_go_with_their_package():
    names = {file.name for file in data_files(find_modules({"custom_components.outputs.report"}))}
    templates = Path(outputs.__file__).parent / "templates"
    assert names == {file.name for file in templates.iterdir()} > {"report.html.j2"}
    assert data_files(find_modules({"custom_components.fields.smooth"})) == set()


def test_foreign_packages_are_those_outside_the_standard_library(tmp_path):
    module = tmp_path / "module.py"
    module.write_text(
        "import os, cv2.dnn\nfrom scipy.ndimage import x\nimport custom_components.a\ndef f():\n  import ants\n"
    )
    assert foreign_packages([module]) == {"cv2", "scipy"}
    assert "ants" in imports(module)


def test_renamed_code_has_no_trace_of_the_old_name():
    for file in ROOT.rglob("*.py"):
        text = renamed(file.read_text())
        ast.parse(text)
        assert "custom_components" not in text or file.parent.name == "share", file
    assert renamed("my_custom_components.x custom_components.y") == "my_custom_components.x scripts.y"
