"""Training learns, and a killed training ends with the same bits as an undisturbed one."""

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from backbones.checkpoints import trained_tensors
from backbones.digests import tensors_digest
from backbones.recipes.joint import JointRecipe
from backbones.recipes.registry import find_recipe
from backbones.recipes.two_stage import TwoStageRecipe
from backbones.registry import build
from harness.cache.train import (
    Labelled,
    TrainOptions,
    discard_state,
    exit_scores,
    log_summary,
    train,
)
from harness.cache.train_state import STATE_FILE
from harness.errors import UserError

OPTIONS = TrainOptions(epochs=3, batch_size=16, learning_rate=5e-3, head_learning_rate=1e-2, seed=4, save_every=2)


class Interrupted(Exception):
    pass


@dataclasses.dataclass(frozen=True)
class Fragile(JointRecipe):
    """Breaks before a step; as far as the training can tell it is the joint recipe."""

    stop_at: int = 0

    def __repr__(self):
        return repr(JointRecipe())

    def loss(self, logits, labels, moment):
        if moment.step == self.stop_at:
            raise Interrupted
        return JointRecipe().loss(logits, labels, moment)


def data(model, n=70, seed=0):
    """Two classes of blots, left and right; 70 samples make 5 batches of 16, the last one smaller."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    images = rng.uniform(0, 0.3, (n, 1, 8, 8)).astype(np.float32)
    images[labels == 1, :, :3, :3] += 0.7
    return Labelled(model.samples(images), labels)


def network():
    """With dropout, so that its random state matters."""
    model = build("cnn6", 2, seed=1, width=8)
    for exit_index, head in enumerate(model.heads):
        model.heads[exit_index] = torch.nn.Sequential(torch.nn.Dropout(0.2), head)
    return model


def run(folder, recipe=None, options=OPTIONS):
    model = network()
    log = train(model, recipe or JointRecipe(), data(model), data(model, seed=1), options, folder)
    return model, log


def test_it_learns(tmp_path):
    options = dataclasses.replace(OPTIONS, epochs=12, learning_rate=1e-2, save_every=1000)
    model, log = run(tmp_path, options=options)
    assert len(log) == 12
    assert log[-1].loss < 0.7 * log[0].loss
    assert log[-1].calibration[-1] > 0.9
    assert log[-1].calibration == tuple(exit_scores(model, data(model, seed=1), batch_size=7))
    assert not model.training


# Steps 5 and 10 are ends of epochs, 2 and 4 checkpoints, 3 and 7 lie between.
@pytest.mark.parametrize("stop_at", [1, 2, 3, 4, 5, 7, 10, 14])
def test_an_interrupted_training_ends_bit_identical(tmp_path, stop_at):
    whole, whole_log = run(tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(tmp_path / "broken", Fragile(stop_at=stop_at))
    resumed, log = run(tmp_path / "broken")
    assert tensors_digest(trained_tensors(resumed)) == tensors_digest(trained_tensors(whole))
    assert [entry.loss for entry in log] == [entry.loss for entry in whole_log]
    assert [entry.calibration for entry in log] == [entry.calibration for entry in whole_log]


def noisy_network():
    return build("been-notebook", 2, seed=1, width=8)


def noises(model, n=70, seed=0):
    """Clips as spectrograms: one class is louder in the low bands."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    clips = rng.normal(-6, 2, (n, 1, 21, 32)).astype(np.float32)
    clips[labels == 1, :, :, :10] += 3.0
    return Labelled(Spectrograms(clips), labels)


class Spectrograms:
    lengths = None

    def __init__(self, clips):
        self.clips = clips

    def __len__(self):
        return len(self.clips)

    def batch(self, rows):
        return {"log_mel": torch.from_numpy(self.clips[rows])}


def test_precise_norms_change_statistics_and_no_weight_and_survive_an_interruption(tmp_path):
    found = {}
    for precise in (False, True):
        model, options = noisy_network(), dataclasses.replace(OPTIONS, precise_norm=precise)
        log = train(model, JointRecipe(), noises(model), noises(model, seed=1), options, tmp_path / str(precise))
        assert log[-1].calibration == tuple(exit_scores(model, noises(model, seed=1), batch_size=16))
        found[precise] = model.state_dict()
    same = {name for name, value in found[True].items() if torch.equal(value, found[False][name])}
    running = {name for name in found[True] if name.endswith(("running_mean", "running_var"))}
    assert running and not running & same
    weights = {name for name, _ in noisy_network().named_parameters()}
    assert all(torch.equal(found[True][name], found[False][name].half().float()) for name in weights)
    model, options = noisy_network(), dataclasses.replace(OPTIONS, precise_norm=True)
    with pytest.raises(Interrupted):
        train(model, Fragile(stop_at=7), noises(model), noises(model, seed=1), options, tmp_path / "broken")
    model = noisy_network()
    train(model, JointRecipe(), noises(model), noises(model, seed=1), options, tmp_path / "broken")
    assert all(torch.equal(value, found[True][name]) for name, value in model.state_dict().items())


def test_it_resumes_and_does_not_start_over(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path, Fragile(stop_at=9))
    # Step 8 was saved; if the run started over it would stop at step 3.
    run(tmp_path, Fragile(stop_at=3))


def test_a_killed_process_leaves_a_state_that_can_be_resumed(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import importlib.util
spec = importlib.util.spec_from_file_location("t", sys.argv[1])
t = importlib.util.module_from_spec(spec); sys.modules["t"] = t; spec.loader.exec_module(t)
class Killer(t.Fragile):
    def loss(self, logits, labels, moment):
        if moment.step == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return t.JointRecipe().loss(logits, labels, moment)
t.run(Path(sys.argv[3]), Killer())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, __file__, str(Path(__file__).parents[3]), str(tmp_path / "broken")], check=False
    )
    assert done.returncode == -signal.SIGKILL
    resumed, _ = run(tmp_path / "broken")
    whole, _ = run(tmp_path / "whole")
    assert [path.name for path in (tmp_path / "broken").iterdir()] == [STATE_FILE]
    assert tensors_digest(trained_tensors(resumed)) == tensors_digest(trained_tensors(whole))


@pytest.mark.parametrize("change", [{"learning_rate": 1e-3}, {"seed": 5}, {"epochs": 4}])
def test_the_state_of_another_training_is_refused(tmp_path, change):
    with pytest.raises(Interrupted):
        run(tmp_path, Fragile(stop_at=7))
    with pytest.raises(UserError, match="another interrupted training"):
        run(tmp_path, options=dataclasses.replace(OPTIONS, **change))
    discard_state(tmp_path)
    run(tmp_path, options=dataclasses.replace(OPTIONS, **change))


def test_how_often_it_saves_may_change(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path, Fragile(stop_at=7))
    run(tmp_path, options=dataclasses.replace(OPTIONS, save_every=3))


@pytest.mark.parametrize("content", [b"", b"cos\nsystem\n(S'true'\ntR.", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_damaged_state_is_refused(tmp_path, content):
    (tmp_path / STATE_FILE).write_bytes(content)
    with pytest.raises(UserError, match="not the state of a training"):
        run(tmp_path)


def test_the_random_state_of_the_caller_is_left_alone(tmp_path):
    before = torch.random.get_rng_state()
    run(tmp_path)
    assert torch.equal(before, torch.random.get_rng_state())


def test_frozen_parameters_stay_and_are_not_saved(tmp_path):
    model = build("cnn6", 2, width=8)
    model.stem.requires_grad_(False)
    before = model.stem.weight.clone()
    train(model, JointRecipe(), data(model), data(model), OPTIONS, tmp_path)
    assert torch.equal(model.stem.weight, before)


def test_a_loss_that_explodes_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="smaller learning rate"):
        run(tmp_path, options=dataclasses.replace(OPTIONS, learning_rate=1e30))


def test_labels_of_another_number(tmp_path):
    model = network()
    images, labels = data(model)
    with pytest.raises(UserError, match="one label a sample"):
        train(model, JointRecipe(), Labelled(images, labels[:-1]), data(model), OPTIONS, tmp_path)


def test_regression_is_watched_by_its_squared_error(tmp_path):
    model = build("cnn6", 1, width=8)
    images, labels = data(model)
    targets = Labelled(images, labels.astype(np.float64))
    log = train(model, JointRecipe(), targets, targets, dataclasses.replace(OPTIONS, epochs=8), tmp_path)
    with torch.inference_mode():
        error = (model(images.batch(range(70)))[:, -1, 0].numpy() - labels) ** 2
    assert log[-1].calibration[-1] == pytest.approx(error.mean(), rel=1e-4)


def test_the_summary_is_json(tmp_path):
    _, log = run(tmp_path)
    summary = json.loads(json.dumps(log_summary(JointRecipe(), OPTIONS, log)))
    assert summary["recipe"] == "joint"
    assert len(summary["epochs"]) == 3
    assert len(summary["epochs"][0]["calibration"]) == 6
    assert "save_every" not in summary["options"]


@pytest.mark.parametrize("name", ["two_stage", "gradient_equilibrium"])
def test_an_interrupted_training_of_any_recipe_ends_with_the_same_bits(tmp_path, name):
    recipe = find_recipe(name)
    options = dataclasses.replace(OPTIONS, epochs=4, patience=2, precision="bfloat16")
    model, log = run(tmp_path / "whole", recipe, options)

    class Stops(type(recipe)):
        def __repr__(self):
            return repr(recipe)

        def loss(self, logits, labels, moment):
            if moment.step == self.at:
                raise Interrupted
            return recipe.loss(logits, labels, moment)

    for at in (3, 9, 11):
        Stops.at = at
        with pytest.raises(Interrupted):
            run(tmp_path / "broken", Stops(), options)
    again, resumed = run(tmp_path / "broken", recipe, options)
    assert tensors_digest(trained_tensors(again)) == tensors_digest(trained_tensors(model))
    assert [entry.calibration for entry in resumed] == [entry.calibration for entry in log]


def test_phases_start_their_rate_anew_and_freeze_the_network(tmp_path):
    seen = []

    class Watching(TwoStageRecipe):
        def loss(self, logits, labels, moment):
            seen.append((moment.step, moment.phase, logits[0, -1].detach().clone()))
            return super().loss(logits, labels, moment)

    run(tmp_path, Watching(), dataclasses.replace(OPTIONS, epochs=4, batch_size=70))
    assert [phase for _, phase, _ in seen] == [0, 0, 1, 1]


def test_the_best_epoch_is_kept_and_waiting_ends(tmp_path, monkeypatch):
    marks = iter([[0.5] * 6, [0.9] * 6, [0.8] * 6, [0.9] * 6, [1.0] * 6])
    kept = []

    def scores(model, *_args, **_kwargs):
        kept.append(tensors_digest(trained_tensors(model)))
        return next(marks)

    monkeypatch.setattr("harness.cache.train.exit_scores", scores)
    model, log = run(tmp_path, options=dataclasses.replace(OPTIONS, epochs=6, patience=2))
    assert len(log) == 4
    assert tensors_digest(trained_tensors(model)) == kept[1]


def test_mixed_precision_learns_about_as_much_and_keeps_float32_weights(tmp_path):
    options = dataclasses.replace(OPTIONS, epochs=12, learning_rate=1e-2, save_every=1000)
    _, exact = run(tmp_path / "exact", options=options)
    model, mixed = run(tmp_path / "mixed", options=dataclasses.replace(options, precision="bfloat16"))
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert mixed[-1].calibration[-1] > 0.8
    assert mixed[-1].loss != exact[-1].loss
    assert all(value.is_contiguous() for value in trained_tensors(model).values())


def test_a_wrong_patience_is_a_sentence():
    with pytest.raises(UserError, match="patience is 0, but it must be at least 1, or left out"):
        dataclasses.replace(OPTIONS, patience=0)
