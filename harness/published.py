"""What papers and repositories published, as data with their sources: copied numbers, none of them measured here."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from harness.errors import UserError

Unit = Literal["layers", "FLOPs", "time", ""]
NEEDED = ("paper", "backbone", "dataset", "split", "method", "metric", "value", "speedup", "source")
OPTIONAL = ("year", "table", "speedup_definition")
FINAL, STATIC = "final", "static exit"

_TASKS = {
    "SST-2": "sst2", "MRPC": "mrpc", "RTE": "rte", "CoLA": "cola", "STS-B": "stsb", "QNLI": "qnli", "QQP": "qqp",
    "MNLI": "mnli", "MNLI-m": "mnli", "WNLI": "wnli", "TREC": "trec6", "CLINC150": "clinc150",
}  # fmt: skip
# What a method is called there, and the rule that it is here; the first that fits.
_POLICIES = (
    (r"\(no exit\)$|^ALBERT full|^(BERT|ALBERT|RoBERTa|ElasticBERT)-base( \(static fine-tune\))?$", FINAL),
    (r"^full network", FINAL),
    (r"^(BERT|ALBERT|RoBERTa|ElasticBERT)-(base )?6L( \(static fine-tune\))?$|^Budgeted exit", STATIC),
    (r"^F-PABEE", "f_pabee"),
    (r"^PABEE", "pabee"),
    (r"^DeeBERT|^BranchyNet", "entropy"),
    (r"^FastBERT", "normalized_entropy"),
    (r"^Shallow-Deep|^SDN", "sdn"),
    (r"^BERxiT", "lte"),
    (r"^PCEE", "pcee(patience=2)"),
    (r"^BEEM-A", "beem_a"),
    (r"^BEEM", "beem_c"),
)
_BACKBONES = {"BERT-base": "bert-base", "ALBERT-base": "albert-base-v2"}
_METRICS = (
    ("mean(", ""), ("f1/acc", ""), ("acc/f1", ""), ("f1", "f1"), ("acc", "accuracy"), ("mcc", "matthews"),
    ("pearson/spearman", ""), ("pearson", "pearson"), ("spearman", "spearman"),
)  # fmt: skip
_OF_GLUE = {"sst2": "accuracy", "rte": "accuracy", "qnli": "accuracy", "mnli": "accuracy", "cola": "matthews"}
_PERCENT = re.compile(r"^(-?\d+(?:\.\d+)?)\s*%")
_NUMBER = re.compile(r"^[+-]?\d+(?:\.\d+)?$")
_TIMES = re.compile(r"^(\d+(?:\.\d+)?)\s*x\b")


@dataclass(frozen=True, slots=True)
class Published:
    """One published number.

    Attributes:
        file: name of the file it is copied from.
        line: its line there, the heading being line 1.
        paper: short name; who printed the number may be another (see ``source``).
        year: of the paper; empty where it is not said.
        backbone: network, in the words of the source.
        dataset: data set, in the words of the source.
        split: what it was measured on, in the words of the source.
        method: what was measured, in the words of the source.
        metric: name of the metric, in the words of the source.
        value: as printed.
        speedup: as printed.
        definition: what the source calls a speed-up.
        source: where the number was read.
    """

    file: str
    line: int
    paper: str
    year: str
    backbone: str
    dataset: str
    split: str
    method: str
    metric: str
    value: str
    speedup: str
    definition: str
    source: str

    @property
    def task(self) -> str:
        """Our name of the data set; empty if we have none such."""
        return _TASKS.get(self.dataset, "")

    @property
    def policy(self) -> str:
        """Our rule that does the same; ``final`` for a network without early exits; empty if we have none such."""
        return next((ours for theirs, ours in _POLICIES if re.search(theirs, self.method)), "")

    @property
    def our_backbone(self) -> str:
        """Our name of the same network; empty if we have none such."""
        return _BACKBONES.get(self.backbone, "")

    @property
    def our_metric(self) -> str:
        """Our name of the metric; empty for one that we do not have or that the source leaves open."""
        named = next((ours for theirs, ours in _METRICS if theirs in self.metric.lower()), "")
        # "GLUE score" leaves open which of two it is only for the tasks that have two.
        return _OF_GLUE.get(self.task, "") if not named and self.metric.startswith("GLUE") else named

    @property
    def is_difference(self) -> bool:
        """Whether the value is a difference from the full network already."""
        return "delta" in self.metric or "difference" in self.metric

    @property
    def points(self) -> float | None:
        """The value in hundredths (accuracy in percent, correlations times 100); None where it is no number."""
        if not _NUMBER.match(self.value):
            return None
        number = float(self.value)
        return number if self.is_difference or abs(number) > 1 else 100 * number

    @property
    def unit(self) -> Unit:
        """What the speed-up counts; empty where the source does not say."""
        text = self.definition.lower()
        if "flop" in text:
            return "FLOPs"
        if "time" in text or "latency" in text or "wall" in text or "throughput" in text:
            return "time"
        return "layers" if "layer" in text else ""

    @property
    def ratio(self) -> float | None:
        """The speed-up as full cost / cost, whatever form the source gives it; None where that cannot be told."""
        text, definition = self.speedup.strip(), self.definition
        if (times := _TIMES.match(text)) is not None:
            return float(times[1])
        percent = _PERCENT.match(text)
        if percent is not None and definition.startswith(("1 - sum", "FLOPs saving")):
            return _inverse(1 - float(percent[1]) / 100)
        if percent is not None and definition.startswith("relative change"):
            return _inverse(1 + float(percent[1]) / 100)
        if "STILL RUN" in definition or definition.startswith("average cost"):
            share = text.removesuffix("%")
            return _inverse(float(share) / (100 if text.endswith("%") else 1)) if _NUMBER.match(share) else None
        return None


def load_published(folder: Path | None = None) -> list[Published]:
    """Return every published number of the package, or of the ``*.csv`` of a folder, file by file.

    Raises:
        UserError: there is no such file, or one has a column too few or too many, or a row without a source.
    """
    root = resources.files("harness") / "data" / "published" if folder is None else folder
    files = (
        sorted((f for f in root.iterdir() if f.name.endswith(".csv")), key=lambda f: f.name) if root.is_dir() else []
    )
    if not files:
        raise UserError(f"there is no table of published numbers (*.csv) in '{root}': reinstall the package")
    return [row for file in files for row in _rows(file.name, file.read_text(encoding="utf-8").splitlines())]


def _rows(file: str, lines: Sequence[str]) -> Iterator[Published]:
    reader = csv.DictReader(lines)
    columns = list(reader.fieldnames or ())
    unknown = [name for name in columns if name not in (*NEEDED, *OPTIONAL)]
    missing = [name for name in NEEDED if name not in columns]
    if unknown or missing:
        what = f"lacks column {', '.join(missing)}" if missing else f"has the unknown column {', '.join(unknown)}"
        raise UserError(f"{file} {what}: its columns are {', '.join(NEEDED)}, and optionally {', '.join(OPTIONAL)}")
    for row in reader:
        line = reader.line_num
        if None in row or None in row.values():
            raise UserError(f"{file}, line {line}, has not as many fields as columns: quote fields that have commas")
        if not row["source"].strip():
            raise UserError(f"{file}, line {line}, has no source: say where the number was read, or remove the row")
        texts = {name: row.get(name, "").strip() for name in (*NEEDED, "year")}
        yield Published(file=file, line=line, definition=row.get("speedup_definition", "").strip(), **texts)


def _inverse(share: float) -> float | None:
    return 1 / share if share > 0 else None
