"""The bundles and their shared fragments go into the wheel, inside of ``warpzoo``; all else is in pyproject.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# where trainings start from; who trains further makes them by pretrain.yaml or takes the repository
INTERMEDIATE = {"pretrained.pt", "d_pcg.pt", "cotr.pt"}
PARTS = ("configs", "docs", "models", "LICENSE")


class WithBundles(build_py):
    """Copies ``bundles/`` and ``configs/`` beside the modules of ``warpzoo``."""

    def run(self) -> None:
        """Build as usual, then copy; an editable install finds both in the checkout."""
        super().run()
        if getattr(self, "editable_mode", False):
            return
        target = Path(self.build_lib) / "warpzoo"
        for file in sorted([*ROOT.glob("bundles/*/**/*"), *ROOT.glob("configs/*.yaml")]):
            parts = file.relative_to(ROOT).parts
            left_out = file.name in INTERMEDIATE or "__pycache__" in parts
            if file.is_dir() or left_out or (parts[0] == "bundles" and parts[2] not in PARTS):
                continue
            to = target / Path(*parts)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to)


setup(cmdclass={"build_py": WithBundles})
