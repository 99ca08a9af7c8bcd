import numpy as np

from backbones.registry import build, entry
from harness.cells.plan import plan, suite_cells
from harness.cells.samples import Clips
from harness.cells.suites import load_suite, suite_policies
from harness.cells.tasks import task_spec

NETWORKS = {"been-notebook", "been-notebook-float", "binary-densenet", "quicknet", "real-to-binary"}


def test_every_network_hears_every_data_set(tmp_path):
    suite = load_suite("audio")
    assert set(suite.backbones) == NETWORKS
    cells = list(suite_cells(suite, tmp_path))
    folds = {f"esc10-fold{fold}" for fold in range(1, 6)}
    for network in NETWORKS:
        seeds = {
            dataset: {c.seed for c in cells if (c.backbone, c.dataset) == (network, dataset)}
            for dataset in {"fsdd-digits", "fsdd-speakers"} | folds
        }
        commands = {c.seed for c in cells if (c.backbone, c.dataset) == (network, "speech-commands")}
        assert commands == {0}
        spoken = {0} if network == "been-notebook-float" else {0, 1, 2}  # the twin stands beside, once
        assert seeds == {"fsdd-digits": spoken, "fsdd-speakers": spoken} | {fold: {0} for fold in folds}


def test_networks_and_data_are_of_sound_and_clips_have_their_length():
    suite = load_suite("audio")
    for group in suite.cells:
        assert entry(suite.backbones[group.backbone].builder).reads == "audio"
        assert {task_spec(name).kind for name in group.tasks} == {"audio"}
        assert group.arguments.get("seconds", 1.0) == (5.0 if group.tasks[0].startswith("esc10") else 1.0)
        assert group.training.recipe == "joint_equal"


def test_policies_fit_four_exits():
    specs = [run.spec for run in suite_policies(load_suite("audio"), 4, "classification")]
    assert "fixed(exit=4)" in specs
    assert "fixed(exit=5)" not in specs
    assert {"entropy", "normalized_entropy"} <= set(specs)


def test_missing_cells_wait_to_be_asked_for(tmp_path):
    reasons = {entry.reason for entry in plan([load_suite("audio")], results_folder=tmp_path)}
    assert all("name it with --suite" in reason or "not on this machine" in reason for reason in reasons)


def test_a_network_for_commands_reads_their_rate():
    suite = load_suite("audio")
    for group in suite.cells:
        rate = task_spec(group.tasks[0]).source.rate
        assert group.arguments.get("rate", 8000) == rate
        if rate != 8000:
            model = build(suite.backbones[group.backbone].builder, 10, **group.arguments)
            samples = model.samples(Clips((np.zeros(rate, np.int16),), rate))
            assert samples.batch([0])["log_mel"].shape == (1, 1, 49, 32)
