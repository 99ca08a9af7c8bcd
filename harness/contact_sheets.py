"""Which images left first, which left last, and which left early with a wrong answer: what a contact sheet shows.

The images themselves come from the data set. Those that are shown are kept beside the results, some 40 small ones a
sheet, so that a report needs the data set only when other samples are shown than before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from harness.cache.atomic import write_file
from harness.cells.plan import Cell
from harness.cells.tasks import load_task, task_spec
from harness.errors import UserError
from harness.evaluate import exit_answers
from harness.exit_depth import depth_cell, kind_of
from harness.replay.replay import Outcome, replay
from harness.subjects import Row, Subject, group_of
from policies.leenet import Leenet
from policies.table import TestTable

FOLDER = "thumbnails"
A_SHELF = 14
"""Images of a kind."""
FIRST, LAST, WRONG = "left first, and right", "left last", "wrong early: left with a wrong answer"
Pixels = NDArray[np.uint8]


class Shown(NamedTuple):
    """One image of a sheet.

    Attributes:
        shelf: which kind it stands for.
        sample_id: of the data set.
        exit: 1-based exit it left at.
        label: its class.
        answer: the class it left with.
        final: the class that the last exit gives.
    """

    shelf: str
    sample_id: int
    exit: int
    label: str
    answer: str
    final: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """The contact sheet of one cell.

    Attributes:
        cell: what it is.
        spec: the policy.
        n_exits: exits of the network.
        shown: its images, shelf after shelf.
    """

    cell: Cell
    spec: str
    n_exits: int
    shown: tuple[Shown, ...]

    @property
    def group(self) -> str:
        """Network and data set."""
        return group_of(self.cell.id)


def sheet_of(subject: Subject, gates: Leenet | None = None) -> Sheet | None:
    """Return the sheet of a cell of images; None for others.

    Args:
        subject: the cell.
        gates: LEENet's, which say who leaves where; None: the policy of ``exit_depth`` does.
    """
    if kind_of(subject.cell) != "images" or subject.test.task != "classification":
        return None
    if gates is not None:
        (found,) = replay([gates], subject.test)
    else:
        depth = depth_cell(subject)
        if depth is None:
            return None
        found = next(s.outcome for s in subject.evaluation.scored if s.outcome and s.outcome.spec == depth.spec)
    names = task_spec(subject.cell.dataset).class_names
    return Sheet(subject.cell, found.spec, subject.test.n_exits, tuple(choose(found, subject.test, names)))


def choose(outcome: Outcome, test: TestTable, names: Sequence[str]) -> list[Shown]:
    """Return the images of every shelf: by exit, then in the (seeded) order of the split."""
    right = outcome.predictions == test.labels
    last = exit_answers(test)[-1]
    order = np.arange(test.n)
    early = np.lexsort((order, outcome.exits))
    late = np.lexsort((order, -outcome.exits.astype(np.int64)))
    shelves = {
        FIRST: early[right[early]],
        LAST: late,
        WRONG: early[~right[early] & (outcome.exits[early] < test.n_exits)],
    }
    found: list[Shown] = []
    for shelf, rows in shelves.items():
        for row in rows[:A_SHELF].tolist():
            label, answer, final = (names[int(k)] for k in (test.labels[row], outcome.predictions[row], last[row]))
            found.append(Shown(shelf, int(test.sample_ids[row]), int(outcome.exits[row]), label, answer, final))
    return found


def thumbnails(out: Path, sheet: Sheet, notify: Callable[[str], None]) -> dict[int, Pixels] | None:
    """Return the pixels [h, w, ch] of a sheet's images by sample id; None (and a word about it) if they are not here.

    Args:
        out: The results folder, where they are kept.
        sheet: Which are asked for.
        notify: Told why there are none.
    """
    path = out / FOLDER / f"{sheet.group}.safetensors"
    wanted = sorted({image.sample_id for image in sheet.shown})
    known = _kept(path)
    if sorted(known) != wanted:
        try:
            split = load_task(sheet.cell.dataset).test
        except UserError as error:
            notify(f"no contact sheet of {sheet.group}: {error}")
            return None
        row_of = {int(sample_id): row for row, sample_id in enumerate(split.sample_ids)}
        if not isinstance(split.inputs, np.ndarray) or any(sample_id not in row_of for sample_id in wanted):
            notify(f"no contact sheet of {sheet.group}: the data set here has other samples than the cache")
            return None
        pixels = split.inputs[[row_of[sample_id] for sample_id in wanted]]
        images = np.rint(255 * pixels.clip(0, 1)).astype(np.uint8).transpose(0, 2, 3, 1)
        arrays = {"pixels": np.ascontiguousarray(images), "sample_ids": np.array(wanted, dtype=np.int64)}
        write_file(path, [save(arrays)])
        known = dict(zip(wanted, images, strict=True))
    return known


def _kept(path: Path) -> dict[int, Pixels]:
    """Return what is kept; nothing if the file is missing or no such file, since it can be made again."""
    if not path.is_file():
        return {}
    try:
        arrays = load_file(path)
    except (OSError, SafetensorError):
        return {}
    if {"pixels", "sample_ids"} - set(arrays) or len(arrays["pixels"]) != len(arrays["sample_ids"]):
        return {}
    return dict(zip(arrays["sample_ids"].tolist(), arrays["pixels"], strict=True))


def sheet_rows(sheet: Sheet) -> list[Row]:
    """Return one row an image, as the frame of the report has them."""
    named = {
        "backbone": sheet.cell.backbone, "dataset": sheet.cell.dataset, "spec": sheet.spec, "n_exits": sheet.n_exits,
    }  # fmt: skip
    return [named | image._asdict() for image in sheet.shown]
