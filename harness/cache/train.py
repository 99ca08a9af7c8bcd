"""Train the exits of a network, interruptible at any moment.

The loop is our own and small because the checkpoints of the usual trainers are pickles: here everything that a resumed
run needs is one safetensors file (trained parameters, both moments of AdamW, the step and the log so far), replaced
atomically. Batch order and dropout are drawn from (seed, epoch) and (seed, step), so no random state is stored and a
resumed run ends with the same bits as an undisturbed one (on the same machine and number of threads).
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as bytes_from_tensors
from torch import Tensor
from tqdm import tqdm

from backbones.base import MultiExitModel
from backbones.checkpoints import trained_tensors, write_atomic
from backbones.digests import tensors_digest
from backbones.recipes.base import Recipe
from backbones.samples import Samples
from harness.cache.batches import BatchOrder
from harness.errors import UserError

STATE_FILE = "training.safetensors"


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
        warmup: part of all steps in which the rate rises linearly from 0; it then falls linearly to 0.
        clip_norm: largest norm of the gradient.
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
    seed: int = 0
    save_every: int = 50

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "save_every"):
            if getattr(self, name) < 1:
                raise UserError(f"training option {name} is {getattr(self, name)}, but it must be at least 1.")


@dataclass(frozen=True, slots=True)
class EpochLog:
    """One pass over the training split.

    Attributes:
        loss: mean training loss.
        calibration: accuracy of each exit [L] on the calibration split (mean squared error for regression).
        seconds: spent on it, evaluation included.
    """

    loss: float
    calibration: tuple[float, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training has come.

    Attributes:
        step: optimiser steps done.
        epochs: complete epochs.
        loss_sum: loss summed over the steps of the epoch under way.
        seconds: spent on the epoch under way.
    """

    step: int = 0
    epochs: tuple[EpochLog, ...] = ()
    loss_sum: float = 0.0
    seconds: float = 0.0


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

    @property
    def n_steps(self) -> int:
        return self.options.epochs * self.order.n_batches


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
            start = time.perf_counter() - run.progress.seconds
            batches = run.order.epoch(epoch)
            for rows in batches[run.progress.step - epoch * n_batches :]:
                inputs = {name: tensor.to(device) for name, tensor in training.samples.batch(rows).items()}
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
            accuracy = tuple(exit_scores(model, calibration, batch_size=options.batch_size))
            entry = EpochLog(run.progress.loss_sum / n_batches, accuracy, time.perf_counter() - start)
            run.progress = Progress(step=run.progress.step, epochs=(*run.progress.epochs, entry))
            bar.set_postfix(loss=f"{entry.loss:.3f}", last_exit=f"{accuracy[-1]:.3f}")
            if run.progress.step // options.save_every > (run.progress.step - n_batches) // options.save_every:
                _save_state(run)
    model.eval()
    return run.progress.epochs


def exit_scores(model: MultiExitModel, data: Labelled, *, batch_size: int = 64) -> list[float]:
    """Accuracy of every exit [L], or mean squared error where C = 1; the model is left in evaluation mode."""
    model.eval()
    device = next(model.parameters()).device
    total = np.zeros(model.n_exits)
    lengths = data.samples.lengths
    order = np.arange(len(data.samples)) if lengths is None else np.argsort(lengths, kind="stable")
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            inputs = {name: tensor.to(device) for name, tensor in data.samples.batch(rows).items()}
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
    step, n_steps = run.progress.step, run.n_steps
    factor = _rate_factor(step, n_steps, run.options.warmup)
    for group in run.optimiser.param_groups:
        group["lr"] = group["peak"] * factor
    run.model.train()
    with torch.random.fork_rng():
        torch.manual_seed(int(np.random.SeedSequence([run.options.seed, step]).generate_state(1, np.uint64)[0]) >> 1)
        loss = run.recipe.loss(run.model(inputs), labels, step)
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


def _save_state(run: _Run) -> None:
    tensors: dict[str, Tensor] = {}
    for name, parameter in run.model.named_parameters():
        if parameter.requires_grad:
            moments = run.optimiser.state[parameter]
            tensors[f"value.{name}"] = parameter.data.contiguous()
            tensors[f"mean.{name}"] = moments["exp_avg"].contiguous()
            tensors[f"square.{name}"] = moments["exp_avg_sq"].contiguous()
    state = {"fingerprint": run.fingerprint, "progress": asdict(run.progress)}
    write_atomic(run.path, bytes_from_tensors(tensors, metadata={"state": json.dumps(state)}))


def _load_state(run: _Run) -> None:
    """Take up an interrupted run; without a file this is a new one."""
    if not run.path.exists():
        return
    advice = "finish it with the options it was started with, or remove that file to start anew."
    try:
        with safe_open(run.path, framework="pt") as file:
            state = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"'{run.path}' is not the state of a training: remove that file to start anew.") from error
    if state["fingerprint"] != run.fingerprint:
        raise UserError(f"'{run.path}' is the state of another interrupted training: {advice}")
    progress = state["progress"]
    epochs = tuple(
        EpochLog(entry["loss"], tuple(entry["calibration"]), entry["seconds"]) for entry in progress["epochs"]
    )
    run.progress = Progress(progress["step"], epochs, progress["loss_sum"], progress["seconds"])
    with torch.no_grad():
        for name, parameter in run.model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(tensors[f"value.{name}"])
                run.optimiser.state[parameter] = {
                    "step": torch.tensor(float(run.progress.step)),
                    # In the memory layout of the parameter, so that the arithmetic is the same to the last bit.
                    "exp_avg": torch.empty_like(parameter).copy_(tensors[f"mean.{name}"]),
                    "exp_avg_sq": torch.empty_like(parameter).copy_(tensors[f"square.{name}"]),
                }
