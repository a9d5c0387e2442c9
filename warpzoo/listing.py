"""``warpzoo bundles``."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from custom_components.bundles.documented import description
from custom_components.bundles.places import DEFAULT, folder, names


def list_bundles() -> None:
    """Print what there is, what each is for, and what its weights were trained on."""
    console = Console(highlight=False, soft_wrap=False)
    for name in names():
        said = description(folder(name))
        files = sorted((Path(folder(name)) / "models").glob("*.pt"))
        weights = ", ".join(f"{file.name} ({file.stat().st_size / 1e6:.1f} MB)" for file in files)
        console.print(f"[bold]{name}[/bold]{' (the default)' if name == DEFAULT else ''}")
        for label, text in (("", said["description"]), ("weights: ", weights), ("trained on: ", said["data_source"])):
            console.print(f"  {label}{text}", markup=False)
        console.print()
    console.print("warpzoo register MOVING FIXED --method NAME", markup=False)
