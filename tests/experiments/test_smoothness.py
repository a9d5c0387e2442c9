"""The grid of lambdas: here, as a job of an array, and as the script that Slurm takes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from custom_components.common.errors import InputError
from custom_components.experiments import SmoothnessGrid

ROOT = Path(__file__).resolve().parents[2]


def grid(table: Path, **more) -> SmoothnessGrid:
    settings = {
        "pairs": str(table), "output_dir": str(table.parent / "tune"), "method": "mse", "values": [0.02, 1],
        "options": "max_epochs=1 batch_size=1 device=cpu", "slurm": False,
    }  # fmt: skip
    return SmoothnessGrid(**{**settings, **more})


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch) -> None:
    monkeypatch.chdir(ROOT)


def test_jobs_then_the_whole_grid_and_its_best(labelled_table, capsys) -> None:
    grid(labelled_table, job=1).run()
    folder = labelled_table.parent / "tune"
    assert sorted(path.name for path in folder.iterdir()) == ["mse_1"]
    model = folder / "mse_1" / "mse_0" / "models" / "model.pt"
    before = model.stat().st_mtime_ns
    grid(labelled_table).run()
    assert model.stat().st_mtime_ns == before
    table = pd.read_csv(folder / "tune.csv")
    assert table["smoothness"].tolist() == [0.02, 1]
    assert (folder / "tune.md").read_text() in capsys.readouterr().out
    best = table.loc[table["dice"].idxmax(), "smoothness"]
    assert (folder / "tune.md").read_text().strip().endswith(f"mse, best: {best:g}")
    assert "none folds less than" in grid(labelled_table, most_folding=-1).collect()
    grid(labelled_table, slurm=True).run()  # nothing is left to submit
    with pytest.raises(InputError, match="job is 0 to 1, got 2"):
        grid(labelled_table, job=2).run()


def test_the_script_of_a_dry_run(labelled_table, capsys) -> None:
    method = {"method": "deepsim-ae", "extractor": "a b.pt", "sbatch_options": "--gres=gpu:1 --time=01:00:00"}
    grid(labelled_table, slurm="true", dry_run="true", **method).run()
    script = (labelled_table.parent / "tune" / "submit.sh").read_text()
    assert "submit it with: sbatch" in capsys.readouterr().out
    lines = script.splitlines()
    assert lines[:1] == ["#!/bin/bash"]
    assert "#SBATCH --array=0-1" in lines
    assert "#SBATCH --gres=gpu:1" in lines
    assert lines[-1].endswith('--job "$SLURM_ARRAY_TASK_ID"')
    assert "--extractor 'a b.pt'" in lines[-1]
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_sbatch_is_used_where_there_is_one(labelled_table, tmp_path, monkeypatch, capsys) -> None:
    with pytest.raises(InputError, match="there is no sbatch"):
        grid(labelled_table, slurm=True).run()
    program = tmp_path / "bin" / "sbatch"
    program.parent.mkdir()
    program.write_text('#!/bin/bash\ntest -f "$1" && echo "Submitted batch job 7"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    grid(labelled_table, slurm="auto").run()
    assert "Submitted batch job 7; repeat this command" in capsys.readouterr().out
    program.write_text("#!/bin/bash\necho no partition >&2\nexit 1\n")
    with pytest.raises(InputError, match="failed: no partition"):
        grid(labelled_table, slurm="auto").run()


def test_a_grid_needs_values_and_a_method(labelled_table) -> None:
    with pytest.raises(InputError, match="got none"):
        grid(labelled_table, values=[])
    with pytest.raises(InputError, match="is not of the form"):
        grid(labelled_table, method="MSE")
