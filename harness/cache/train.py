"""Train the exits of a network, interruptible at any moment.

The loop is our own and small because the checkpoints of the usual trainers are pickles: here everything that a resumed
run needs is one safetensors file (see `train_state`). Batch order and dropout are drawn from (seed, epoch) and
(seed, step), so no random state is stored and a resumed run ends with the same bits as an undisturbed one (on the same
machine and number of threads).
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from backbones.base import MultiExitModel
from backbones.checkpoints import round_weights, trained_tensors
from backbones.digests import tensors_digest
from backbones.recipes.base import Moment, Recipe
from backbones.recipes.forward import logits_for
from backbones.samples import Samples
from harness.cache.batches import BatchOrder
from harness.cache.normalisation import estimate_norms
from harness.cache.train_state import STATE_FILE, EpochLog, Progress, read_state, write_state
from harness.errors import UserError

_NORM_SAMPLES = 1_024

__all__ = ["EpochLog", "Labelled", "TrainOptions", "discard_state", "exit_scores", "log_summary", "train"]


class Labelled(NamedTuple):
    """A prepared split and its labels: int64 [N], or floating point [N] for regression."""

    samples: Samples
    labels: np.ndarray


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What changes the trained weights; `save_every` alone does not.

    Attributes:
        epochs: passes over the training split.
        batch_size: samples a step.
        learning_rate: peak, for everything but the heads.
        head_learning_rate: peak, for the heads; None: the same.
        weight_decay: of AdamW.
        warmup: part of the steps of a phase in which the rate rises linearly from 0; it then falls linearly to 0.
        clip_norm: largest norm of the gradient.
        patience: epochs of the last phase without a better mean calibration score over the exits before training
            stops; the best epoch's weights are kept. None: all epochs are trained and the last weights kept.
        precision: of matrix products while training (bfloat16: mixed, weights stay float32).
        precise_norm: at the end round the weights as a checkpoint does, and measure batch normalisation on 1,024
            training samples (`estimate_norms`); the log's scores of the epoch that is kept are of the result.
        seed: of batch order and dropout.
        save_every: steps between two checkpoints.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    head_learning_rate: float | None = None
    weight_decay: float = 0.01
    warmup: float = 0.1
    clip_norm: float = 1.0
    patience: int | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    precise_norm: bool = False
    seed: int = 0
    save_every: int = 50

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "save_every"):
            if getattr(self, name) < 1:
                raise UserError(f"training option {name} is {getattr(self, name)}, but it must be at least 1.")
        if self.patience is not None and self.patience < 1:
            raise UserError(f"training option patience is {self.patience}, but it must be at least 1, or left out.")


@dataclass(slots=True)
class _Run:
    """The parts that one training moves along."""

    model: MultiExitModel
    recipe: Recipe
    options: TrainOptions
    order: BatchOrder
    fingerprint: str
    path: Path
    optimiser: torch.optim.AdamW
    progress: Progress = field(default_factory=Progress)
    best: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def n_steps(self) -> int:
        return self.options.epochs * self.order.n_batches

    @property
    def last_phase(self) -> int:
        return len(self.recipe.phases) - 1

    def phase(self, step: int) -> tuple[int, int, int]:
        """The phase of a step, and its first and one-past-last step."""
        ends = [round(float(part) * self.n_steps) for part in np.cumsum(self.recipe.phases)]
        number = min(sum(step >= end for end in ends), self.last_phase)
        return number, ends[number - 1] if number else 0, ends[number]


def train(
    model: MultiExitModel,
    recipe: Recipe,
    training: Labelled,
    calibration: Labelled,
    options: TrainOptions,
    folder: Path,
) -> tuple[EpochLog, ...]:
    """Train what is trainable in `model`, in place, resuming from `folder` if a run was interrupted there.

    Args:
        model: with fresh heads (and adapters), on the device to train on.
        recipe: turns logits into a loss.
        training: the network sees these labels only.
        calibration: watched after every epoch; nothing is learned from it.
        options: see there.
        folder: of the interim checkpoint; `discard_state` removes it once the result is saved.

    Returns:
        The log, one entry an epoch.

    Raises:
        UserError: if the folder holds another training, a damaged file, or the loss is not finite.
    """
    run = _begin(model, recipe, training, options, folder)
    _load_state(run)
    labels = torch.from_numpy(np.asarray(training.labels))
    device = next(model.parameters()).device
    done, n_batches = run.progress.step, run.order.n_batches
    bar = tqdm(total=run.n_steps, initial=done, desc="train", unit="step", disable=None, file=sys.stderr)
    with bar:
        for epoch in range(done // n_batches, options.epochs):
            if _is_over(run):
                break
            start = time.perf_counter() - run.progress.seconds
            batches = run.order.epoch(epoch)
            for rows in batches[run.progress.step - epoch * n_batches :]:
                inputs = _moved(training.samples.batch(rows), device)
                loss = _step(run, inputs, labels[torch.from_numpy(rows)].to(device))
                run.progress = replace(
                    run.progress,
                    step=run.progress.step + 1,
                    loss_sum=run.progress.loss_sum + loss,
                    seconds=time.perf_counter() - start,
                )
                bar.update()
                if run.progress.step % options.save_every == 0 and run.progress.step % n_batches:
                    _save_state(run)
            scores = tuple(exit_scores(model, calibration, batch_size=options.batch_size, precision=options.precision))
            entry = EpochLog(run.progress.loss_sum / n_batches, scores, time.perf_counter() - start)
            run.progress = Progress(
                step=run.progress.step, epochs=(*run.progress.epochs, entry), best_epoch=run.progress.best_epoch
            )
            is_over = _watch(run)
            bar.set_postfix(loss=f"{entry.loss:.3f}", last_exit=f"{scores[-1]:.3f}")
            if (
                is_over
                or run.progress.step // options.save_every > (run.progress.step - n_batches) // options.save_every
            ):
                _save_state(run)
            if is_over:
                break
    _restore_best(run)
    log = run.progress.epochs
    if options.precise_norm:
        rows_of = run.order.epoch(options.epochs)[: -(-_NORM_SAMPLES // options.batch_size)]
        round_weights(model)  # as they will be kept, so that the statistics fit what is loaded
        with _mixed(device, options.precision):
            estimate_norms(model, [_moved(training.samples.batch(rows), device) for rows in rows_of])
        scores = tuple(exit_scores(model, calibration, batch_size=options.batch_size, precision=options.precision))
        kept = len(log) - 1 if run.progress.best_epoch is None else run.progress.best_epoch
        log = (*log[:kept], replace(log[kept], calibration=scores), *log[kept + 1 :])
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    model.eval()
    return log


def exit_scores(
    model: MultiExitModel,
    data: Labelled,
    *,
    batch_size: int = 64,
    precision: Literal["float32", "bfloat16"] = "float32",
) -> list[float]:
    """Accuracy of every exit [L], or mean squared error where C = 1; the model is left in evaluation mode."""
    model.eval()
    device = next(model.parameters()).device
    total = np.zeros(model.n_exits)
    lengths = data.samples.lengths
    order = np.arange(len(data.samples)) if lengths is None else np.argsort(lengths, kind="stable")
    with torch.inference_mode(), _mixed(device, precision):
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            inputs = _moved(data.samples.batch(rows), device)
            logits = model(inputs).float().cpu().numpy()
            labels = np.asarray(data.labels)[rows][:, None]
            good = (logits[:, :, 0] - labels) ** 2 if model.n_outputs == 1 else logits.argmax(axis=2) == labels
            total += good.sum(axis=0)
    return [float(value) for value in total / len(order)]


def log_summary(recipe: Recipe, options: TrainOptions, log: tuple[EpochLog, ...]) -> dict[str, Any]:
    """The training log as JSON values: options, and per epoch the loss, the calibration score by exit, seconds."""
    return {
        "recipe": recipe.name,
        "options": {name: value for name, value in asdict(options).items() if name != "save_every"},
        "epochs": [
            {
                "loss": round(entry.loss, 5),
                "calibration": [round(value, 5) for value in entry.calibration],
                "seconds": round(entry.seconds, 2),
            }
            for entry in log
        ],
        "seconds": round(sum(entry.seconds for entry in log), 2),
    }


def discard_state(folder: Path) -> None:
    """Remove the interim checkpoint, once the trained network is saved or a new start is wanted."""
    (folder / STATE_FILE).unlink(missing_ok=True)


def _begin(model: MultiExitModel, recipe: Recipe, training: Labelled, options: TrainOptions, folder: Path) -> _Run:
    samples, labels = training
    if len(samples) != len(labels) or not len(samples):
        raise UserError(f"{len(samples)} training samples have {len(labels)} labels: one label a sample is needed.")
    if not trained_tensors(model):
        raise UserError("nothing in the network is trainable: attach adapters or unfreeze it.")
    groups: dict[bool, list[Tensor]] = {False: [], True: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[name.startswith("heads.")].append(parameter)
    rates = {False: options.learning_rate, True: options.head_learning_rate or options.learning_rate}
    optimiser = torch.optim.AdamW(
        [{"params": groups[is_head], "peak": rates[is_head]} for is_head in (False, True) if groups[is_head]],
        weight_decay=options.weight_decay,
    )
    folder.mkdir(parents=True, exist_ok=True)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # convolutions are a third faster so
    return _Run(
        model=model,
        recipe=recipe,
        options=options,
        order=BatchOrder(len(samples), options.batch_size, options.seed, samples.lengths),
        fingerprint=_fingerprint(model, recipe, labels, options),
        path=folder / STATE_FILE,
        optimiser=optimiser,
    )


def _step(run: _Run, inputs: dict[str, Tensor], labels: Tensor) -> float:
    """One step of the optimiser; dropout is drawn from (seed, step)."""
    step = run.progress.step
    phase, first, end = run.phase(step)
    factor = _rate_factor(step - first, end - first, run.options.warmup)
    flow = run.recipe.flow(run.model.n_exits, phase)
    for group in run.optimiser.param_groups:
        group["lr"] = group["peak"] * factor
    run.model.train()
    with torch.random.fork_rng():
        torch.manual_seed(int(np.random.SeedSequence([run.options.seed, step]).generate_state(1, np.uint64)[0]) >> 1)
        with _mixed(labels.device, run.options.precision):
            logits = logits_for(run.model, inputs, flow)
        loss = run.recipe.loss(logits.float(), labels, Moment(step, phase))
    value = float(loss.detach())
    if not math.isfinite(value):
        raise UserError(f"the training loss is {value} at step {step + 1}: train with a smaller learning rate.")
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    trainable = [parameter for group in run.optimiser.param_groups for parameter in group["params"]]
    torch.nn.utils.clip_grad_norm_(trainable, run.options.clip_norm)
    run.optimiser.step()
    return value


def _rate_factor(step: int, n_steps: int, warmup: float) -> float:
    """Linear rise from 0 to 1 over the first part of the steps, then linear fall towards 0."""
    rise = max(1, round(warmup * n_steps))
    if step < rise:
        return (step + 1) / rise
    return (n_steps - step) / max(1, n_steps - rise)


def _fingerprint(model: MultiExitModel, recipe: Recipe, labels: np.ndarray, options: TrainOptions) -> str:
    """Digest of what the result depends on, so that an interrupted run is only ever resumed as itself."""
    parts = {
        "options": {name: repr(value) for name, value in asdict(options).items() if name != "save_every"},
        "recipe": repr(recipe),
        "labels": hashlib.sha256(np.ascontiguousarray(labels).tobytes()).hexdigest(),
        "start": tensors_digest(trained_tensors(model)),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _moved(inputs: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in inputs.items()}


def _mixed(device: torch.device, precision: str) -> torch.autocast:
    """Matrix products in bfloat16 where that is asked for."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def _goodness(run: _Run, entry: EpochLog) -> float:
    """Mean calibration score over the exits; larger is better."""
    mean = float(np.mean(entry.calibration))
    return -mean if run.model.n_outputs == 1 else mean


def _watch(run: _Run) -> bool:
    """Remember the best epoch of the last phase; whether training is over early."""
    if run.options.patience is None or run.phase(run.progress.step - 1)[0] != run.last_phase:
        return False
    epochs, best = run.progress.epochs, run.progress.best_epoch
    if best is None or _goodness(run, epochs[-1]) > _goodness(run, epochs[best]):
        run.progress = replace(run.progress, best_epoch=len(epochs) - 1)
        run.best = {name: value.clone() for name, value in trained_tensors(run.model).items()}
    return _is_over(run)


def _is_over(run: _Run) -> bool:
    best, patience = run.progress.best_epoch, run.options.patience
    return patience is not None and best is not None and len(run.progress.epochs) - 1 - best >= patience


def _restore_best(run: _Run) -> None:
    with torch.no_grad():
        for name, value in trained_tensors(run.model).items():
            if name in run.best:
                value.copy_(run.best[name])


def _save_state(run: _Run) -> None:
    write_state(run.path, run.model, run.optimiser, run.fingerprint, run.progress, run.best)


def _load_state(run: _Run) -> None:
    """Take up an interrupted run; without a file this is a new one."""
    if run.path.exists():
        run.progress, run.best = read_state(run.path, run.model, run.optimiser, run.fingerprint)
