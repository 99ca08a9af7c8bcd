"""Data sets: what they are (``tasks/*.toml``), whether they can be read here, and their three splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.cells.datasets_images import read_image_table
from harness.cells.datasets_texts import read_headline_folders
from harness.cells.packages import PackagePath, locate
from harness.cells.samples import Split, content_digest
from harness.cells.specs import Spec, parse_spec
from harness.cells.splits import label_strata, split_rows
from harness.errors import UserError, unknown_name

TaskKind = Literal["image", "text", "text-pair"]
TaskType = Literal["classification", "regression"]
MetricName = Literal["accuracy", "f1", "matthews", "pearson", "spearman"]
_METRICS: Mapping[str, tuple[str, ...]] = {
    "classification": ("accuracy", "f1", "matthews"),
    "regression": ("pearson", "spearman"),
}


class ImageTable(Spec):
    """A comma-separated file, one row an image: its pixels, then its class number."""

    kind: Literal["image-table"]
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    white: float = Field(gt=0)


class HeadlineFolders(Spec):
    """One folder a class, one text file a story, its first line the headline; each story is kept once."""

    kind: Literal["headline-folders"]


class PackageSource(PackagePath):
    """Data inside an installed package.

    Attributes:
        layout: How the samples are stored.
        content_sha256: Digest of the samples as read (``samples.content_digest``), so that other data under the same
            name is refused instead of silently changing every number.
    """

    kind: Literal["package"]
    layout: Annotated[ImageTable | HeadlineFolders, Field(discriminator="kind")]
    content_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


class SplitRule(Spec):
    """Fractions of the whole data set; the seed is the split's own, so that all models of a data set share it."""

    test: float = Field(gt=0, lt=1)
    calibration: float = Field(gt=0, lt=1)
    seed: int = 0


class TaskSpec(Spec):
    """One data set and what is asked of it.

    Attributes:
        name: Short name, the middle part of a cell id.
        title: For people.
        kind: What the inputs are.
        task: What the labels are.
        metric: The main number; others may be reported beside it.
        class_names: In label order; empty for regression.
        max_length: Tokens after which a text is cut; None for images.
        source: Where the samples are.
        split: How they are divided.
        notes: What a reader of the numbers must know, e.g. what is dropped.
        licence: Of the data.
        citation: Who to cite.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    title: str
    kind: TaskKind
    task: TaskType
    metric: MetricName
    class_names: tuple[str, ...] = ()
    max_length: int | None = Field(default=None, ge=2)
    source: PackageSource
    split: SplitRule
    notes: str = ""
    licence: str
    citation: str

    @property
    def n_outputs(self) -> int:
        """Width of the logits: the number of classes, 1 for regression."""
        return max(1, len(self.class_names))

    @model_validator(mode="after")
    def _check(self) -> Self:
        allowed = _METRICS[self.task]
        if self.metric not in allowed:
            raise ValueError(f"metric of a {self.task} task must be one of {', '.join(allowed)}, got {self.metric}")
        if self.task == "classification" and len(set(self.class_names)) < max(2, len(self.class_names)):
            raise ValueError("class_names of a classification task must be two or more different names")
        if self.task == "regression" and self.class_names:
            raise ValueError("class_names must be left out of a regression task")
        if (self.kind == "image") != (self.max_length is None):
            raise ValueError("max_length belongs to texts: give it for text and text-pair, leave it out for image")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class TaskData:
    """A data set in memory, divided in three.

    Attributes:
        spec: What the data set is.
        train: Seen by the network.
        calibration: Held out of training, for thresholds, temperatures and fitted policies.
        test: Reported on, never tuned on.
        class_names: In label order; empty for regression.
        revision: sha256 of all samples as read; part of the cache key.
    """

    spec: TaskSpec
    train: Split
    calibration: Split
    test: Split
    class_names: tuple[str, ...]
    revision: str


def task_names() -> tuple[str, ...]:
    """Return the name of every data set that has a file in ``tasks/``, sorted."""
    return tuple(sorted(_task_files()))


def task_spec(name: str) -> TaskSpec:
    """Return the description of a data set; reads no data.

    Raises:
        UserError: Nobody knows that name, or its file is wrong.
    """
    files = _task_files()
    if name not in files:
        raise unknown_name("dataset", name, files)
    spec = parse_spec(TaskSpec, files[name], where=f"harness/cells/tasks/{name}.toml")
    if spec.name != name:
        raise UserError(f"harness/cells/tasks/{name}.toml names the data set '{spec.name}': file and name must agree")
    return spec


def load_task(name: str) -> TaskData:
    """Read a data set and divide it.

    Raises:
        UserError: The name is unknown, the data are not installed, damaged, or not the expected ones.
    """
    return load_spec(task_spec(name))


def load_spec(spec: TaskSpec) -> TaskData:
    """Read and divide the data set of a description, e.g. one that is not in ``tasks/``.

    Raises:
        UserError: The data are not installed, damaged, or not the expected ones.
    """
    path = locate(spec.source)
    samples = _read(spec, path)
    revision = content_digest(samples)
    expected = spec.source.content_sha256
    if expected is not None and revision != expected:
        raise UserError(
            f"data set '{spec.name}' at {path} has content {revision[:12]}, expected {expected[:12]}: "
            f"install the version of '{spec.source.package}' that the '{spec.source.extra}' extra asks for"
        )
    rows = split_rows(
        label_strata(samples.labels),
        samples.sample_ids,
        calibration=spec.split.calibration,
        test=spec.split.test,
        seed=spec.split.seed,
    )
    return TaskData(
        spec=spec,
        train=samples.take(rows.train),
        calibration=samples.take(rows.calibration),
        test=samples.take(rows.test),
        class_names=spec.class_names,
        revision=revision,
    )


def _read(spec: TaskSpec, path: Path) -> Split:
    layout = spec.source.layout
    match layout:
        case ImageTable():
            return read_image_table(
                path, height=layout.height, width=layout.width, white=layout.white, n_classes=len(spec.class_names)
            )
        case HeadlineFolders():
            return read_headline_folders(path, class_names=spec.class_names)


def _task_files() -> dict[str, str]:
    folder = resources.files("harness.cells").joinpath("tasks")
    return {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    }
