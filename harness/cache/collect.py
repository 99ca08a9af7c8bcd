"""One pass of the network over a cell's splits: the logits of every exit, on disk as they are computed.

A run that dies, however it dies, loses at most the shard it was computing; the next run continues there, and the files
are byte for byte those of an undisturbed run with the same batch size, threads and machine.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from backbones.base import MultiExitModel
from backbones.costs import binary_macs, cumulative_macs, layer_costs
from backbones.costs_leenet import UNIT as LEENET_UNIT
from backbones.costs_leenet import measure_leenet_costs
from backbones.samples import Samples
from harness.cache.atomic import Notify, folder_lock, remove_leftovers, silent
from harness.cache.cell import PARTIAL_FOLDER, Cell, CellFacts, SplitName, SplitRecord, open_cell, write_manifest
from harness.cache.digest import CellIdentity, Json, content_key
from harness.cache.shards import Shards
from harness.cache.store import table_header, table_tensors
from harness.cache.tensors import write_tensors
from harness.errors import UserError
from policies.errors import PolicyError
from policies.table import ExitTable

Reuse = Literal["missing", "always", "never"]
Costs = Mapping[str, NDArray[np.float64]]
CostRule = Callable[[MultiExitModel, Samples], Costs]
_LABEL_BLOCK = 65_536


class SplitData(Protocol):
    """The samples of a split, before the network's own preparation."""

    @property
    def inputs(self) -> Any:
        """Images [N, channels, height, width], or N texts."""

    @property
    def second_inputs(self) -> Any:
        """N second texts, or None."""

    @property
    def labels(self) -> Any:
        """Classes int64 [N], or float64 [N] for regression."""

    @property
    def sample_ids(self) -> Any:
        """int64 [N], unique."""


@dataclass(frozen=True, slots=True)
class CollectOptions:
    """How to collect; nothing here is part of a cache's identity.

    Attributes:
        batch_size: Samples a forward pass.
        shard_size: Samples a file of the unfinished part: what a killed run loses at most.
        features: Keep the pooled feature of every exit, as float16.
        device: Where the network runs.
        reuse: ``missing`` collects what has no valid cache of the same key, ``always`` never collects, ``never``
            collects everything anew.
        wait_s: Seconds to wait for another run on the same folder.
        quiet: No progress bar.
    """

    batch_size: int = 64
    shard_size: int = 1024
    features: bool = False
    device: str = "cpu"
    reuse: Reuse = "missing"
    wait_s: float = 600.0
    quiet: bool = False

    def __post_init__(self) -> None:
        for name in ("batch_size", "shard_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}, but must be at least 1")


class _Job(NamedTuple):
    """A split that is to be collected."""

    name: SplitName
    data: SplitData
    ingredients: dict[str, Json]

    @property
    def key(self) -> str:
        return content_key(self.ingredients)


class _Collected(NamedTuple):
    """A split whose shards are all there."""

    job: _Job
    shards: Shards
    labels: NDArray[Any]
    costs: Costs
    half_logits: bool


def exit_costs(model: MultiExitModel, samples: Samples) -> Costs:
    """Cumulative cost of every exit in layers [L] and in MACs ([L], or [N, L] where lengths differ).

    Binary networks, whose inputs all have one size, have a unit more, `bmacs` [L]: products of two signs; and networks
    with the exits of LEENet have `params_leenet_repo` [L].
    """
    costs = {"layers": layer_costs(model), "macs": cumulative_macs(model, samples).exits}
    if samples.lengths is None and (products := binary_macs(model, samples.batch([0]))).any():
        costs["bmacs"] = products
    if wrapped := model.wrapped_layers():
        costs[LEENET_UNIT] = measure_leenet_costs(model, wrapped)
    return costs


def collect(
    folder: Path,
    facts: CellFacts,
    identity: CellIdentity,
    *,
    model: Callable[[], MultiExitModel],
    splits: Mapping[SplitName, SplitData],
    costs: CostRule = exit_costs,
    options: CollectOptions | None = None,
    notify: Notify = silent,
) -> Cell:
    """Bring the cache of a cell up to date and open it.

    Args:
        folder: Of the cell, `results/caches/<cell>`.
        facts: What goes into lists and tables.
        identity: What the logits depend on.
        model: Gives the trained network; called only when something is to be collected.
        splits: The samples, `test` at least.
        costs: Cumulative cost of each exit by unit, [L] or [N, L].
        options: See `CollectOptions`.
        notify: Told what people should know (waiting, stale files, why a cache is not used).

    Raises:
        UserError: Inputs, labels and ids do not fit, logits are not finite, the folder is held by another run, the
            disk is full, or `reuse` is `always` and there is no cache; one sentence.
    """
    options = options or CollectOptions()
    folder = Path(folder)
    if options.reuse == "always":
        return open_cell(folder)
    jobs = [_Job(name, data, identity.ingredients(name, data.sample_ids)) for name, data in splits.items()]
    for job in jobs:
        _check_sizes(job, facts)
    with folder_lock(folder, wait_s=options.wait_s, notify=notify):
        remove_leftovers(folder)
        cell = _cached(folder, notify)
        kept = {} if cell is None or options.reuse == "never" else _kept(cell, jobs, options, notify)
        missing = [job for job in jobs if job.name not in kept]
        resumed = {job.key for job in missing} if options.reuse == "missing" else set()
        _remove_partial(folder, keep=resumed, known={job.key for job in jobs}, notify=notify)
        if cell is not None and not missing:
            return cell if cell.facts == facts else write_manifest(folder, facts, kept, kind="collected")
        collected = _collect_splits(folder, facts, missing, _checked_model(model(), facts), costs, options)
        records = kept | {done.job.name: _merge(folder, facts, done) for done in collected}
        complete = write_manifest(folder, facts, records, kind="collected")
        _remove_partial(folder, keep=set(), known={job.key for job in jobs}, notify=notify)
    return complete


def _cached(folder: Path, notify: Notify) -> Cell | None:
    try:
        cell = open_cell(folder)
    except UserError as error:
        if any(folder.glob("*.json")):
            notify(f"{error} (collecting it again)")
        return None
    if cell.manifest.kind == "imported":
        raise UserError(f"'{folder}' holds an imported table: remove it, or choose another folder with --out")
    return cell


def _kept(cell: Cell, jobs: list[_Job], options: CollectOptions, notify: Notify) -> dict[SplitName, SplitRecord]:
    """The cached splits that are exactly what is wanted."""
    kept: dict[SplitName, SplitRecord] = {}
    for job in jobs:
        reason: str | None
        if differences := cell.differences(job.name, job.ingredients):
            reason = f"{job.name} of cell '{cell.facts.cell}' was collected with other {', '.join(differences)}"
        elif options.features and not cell.manifest.splits[job.name].has_features:
            reason = f"{job.name} of cell '{cell.facts.cell}' was collected without features"
        else:
            reason = cell.damage(job.name)
        if reason is None:
            kept[job.name] = cell.manifest.splits[job.name]
        else:
            notify(f"{reason} (collecting it again)")
    return kept


def _remove_partial(folder: Path, *, keep: set[str], known: set[str], notify: Notify) -> None:
    partial = folder / PARTIAL_FOLDER
    if not partial.is_dir():
        return
    for entry in sorted(partial.iterdir()):
        if entry.name in keep:
            continue
        if entry.name not in known:
            notify(f"removing the unfinished part of a run with other weights, data or settings: '{entry}'")
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    if not keep:
        partial.rmdir()


def _check_sizes(job: _Job, facts: CellFacts) -> None:
    n = len(job.data.sample_ids)
    where = f"{job.name} of cell '{facts.cell}'"
    if n == 0:
        raise UserError(f"{where} has no samples: choose a larger share for this split")
    sizes = {"inputs": len(job.data.inputs), "labels": len(job.data.labels)}
    for what, size in sizes.items():
        if size != n:
            raise UserError(f"{where} has {size} {what} but {n} sample ids: give one each")
    unique, counts = np.unique(job.data.sample_ids, return_counts=True)
    if len(unique) < n:
        raise UserError(f"{where} has sample id {unique[counts > 1][0]} more than once: ids must be unique")


def _checked_model(network: MultiExitModel, facts: CellFacts) -> MultiExitModel:
    if facts.class_names and len(facts.class_names) != network.n_outputs:
        raise UserError(
            f"the network of cell '{facts.cell}' has {network.n_outputs} outputs, but '{facts.dataset}' has "
            f"{len(facts.class_names)} classes: train the cell anew"
        )
    return network


def _collect_splits(
    folder: Path, facts: CellFacts, jobs: list[_Job], network: MultiExitModel, costs: CostRule, options: CollectOptions
) -> list[_Collected]:
    done = []
    for job in jobs:
        samples = network.samples(job.data.inputs, job.data.second_inputs)
        labels = _checked_labels(job, network.n_outputs, facts)
        shards = Shards(
            folder=folder / PARTIAL_FOLDER / job.key,
            split=job.name,
            key=job.key,
            n=len(samples),
            size=options.shard_size,
            shape=(network.n_exits, network.n_outputs),
            feature_width=network.feature_width if options.features else None,
        )
        with _ready(network, options.device, facts.cell), _progress(shards, facts.cell, options) as bar:
            for index in range(len(shards)):
                if not shards.is_valid(index):
                    logits, features = _forward(network, samples, shards.rows(index), options)
                    _check_finite(logits, features, job.data.sample_ids[index * shards.size :], facts, job.name)
                    shards.write(index, logits, features)
                bar.update(len(shards.rows(index)))
        done.append(_Collected(job, shards, labels, costs(network, samples), network.half_logits))
    return done


def _forward(
    network: MultiExitModel, samples: Samples, rows: range, options: CollectOptions
) -> tuple[NDArray[np.float32], NDArray[np.float16] | None]:
    """Logits [n, L, C] and features [n, L, H] of a shard, samples of similar length in one batch."""
    logits = np.empty((len(rows), network.n_exits, network.n_outputs), dtype=np.float32)
    features = None
    if options.features:
        features = np.empty((len(rows), network.n_exits, network.feature_width), dtype=np.float16)
    order = np.arange(len(rows))
    if samples.lengths is not None:
        order = np.argsort(samples.lengths[rows.start : rows.stop], kind="stable")
    for start in range(0, len(rows), options.batch_size):
        chosen = order[start : start + options.batch_size]
        batch = {
            name: tensor.to(options.device, non_blocking=True)
            for name, tensor in samples.batch(chosen + rows.start).items()
        }
        if features is None:
            answer = network(batch)
        else:
            answer, pooled = network.forward_with_features(batch)
            features[chosen] = pooled.to(torch.float16).cpu().numpy()
        logits[chosen] = answer.float().cpu().numpy()
    return logits, features


@contextmanager
def _ready(network: MultiExitModel, device: str, cell: str) -> Iterator[None]:
    """Evaluation mode on the device without gradients; lack of memory becomes a sentence."""
    was_training = network.training
    try:
        network.to(device).eval()
        with torch.inference_mode():
            yield
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"device '{device}' has too little memory to collect cell '{cell}': choose a smaller --batch-size "
            "(what was collected before is kept)"
        ) from error
    finally:
        network.train(was_training)


def _progress(shards: Shards, cell: str, options: CollectOptions) -> tqdm[Any]:
    return tqdm(
        total=shards.n,
        desc=f"collect {cell} {shards.split}",
        unit=" samples",
        disable=True if options.quiet else None,
        file=sys.stderr,
        leave=False,
    )


def _checked_labels(job: _Job, n_outputs: int, facts: CellFacts) -> NDArray[Any]:
    """Labels in the table's type; checked before the first forward pass by the table itself, in blocks."""
    labels, ids = np.asarray(job.data.labels), np.asarray(job.data.sample_ids)
    blocks = []
    for start in range(0, len(ids), _LABEL_BLOCK):
        block = slice(start, start + _LABEL_BLOCK)
        blank = np.zeros((len(ids[block]), 1, n_outputs), dtype=np.float32)
        try:
            blocks.append(ExitTable(logits=blank, labels=labels[block], sample_ids=ids[block]).labels)
        except PolicyError as error:
            raise UserError(f"{job.name} of cell '{facts.cell}': {error}") from error
    return np.concatenate(blocks)


def _check_finite(
    logits: NDArray[np.float32],
    features: NDArray[np.float16] | None,
    ids: NDArray[np.int64],
    facts: CellFacts,
    split: SplitName,
) -> None:
    for what, values, remedy in (
        ("logits", logits, "train it anew with a smaller learning rate"),
        ("features (as 16-bit floats)", features, "collect without features"),
    ):
        if values is None or np.isfinite(values).all():
            continue
        row, exit_index, _ = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise UserError(
            f"the network of cell '{facts.cell}' gives {what} that are not finite for {split} sample id {ids[row]} "
            f"at exit {exit_index + 1}: {remedy}"
        )


def _merge(folder: Path, facts: CellFacts, done: _Collected) -> SplitRecord:
    """Join the shards of a split into its file."""
    job, shards = done.job, done.shards
    tensors = table_tensors(
        logits=replace(shards.stream("logits"), dtype=np.dtype(np.float16 if done.half_logits else np.float32)),
        labels=done.labels,
        sample_ids=np.asarray(job.data.sample_ids, dtype=np.int64),
        features=None if shards.feature_width is None else shards.stream("features"),
        costs={unit: _narrowed(np.asarray(cost, dtype=np.float64)) for unit, cost in done.costs.items()},
    )
    header = table_header(order="prefix", meta={"cell": facts.cell, "key": job.key, "split": job.name})
    file = f"{job.name}.safetensors"
    return SplitRecord(
        file=file,
        sha256=write_tensors(folder / file, tensors, header),
        shape=(shards.n, *shards.shape),
        has_features=shards.feature_width is not None,
        key=job.key,
        ingredients=job.ingredients,
    )


def _narrowed(cost: NDArray[np.float64]) -> NDArray[Any]:
    """Costs that differ by sample fill as much space as the logits: as float32 where that says the same."""
    single = cost.astype(np.float32)
    return single if cost.ndim == 2 and np.array_equal(single, cost) else cost
