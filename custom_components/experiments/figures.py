"""Figures of a study; each takes a table and returns a Matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

Axes = Any
WIDTH = 1.7  # inches of a picture
COLUMNS = 3  # of a figure with a panel for each class


def _axes(panels: int, width: float = 4.2, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    columns = min(panels, COLUMNS)
    rows = -(-panels // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for empty in axes[panels:]:
        empty.remove()
    for axis in axes[:panels]:
        axis.set_prop_cycle(
            color=[colormaps["tab20"](index) for index in range(20)]
        )  # more methods than the ten colours of the default
    return figure, list(axes[:panels])


def _methods(table: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(table["method"]))


def smoothness_curves(table: pd.DataFrame) -> Figure:
    """Mean Dice and folding against lambda, a line a method.

    Args:
        table: ``tune.csv`` of all methods: method, smoothness, dice, folding.
    """
    figure, (overlap, folds) = _axes(2)
    for method, part in table.sort_values("smoothness").groupby("method", sort=False):
        overlap.plot(part["smoothness"], part["dice"], marker="o", label=method)
        folds.plot(part["smoothness"], 100 * part["folding"], marker="o", label=method)
    for axes, label in ((overlap, "mean Dice, validation"), (folds, "folded, %")):
        axes.set(xscale="log", xlabel="lambda", ylabel=label)
    overlap.legend(fontsize=8)
    return figure


def score_boxes(rows: pd.DataFrame, classes: Mapping[int, str] | None = None) -> Figure:
    """Box plots over pairs and seeds of the mean Dice and of every class.

    Args:
        rows: as ``benchmarks.similarities`` writes them.
        classes: names of the labels.
    """
    names = {int(column[5:]): column for column in rows.columns if column.startswith("dice_")}
    panels = {"mean of classes": "dice"} | {(classes or {}).get(k, f"class {k}"): c for k, c in sorted(names.items())}
    methods = _methods(rows)
    figure, axes = _axes(len(panels), height=0.35 * len(methods) + 1.2)
    for axis, (title, column) in zip(axes, panels.items(), strict=True):
        values = [rows.loc[rows["method"] == method, column].dropna().to_numpy() for method in methods]
        axis.boxplot(values, orientation="horizontal", tick_labels=methods, widths=0.6, medianprops={"color": "black"})
        axis.invert_yaxis()
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=8)
    figure.supxlabel("Dice", fontsize=9)
    return figure


def smoothness_against_dice(rows: pd.DataFrame) -> Figure:
    """Unevenness of the field against mean Dice: a small dot a seed, a large one a method."""
    figure, (axes,) = _axes(1, 5.2, 4.0)
    for method in _methods(rows):
        part = rows[rows["method"] == method]
        seeds = part.groupby("seed")[["deviation", "dice"]].mean()
        dots = axes.scatter(seeds["deviation"], seeds["dice"], s=12)
        colour = dots.get_facecolor()[0]
        axes.scatter(part["deviation"].mean(), part["dice"].mean(), s=60, color=colour, label=method)
    axes.set(xlabel="standard deviation of log J (left is smoother)", ylabel="mean Dice (up is better)")
    axes.legend(fontsize=8)
    return figure


def convergence(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Training loss against epochs, each divided by its first, since the similarities have different units.

    Args:
        curves: method -> ``curve.csv``: epoch, loss; of all seeds.
    """
    figure, (axes,) = _axes(1, 5.2, 3.6)
    for method, curve in curves.items():
        loss = curve.groupby("epoch")["loss"].mean()
        axes.plot(loss.index, (loss - loss.min()) / max(float(loss.max() - loss.min()), 1e-12), label=method)
    axes.set(xlabel="epoch", ylabel="loss, from its highest to its lowest")
    axes.legend(fontsize=8)
    return figure


def disturbance_curves(rows: pd.DataFrame, clean: pd.DataFrame) -> Figure:
    """Mean Dice against noise and blur, a line a method.

    Args:
        rows: ``noise.csv``, see ``noise_study``.
        clean: rows of the study, which give the value at 0.
    """
    kinds = [kind for kind in ("noise", "blur") if (rows["kind"] == kind).any()]
    figure, axes = _axes(len(kinds))
    units = {"noise": "standard deviation of the noise", "blur": "standard deviation of the blur, voxels"}
    for axis, kind in zip(axes, kinds, strict=True):
        for method in _methods(rows):
            part = rows[(rows["kind"] == kind) & (rows["method"] == method)].groupby("amount")["dice"].mean()
            start = clean.loc[clean["method"] == method, "dice"].mean()
            axis.plot([0, *part.index], [start, *part], marker="o", label=method)
        axis.set(xlabel=units[kind], ylabel="mean Dice")
    axes[0].legend(fontsize=8)
    return figure


def picture_rows(pictures: Sequence[Sequence[np.ndarray[Any, Any]]], titles: Sequence[Sequence[str]]) -> Figure:
    """Pictures in rows, each with its title; (H, W) arrays are grey, (H, W, 3) are colour.

    Args:
        pictures: rows of pictures; they may differ in length.
        titles: the same form.
    """
    columns = max(map(len, pictures))
    height, width = pictures[0][0].shape[:2]
    figure = Figure(figsize=(WIDTH * columns, (WIDTH * height / width + 0.25) * len(pictures)), layout="constrained")
    axes = figure.subplots(len(pictures), columns, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for row, (line, names) in enumerate(zip(pictures, titles, strict=True)):
        for column, (picture, name) in enumerate(zip(line, names, strict=True)):
            axes[row, column].imshow(picture, cmap="gray" if picture.ndim == 2 else None)
            axes[row, column].set_title(name, fontsize=8)
    return figure
