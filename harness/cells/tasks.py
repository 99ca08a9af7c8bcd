"""Data sets: what they are (``tasks/*.toml``), whether they can be read here, and their three splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Literal, Self

from pydantic import Field, model_validator

from harness.cells.places import find_folder
from harness.cells.samples import Split, content_digest
from harness.cells.sources import AudioFolders, AudioSource, PackageSource, Source, read_source
from harness.cells.specs import Spec, parse_spec
from harness.cells.splits import label_strata, split_rows, stratified
from harness.errors import UserError, unknown_name

TaskKind = Literal["image", "text", "text-pair", "audio"]
TaskType = Literal["classification", "regression"]
MetricName = Literal["accuracy", "f1", "matthews", "pearson", "spearman"]
_METRICS: Mapping[str, tuple[str, ...]] = {
    "classification": ("accuracy", "f1", "matthews"),
    "regression": ("pearson", "spearman"),
}


class SplitRule(Spec):
    """How samples are divided; the seed is the split's own, so that all models of a data set share it.

    Attributes:
        test: Fraction to report on; None where there is an official test split.
        calibration: Fraction held out of training (of all samples, or of the official training split).
        seed: Of the division.
        train_rows: Train on so many rows only, stratified; None: all.
        test_rows: Report on so many rows only, stratified; None: all.
    """

    test: float | None = Field(default=None, gt=0, lt=1)
    calibration: float = Field(gt=0, lt=1)
    seed: int = 0
    train_rows: int | None = Field(default=None, ge=1)
    test_rows: int | None = Field(default=None, ge=1)


class TaskSpec(Spec):
    """One data set and what is asked of it.

    Attributes:
        name: Short name, the middle part of a cell id.
        title: For people.
        kind: What the inputs are.
        task: What the labels are.
        metric: The main number; others may be reported beside it.
        class_names: In label order; empty for regression.
        max_length: Tokens after which a text is cut; None for images and sounds.
        prompt: Put before every (first) text.
        trained_as: Data set whose trained network is run on this one, which only differs in what is reported; None:
            a network of its own.
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
    prompt: str = ""
    trained_as: str | None = None
    source: Source
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
        if (self.kind in ("image", "audio")) != (self.max_length is None):
            raise ValueError(
                "max_length belongs to texts: give it for text and text-pair, leave it out for image and audio"
            )
        if self.source.kind == "images" and self.kind != "image":
            raise ValueError("a source of kind images belongs to an image task")
        is_sound = self.source.kind in ("audio-archive", "audio-folders")
        if (self.kind == "audio") != is_sound:
            raise ValueError(
                "an audio task needs a source of kind audio-archive or audio-folders, which no other task can read"
            )
        if isinstance(self.source, AudioSource | AudioFolders) and len(self.source.label_values) != len(
            self.class_names
        ):
            raise ValueError("source.label_values must name each of class_names once")
        if (self.split.test is None) == (self.source.kind == "package"):
            raise ValueError("split.test belongs to packages, whose data have no official test split")
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
    samples, is_test, where, groups = read_source(spec)
    revision = content_digest(samples)
    expected = spec.source.content_sha256
    source = spec.source
    is_pinned = isinstance(source, PackageSource) or find_folder("data", source.folder) is not None
    if expected is not None and is_pinned and revision != expected:
        remedy = (
            f"install the version of '{source.package}' that the '{source.extra}' extra asks for"
            if isinstance(source, PackageSource)
            else "restore the data set's original files"
        )
        raise UserError(
            f"data set '{spec.name}' at {where} has content {revision[:12]}, expected {expected[:12]}: {remedy}"
        )
    strata = label_strata(samples.labels)
    rule = spec.split
    rows = split_rows(
        strata,
        samples.sample_ids,
        calibration=rule.calibration,
        test=rule.test or 0.0,
        seed=rule.seed,
        is_test=is_test,
        groups=groups,
    )
    train, test = rows.train, rows.test
    if rule.train_rows is not None:
        train = stratified(strata, train, rule.train_rows)
    if rule.test_rows is not None:
        test = stratified(strata, test, rule.test_rows)
    return TaskData(
        spec=spec,
        train=samples.take(train),
        calibration=samples.take(rows.calibration),
        test=samples.take(test),
        class_names=spec.class_names,
        revision=revision,
    )


def _task_files() -> dict[str, str]:
    folder = resources.files("harness.cells").joinpath("tasks")
    return {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    }
