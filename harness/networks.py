"""The network of a cell: built, trained, loaded, and run once over its splits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cells.failures import Failure, clear_failure, record_failure
from harness.cells.places import model_place
from harness.cells.plan import Cell, CellStatus
from harness.cells.samples import Split
from harness.cells.tasks import TaskData, load_task
from harness.console import Console
from harness.errors import UserError

if TYPE_CHECKING:
    from backbones.base import MultiExitModel
    from backbones.samples import Samples
    from harness.cache.cell import SplitName
    from harness.cache.collect import CollectOptions, SplitData

TRAINING_LOG = "training.json"


def require_device(device: str) -> None:
    """Raise a sentence if torch cannot use this device here."""
    import torch

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device '{device}' cannot be used here ({str(error).splitlines()[0]}): allowed are cpu"
            + (" and cuda" if torch.cuda.is_available() else "; this machine has no CUDA device")
        ) from error


def samples_of(model: MultiExitModel, split: Split) -> Samples:
    """The prepared samples of a split, as the network reads them."""
    return model.samples(split.inputs, split.second_inputs)


def is_trained(cell: Cell) -> bool:
    """Whether there is a checkpoint of the cell."""
    return (cell.paths.checkpoint / "config.json").is_file()


def load_network(cell: Cell, *, device: str = "cpu") -> MultiExitModel:
    """Load the trained network of a cell, ready to run.

    Raises:
        UserError: an imported table has no network.
        BackboneError: there is no checkpoint, it is damaged, or a package is missing.
    """
    if cell.builder is None:
        raise UserError(f"cell '{cell.id}' is an imported table and has no network here: choose another cell to run")
    from backbones.checkpoints import load_checkpoint

    require_device(device)
    return load_checkpoint(cell.paths.checkpoint, **_places(cell)).to(device)


def _places(cell: Cell) -> dict[str, str]:
    """Where this machine keeps the pretrained weights; not part of a network's identity."""
    path = cell.arguments.get("path")
    return {"path": model_place(path)} if isinstance(path, str) else {}


def train_cell(entry: CellStatus, out: Path, *, device: str, force: bool, console: Console) -> dict[str, Any]:
    """Train the network of a cell and save its checkpoint; a failure is recorded before it is raised.

    Returns:
        Cell, checkpoint folder, whether it was trained now, and the score of each exit on calibration.
    """
    cell = entry.cell
    if is_trained(cell) and not force:
        log = json.loads((cell.paths.checkpoint / TRAINING_LOG).read_text(encoding="utf-8"))
        return _trained(cell, log, now=False)
    _require_computable(entry)
    if cell.trained_as is not None:
        raise UserError(f"cell '{cell.id}' runs the network of '{cell.trained_as}': train that cell first")
    with _Recorded(out, cell, "train"):
        data = load_task(cell.dataset)
        log = _train(cell, data, out / "runs" / "training" / cell.id, device=device, console=console, fresh=force)
    return _trained(cell, log, now=True)


def _train(cell: Cell, data: TaskData, folder: Path, *, device: str, console: Console, fresh: bool) -> dict[str, Any]:
    from backbones.adapters import LoraSettings, attach
    from backbones.checkpoints import save_checkpoint
    from backbones.encoders import HFEncoder
    from backbones.recipes.registry import find_recipe
    from backbones.registry import build
    from harness.cache.atomic import write_file
    from harness.cache.train import Labelled, TrainOptions, discard_state, log_summary, train

    training = cell.training
    if cell.builder is None or training is None or cell.seed is None:
        raise UserError(f"cell '{cell.id}' is an imported table: there is no network to train")
    require_device(device)
    arguments = dict(cell.arguments)
    if data.spec.max_length is not None:
        arguments.setdefault("max_length", data.spec.max_length)
    model = build(cell.builder, data.spec.n_outputs, seed=cell.seed, **{**arguments, **_places(cell)})
    adapters = None if training.adapters is None else LoraSettings(**training.adapters.model_dump())
    if adapters is not None:
        if not isinstance(model, HFEncoder):
            raise UserError(f"cell '{cell.id}' asks for adapters, which '{cell.builder}' does not take: leave them out")
        attach(model, adapters, seed=cell.seed)
    model.to(device)
    options = TrainOptions(**training.options.model_dump(), seed=cell.seed)
    recipe = find_recipe(training.recipe)
    if fresh:
        discard_state(folder)
    console.say(f"training {cell.id} ({len(data.train)} samples, {options.epochs} epochs)")
    splits = [Labelled(samples_of(model, split), split.labels) for split in (data.train, data.calibration)]
    log = train(model, recipe, splits[0], splits[1], options, folder)
    save_checkpoint(model, cell.paths.checkpoint, backbone=cell.builder, arguments=arguments, adapters=adapters)
    summary = log_summary(recipe, options, log)
    write_file(cell.paths.checkpoint / TRAINING_LOG, [(json.dumps(summary, indent=2, sort_keys=True) + "\n").encode()])
    discard_state(folder)
    return summary


def collect_cell(entry: CellStatus, out: Path, options: CollectOptions, console: Console) -> dict[str, Any]:
    """Run the network of a cell once over calibration and test; a failure is recorded before it is raised.

    Returns:
        Cell, folder, and samples and sha256 of each split.
    """
    from backbones.checkpoints import load_checkpoint, read_config
    from harness.cache.cell import CellFacts
    from harness.cache.collect import collect
    from harness.cache.digest import CellIdentity

    cell = entry.cell
    options = replace(options, features=options.features or cell.features)
    if cell.builder is None or cell.seed is None:
        raise UserError(f"cell '{cell.id}' is an imported table: its logits came with it")
    if options.reuse != "always":
        _require_computable(entry)
        require_device(options.device)
    with _Recorded(out, cell, "collect"):
        data = load_task(cell.dataset)
        config = read_config(cell.paths.checkpoint)
        facts = CellFacts(
            cell=cell.id,
            suite=cell.suite,
            backbone=cell.backbone,
            dataset=cell.dataset,
            seed=cell.seed,
            task=cell.task,
            metric=cell.metric,
            class_names=data.class_names,
        )
        identity = CellIdentity(
            backbone=config["backbone"],
            arguments=config["arguments"],
            weights=config["weights_digest"],
            dataset=cell.dataset,
            revision=data.revision,
            transform={"max_length": data.spec.max_length},
        )
        splits: dict[SplitName, SplitData] = {"calibration": data.calibration, "test": data.test}
        done = collect(
            cell.paths.cache,
            facts,
            identity,
            model=lambda: load_checkpoint(cell.paths.checkpoint, **_places(cell)),
            splits=splits,
            options=options,
            notify=console.say,
        )
    return {
        "cell": cell.id,
        "folder": str(cell.paths.cache),
        "splits": {
            name: {"n": record.shape[0], "sha256": record.sha256} for name, record in done.manifest.splits.items()
        },
    }


def _trained(cell: Cell, log: dict[str, Any], *, now: bool) -> dict[str, Any]:
    return {
        "cell": cell.id,
        "checkpoint": str(cell.paths.checkpoint),
        "trained_now": now,
        "calibration_by_exit": log["epochs"][-1]["calibration"],
        "seconds": log["seconds"],
    }


def _require_computable(entry: CellStatus) -> None:
    if entry.status == "skipped":
        raise UserError(f"cell '{entry.cell.id}' cannot be computed here: {entry.reason}")


class _Recorded:
    """A stage whose failure stays visible as a row of the plan until it succeeds."""

    def __init__(self, out: Path, cell: Cell, stage: str) -> None:
        self._out, self._cell, self._stage = out, cell, stage

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            clear_failure(self._out, self._cell.id)
        elif isinstance(error, Exception):
            record_failure(self._out, self._cell.id, Failure(self._stage, f"{error}" or type(error).__name__))
