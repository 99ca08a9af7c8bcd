"""The folder of a cell: `calibration.safetensors`, `test.safetensors`, and the manifest that says what they are.

The manifest is written last, so a folder with one is complete. It holds digests and everything the key of a split was
made of, and no time and no machine: the same cell collected again has the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.cache.atomic import write_file
from harness.cache.digest import FORMAT_VERSION, canonical_json, content_key, file_digest
from harness.cache.store import read_table
from harness.errors import UserError
from policies.table import CalibrationTable, ExitTable, TestTable

MANIFEST_FILE = "manifest.json"
PARTIAL_FOLDER = ".partial"
"""In the folder of a cell, while it is being collected."""
SplitName = Literal["calibration", "test"]
SPLITS: tuple[SplitName, ...] = ("calibration", "test")
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
TableT = TypeVar("TableT", bound=ExitTable)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CellFacts(_Strict):
    """What a cell is, for lists, tables and plots; none of it changes a logit.

    Attributes:
        cell: Id, which is also the name of the folder.
        suite: Its suite, or `imported`.
        backbone: Name of the network, or `imported`.
        dataset: Name of the data set.
        seed: Of the network.
        task: What the labels are.
        metric: The main number.
        class_names: In label order; empty where nobody named them and for regression.
    """

    cell: str
    suite: str
    backbone: str
    dataset: str
    seed: int
    task: Literal["classification", "regression"]
    metric: str
    class_names: tuple[str, ...] = ()


class SplitRecord(_Strict):
    """One file of a cell.

    Attributes:
        file: Name in the folder.
        sha256: Of the file.
        shape: Of the logits [N, L, C].
        has_features: Whether pooled features are kept.
        key: sha256 of the canonical JSON of `ingredients`.
        ingredients: Everything the logits depend on.
    """

    file: str = Field(pattern=r"^[a-z]+\.safetensors$")
    sha256: Digest
    shape: tuple[int, int, int]
    has_features: bool
    key: Digest
    ingredients: dict[str, Any]


class Manifest(_Strict):
    """The content of `manifest.json`."""

    format: int
    kind: Literal["collected", "imported"]
    facts: CellFacts
    n_exits: int = Field(ge=1)
    n_outputs: int = Field(ge=1)
    splits: dict[SplitName, SplitRecord]


@dataclass(frozen=True, slots=True)
class Cell:
    """A complete cell on disk; tables are read, and checked against their digest, when they are asked for."""

    folder: Path
    manifest: Manifest

    @property
    def facts(self) -> CellFacts:
        """What the cell is."""
        return self.manifest.facts

    def path(self, split: SplitName) -> Path | None:
        """The file of a split, or None where the cell has none."""
        record = self.manifest.splits.get(split)
        return None if record is None else self.folder / record.file

    def test(self) -> TestTable:
        """Read the test split.

        Raises:
            UserError: The file is damaged or gone.
        """
        return self._read("test", TestTable)

    def calibration(self) -> CalibrationTable | None:
        """Read the calibration split; None where an imported cell has none.

        Raises:
            UserError: The file is damaged or gone.
        """
        return self._read("calibration", CalibrationTable) if "calibration" in self.manifest.splits else None

    def differences(self, split: SplitName, ingredients: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the ingredients in which the cached split differs from the wanted one, sorted."""
        record = self.manifest.splits.get(split)
        have = {} if record is None else record.ingredients
        wanted = json.loads(canonical_json(ingredients))
        return tuple(name for name in sorted({*have, *wanted}) if have.get(name) != wanted.get(name))

    def damage(self, split: SplitName) -> str | None:
        """Return in one sentence why the file of a split cannot be used, or None when its digest is right."""
        record = self.manifest.splits.get(split)
        if record is None:
            return f"cell '{self.facts.cell}' has no {split} split"
        path = self.folder / record.file
        remedy = _remedy(self.manifest)
        try:
            digest = file_digest(path)
        except FileNotFoundError:
            return f"'{path}' is missing: {remedy}"
        except OSError as error:
            return f"'{path}' cannot be read ({error.strerror}): check its permissions"
        if digest != record.sha256:
            return f"'{path}' is damaged, its content is not the one its {MANIFEST_FILE} names: {remedy}"
        return None

    def _read(self, split: SplitName, kind: type[TableT]) -> TableT:
        problem = self.damage(split)
        if problem is not None:
            raise UserError(problem)
        table = read_table(self.folder / self.manifest.splits[split].file, kind)
        if table.logits.shape != self.manifest.splits[split].shape:
            raise UserError(
                f"'{self.folder / MANIFEST_FILE}' says the {split} logits have shape "
                f"{self.manifest.splits[split].shape}, but they have {table.logits.shape}: {_remedy(self.manifest)}"
            )
        return table


def open_cell(folder: Path | str) -> Cell:
    """Open the folder of a cell; reads the manifest only.

    Raises:
        UserError: The cell is not complete, or its manifest is damaged or of another format.
    """
    folder = Path(folder)
    path = folder / MANIFEST_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"cell '{folder.name}' is not complete, '{path}' is missing: "
            f"run  python -m harness collect {folder.name}  (what was collected before is kept)"
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"'{path}' is not a JSON file that can be read: {_restore(folder)}") from error
    version = document.get("format") if isinstance(document, dict) else None
    if isinstance(version, int) and version != FORMAT_VERSION:
        raise UserError(
            f"'{path}' has cache format {version}, this harness reads format {FORMAT_VERSION}: {_restore(folder)}"
        )
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise UserError(f"'{path}' is no manifest of a cell ({place}: {first['msg']}): {_restore(folder)}") from error
    for split, record in manifest.splits.items():
        if content_key(record.ingredients) != record.key:
            raise UserError(f"'{path}' is damaged, the key of {split} is not that of its parts: {_restore(folder)}")
    if "test" not in manifest.splits:
        raise UserError(f"'{path}' names no test split: {_restore(folder)}")
    return Cell(folder, manifest)


def record_split(file: str, sha256: str, table: ExitTable, ingredients: Mapping[str, Any]) -> SplitRecord:
    """Return the manifest's record of a table that was just written."""
    return SplitRecord(
        file=file,
        sha256=sha256,
        shape=(table.n, table.n_exits, table.n_outputs),
        has_features=table.features is not None,
        key=content_key(ingredients),
        ingredients=dict(ingredients),
    )


def write_manifest(
    folder: Path, facts: CellFacts, splits: Mapping[SplitName, SplitRecord], *, kind: Literal["collected", "imported"]
) -> Cell:
    """Write the manifest, which completes the cell.

    Raises:
        UserError: The file cannot be written.
        ValueError: The splits are not of one network.
    """
    shapes = {record.shape[1:] for record in splits.values()}
    if len(shapes) != 1:
        raise ValueError(f"the splits of '{facts.cell}' have different exits or outputs: {sorted(shapes)}")
    n_exits, n_outputs = shapes.pop()
    manifest = Manifest(
        format=FORMAT_VERSION,
        kind=kind,
        facts=facts,
        n_exits=n_exits,
        n_outputs=n_outputs,
        splits={name: splits[name] for name in SPLITS if name in splits},
    )
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=True) + "\n"
    write_file(folder / MANIFEST_FILE, [text.encode("ascii")])
    return Cell(folder, manifest)


def cell_names(caches: Path) -> Sequence[str]:
    """Return the names of all complete cells in a caches folder, sorted."""
    return sorted(path.parent.name for path in caches.glob(f"*/{MANIFEST_FILE}"))


def _remedy(manifest: Manifest) -> str:
    name = manifest.facts.cell
    if manifest.kind == "imported":
        return f"import the original again with  python -m harness import FILE --name {name} --replace"
    return f"restore it from version control, or run  python -m harness collect {name}"


def _restore(folder: Path) -> str:
    return f"restore it from version control, or collect or import cell '{folder.name}' again"
