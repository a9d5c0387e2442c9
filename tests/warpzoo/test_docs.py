"""The programs of docs/python.md and the notebook run as they stand."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import matplotlib as mpl
import pytest
from skimage.io import imread, imsave

from custom_components.pairs.demo import write_demo_pair


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")


def test_the_programs_of_the_page_on_python_run(repository, capsys):
    pair = write_demo_pair(Path("pair"))
    for file, name in ((pair.moving, "IHC.tif"), (pair.fixed, "HE.tif")):
        imsave(name, imread(file), check_contrast=False)
    shutil.copyfile(pair.moving_annotations, "annotations.geojson")
    programs = re.findall(r"```python\n(.*?)```", (repository / "docs/python.md").read_text(), re.DOTALL)
    assert len(programs) == 6
    found: dict[str, object] = {}
    for program in programs:
        exec(program, found)
    said = capsys.readouterr().out
    assert said.startswith("ok")
    assert "did you mean 'working_size'" in said
    assert abs(found["back"] - [[120.0, 80.0], [300.0, 200.0]]).max() < 0.05
    assert set(map(int, found["labels"].ravel())) <= {0, 1}
    assert Path("results/IHC_to_HE/report.html").is_file()


def test_the_notebook_runs(repository, capsys):
    cells = json.loads((repository / "docs/tutorial.ipynb").read_text())["cells"]
    found: dict[str, object] = {}
    for cell in cells:
        assert not cell.get("outputs")
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), found)
    said = capsys.readouterr().out
    before, after = map(float, re.search(r"rTRE before ([\d.]+), after ([\d.]+)", said).groups())
    assert after < before / 10
    assert Path("result/report.html").is_file()
