"""Tables and figures like those of the papers: networks by task, published numbers, what exits know, recipes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import pandas as pd

from harness.report.frame import groups
from harness.report.frame_papers import PaperFrames
from harness.report.groups import Drawn, Group, Sketch
from harness.report.page import Section
from harness.report.plot_overthinking import overthinking
from harness.report.plot_recipes import recipe_differences, recipe_exits
from harness.report.plot_reliability import reliability
from harness.report.tables import Table
from harness.report.tables_papers import backbone_tables, published_table
from harness.report.tables_recipes import recipe_exits_table, recipe_verdicts_table, recipes_table

MANY_EXITS = 6
"""A network with fewer exits shows how they differ on its first data set only: four curves look much alike."""
RECIPE_EXITS, RECIPE_DIFFERENCES = "recipes_exits", "recipes_differences"
_RELIABILITY = (
    "Reliability of each exit on test: samples in ten bins of confidence, mean confidence against the share that "
    "is right; below the diagonal an exit is too sure of itself. ECE: expected calibration error in points. No "
    "temperature is fitted."
)
_AGREEMENT = (
    "Left: how often two exits give the same answer (a regression: correlation of their values). Right: overthinking, "
    "samples that an early exit had right and the last exit gets wrong, by exit (95 % band) and for any exit so far, "
    "where the number is what choosing the right exit could gain; dashed: what the last exit adds to each."
)
_EXITS = (
    "Every exit alone by recipe of training, on the same data; the dotted line is a network whose one exit was trained "
    "alone, with its 95 % interval. Mean over the seeds that all recipes have."
)
_DIFFERENCES = (
    "What a recipe changes, paired on the same samples, with 95 % intervals: its last exit against plain fine-tuning, "
    "and the mean of its max_prob curve over all speeds, and at 1 to 2 times, against the joint recipe. Filled marks: "
    "shown after Holm's correction."
)


def paper_tables(frames: PaperFrames) -> dict[str, list[Table]]:
    """Give the tables by the section of the page that shows them; a section with nothing of ours is left out."""
    found: dict[str, list[Table]] = {"Networks by task": backbone_tables(frames.points, frames.absent)}
    if len(frames.recipes):
        found["Recipes of training"] = [
            recipes_table(frames.recipes, frames.recipe_verdicts),
            recipe_exits_table(frames.recipe_exits),
            recipe_verdicts_table(frames.recipe_verdicts),
        ]
    if (frames.published["our_backbone"] != "").any():
        found["Published numbers"] = [published_table(frames.published)]
    return {title: tables for title, tables in found.items() if tables}


def paper_figures(frames: PaperFrames) -> list[Callable[[], Sketch]]:
    """Give what draws each figure; the work is done where it is called."""
    tasks: list[Callable[[], Sketch]] = []
    seen: set[str] = set()
    for group, cells in groups(frames.agreement).items():
        mine = [_of(rows, cells) for rows in (frames.reliability, frames.agreement, frames.overthinking)]
        network = group.rpartition(".")[0]
        if network in seen and mine[1]["exit"].max() < MANY_EXITS:
            continue
        seen.add(network)
        tasks.append(partial(draw_overthinking, mine[1], mine[2], group))
        if len(mine[0]):
            tasks.append(partial(draw_reliability, mine[0], group))
    if len(frames.recipes):
        tasks.append(partial(draw_recipe_exits, frames.recipe_exits))
        tasks.append(partial(draw_recipe_differences, frames.recipes))
    return tasks


def draw_reliability(rows: pd.DataFrame, group: str) -> Sketch:
    """Draw the reliability of the exits of a group."""
    return Sketch(f"reliability_{group}", reliability(rows, group)[0], f"{group}. {_RELIABILITY}")


def draw_overthinking(agreement: pd.DataFrame, changes: pd.DataFrame, group: str) -> Sketch:
    """Draw how the exits of a group differ."""
    figure = overthinking(agreement, changes, group)[0]
    return Sketch(f"overthinking_{group}", figure, f"{group}. {_AGREEMENT}")


def draw_recipe_exits(rows: pd.DataFrame) -> Sketch:
    """Draw every exit by recipe."""
    return Sketch(RECIPE_EXITS, recipe_exits(rows)[0], _EXITS)


def draw_recipe_differences(rows: pd.DataFrame) -> Sketch:
    """Draw what each recipe changes."""
    return Sketch(RECIPE_DIFFERENCES, recipe_differences(rows)[0], _DIFFERENCES)


def with_paper_figures(shown: Sequence[Group], figures: Mapping[str, Drawn]) -> list[Group]:
    """Give each group the figures of its exits."""
    names = ("overthinking", "reliability")
    mine = {
        group.name: [figures[f"{name}_{group.name}"] for name in names if f"{name}_{group.name}" in figures]
        for group in shown
    }
    return [replace(group, figures=[*group.figures, *mine[group.name]]) for group in shown]


def paper_sections(tables: Mapping[str, Sequence[Table]], figures: Mapping[str, Drawn]) -> list[Section]:
    """Give the sections of the page; the long list of published numbers is folded."""
    recipes = [figures[name].shown for name in (RECIPE_EXITS, RECIPE_DIFFERENCES) if name in figures]
    return [
        Section(title, recipes if title.startswith("Recipes") else (), mine, folded=not title.startswith("Recipes"))
        for title, mine in tables.items()
    ]


def _of(rows: pd.DataFrame, cells: Sequence[str]) -> pd.DataFrame:
    return rows[rows["cell"].isin(cells)].reset_index(drop=True)
