"""Frames as a real run makes them: 3 data sets, 7 cells, 6 exits, 14 policies, from simulated networks."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

N_EXITS = 6
GROUPS = {
    # group: (seeds, samples, classes, difficulty of the data set)
    "cnn6.digits": ((0, 1, 2), 450, 10, 1.0),
    "cnn6.mnist5k": ((0, 1, 2), 1000, 10, 1.4),
    "minilm-l6.bbc-headlines": ((0,), 525, 5, 2.4),
}
SCORES = {
    "max_prob": "confidence",
    "entropy": "confidence",
    "normalized_entropy": "confidence",
    "margin": "confidence",
    "energy": "confidence",
    "pcee": "patience",
    "f_pabee": "patience",
    "beem_c": "beem",
    "beem_a": "beem",
    "beem_released": "beem",
    "sdn": "confidence",
}


def simulate_logits(rng, n, n_classes, difficulty):
    """Logits that grow with depth; the noise is shared by the exits, so they agree as real exits do."""
    labels = rng.integers(0, n_classes, n)
    hard = rng.gamma(1.2, difficulty, n)
    shared = rng.normal(size=(n, n_classes))
    logits = np.empty((n, N_EXITS, n_classes))
    for i in range(N_EXITS):
        gain = 3.6 * (1 - np.exp(-(i + 1) / 1.7))
        noise = 0.6 * shared + 0.8 * rng.normal(size=(n, n_classes))
        logits[:, i] = 0.9 * noise * np.sqrt(hard)[:, None]
        logits[np.arange(n), i, labels] += gain
    return logits * 1.6, labels


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def score_of(name, logits):
    probs = softmax(logits)
    top = np.sort(probs, -1)
    answers = probs.argmax(-1)
    entropy = -(probs * np.log(probs + 1e-12)).sum(-1)
    plain = {
        "max_prob": top[..., -1],
        "sdn": top[..., -1],
        "entropy": -entropy,
        "normalized_entropy": -entropy / np.log(probs.shape[-1]),
        "margin": top[..., -1] - top[..., -2],
        "energy": np.log(np.exp(logits).sum(-1)),
    }
    if name in plain:
        return plain[name]
    same = np.zeros_like(answers, dtype=bool)
    same[:, 1:] = answers[:, 1:] == answers[:, :-1]
    if name == "pcee":
        return np.minimum(-entropy, np.roll(-entropy, 1, axis=1)) - (np.arange(N_EXITS) == 0) * 9.0
    if name == "f_pabee":
        shift = np.abs(np.diff(probs, axis=1, prepend=0)).sum(-1)
        return -shift
    weight = {"beem_c": 0.1 * np.arange(1, 7), "beem_a": np.linspace(0.8, 1, 6), "beem_released": 0.4 * np.arange(6)}
    total = np.zeros(top.shape[:2])
    for i in range(N_EXITS):
        gain = weight[name][i] * top[:, i, -1]
        total[:, i] = gain + (np.where(same[:, i], total[:, i - 1], 0) if i else 0)
    return total


def leave(score, threshold):
    hit = score >= threshold
    hit[:, -1] = True
    return hit.argmax(1)


def pabee_exits(answers, patience):
    count = np.zeros(len(answers), int)
    exits = np.full(len(answers), N_EXITS - 1)
    done = np.zeros(len(answers), bool)
    for i in range(1, N_EXITS):
        count = np.where(answers[:, i] == answers[:, i - 1], count + 1, 0)
        now = (count >= patience) & ~done
        exits[now], done = i, done | now
    return exits


def wilson(p, n):
    z = 1.96
    middle, spread = (p + z * z / 2 / n), z * np.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    return (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)


def result_row(cell, seed, n, policy, name, family, operating, protocol, exits, right, final, rng):
    value, delta = right.mean(), right.mean() - final.mean()
    spread = 1.96 * np.std(right.astype(float) - final) / np.sqrt(n)
    won, lost = (right & ~final).sum(), (~right & final).sum()
    mean_exit = exits.mean() + 1
    off = 1.96 * exits.std() / np.sqrt(n)
    layers = N_EXITS / mean_exit
    time = layers * (0.62 + 0.05 * rng.random()) + 0.2 if name != "final" else 1.0
    low, high = wilson(value, n)
    backbone, dataset, _ = cell.rsplit(".", 2)
    p_value = float(min(1.0, 2 * np.exp(-((won - lost) ** 2) / 2 / max(won + lost, 1))))
    live = {
        "speedup_time": time, "speedup_time_low": time * 0.97, "speedup_time_high": time * 1.03,
        "latency_ms_p50": 4.2 / time, "latency_ms_p90": 5.0 / time, "latency_ms_p99": 6.1 / time,
        "disagreements": 0, "live_n": n, "live_verdict": "VALID", "overhead_percent": 3.1,
        "environment": "2 cores, torch 2.13",
    }  # fmt: skip
    return {
        "protocol_version": "1", "protocol": protocol, "suite": "embedded", "cell": cell, "backbone": backbone,
        "dataset": dataset, "seed": seed, "task": "classification", "metric": "accuracy", "policy": policy,
        "policy_name": name, "family": family, "causal": name != "oracle", "operating": operating, "n": n,
        "value": value, "low": low, "high": high, "delta": delta, "delta_low": delta - spread,
        "delta_high": delta + spread, "p_mcnemar": None if name == "final" else p_value,
        "mean_exit": mean_exit, "mean_exit_low": mean_exit - off, "mean_exit_high": mean_exit + off,
        "n_exits": N_EXITS, "speedup_layers": layers, "speedup_macs": layers * 0.97, "speedup_bmacs": None,
        **(dict.fromkeys(live) if name == "oracle" else live), "live_reason": "", "status": "ok", "reason": "",
        "source": "replayed",
    }  # fmt: skip


def build_frames(points_per_curve=60):
    results, curves, exits, histograms = [], [], [], []
    macs = np.cumsum([9.0, 6, 5, 5, 4, 4]) * 1e5
    for group, (seeds, n, n_classes, difficulty) in GROUPS.items():
        for seed in seeds:
            cell = f"{group}.s{seed}"
            rng = np.random.default_rng([seed, n])
            logits, labels = simulate_logits(rng, n, n_classes, difficulty)
            answers = logits.argmax(-1)
            right = answers == labels[:, None]
            final = right[:, -1]
            for i in range(N_EXITS):
                low, high = wilson(right[:, i].mean(), n)
                exits.append({"cell": cell, "metric": "accuracy", "exit": i + 1, "value": right[:, i].mean(),
                              "low": low, "high": high, "macs": macs[i], "bmacs": None, "layers": i + 1})  # fmt: skip

            def add(
                policy,
                name,
                family,
                operating,
                protocol,
                at,
                got=None,
                *,
                ok=right,
                of=final,
                c=cell,
                s=seed,
                m=n,
                g=rng,
            ):
                got = ok[np.arange(m), at] if got is None else got
                results.append(result_row(c, s, m, policy, name, family, operating, protocol, at, got, of, g))
                shares = np.bincount(at, minlength=N_EXITS) / m
                histograms.extend({"cell": c, "policy": policy, "policy_name": name, "exit": i + 1, "share": v}
                                  for i, v in enumerate(shares))  # fmt: skip

            add("final", "final", "reference", "–", "none", np.full(n, N_EXITS - 1))
            for k in range(1, N_EXITS):
                add(f"fixed(exit={k})", "fixed", "reference", "–", "fixed", np.full(n, k - 1))
            add("oracle", "oracle", "reference", "–", "none", np.where(right.any(1), right.argmax(1), N_EXITS - 1))
            for name, family in SCORES.items():
                score = score_of(name, logits)
                knots = np.unique(np.maximum.accumulate(score[:, :-1], 1))
                knots = np.append(knots, np.inf)
                points = [(t, leave(score, t)) for t in knots[:: max(1, len(knots) // points_per_curve)]]
                curve = [(float(min(t, 1e3)), right[np.arange(n), at].mean(), at.mean() + 1) for t, at in points]
                curves.extend(
                    {"cell": cell, "policy_name": name, "knob": "threshold", "threshold": t, "value": v, "mean_exit": m,
                     "speedup_layers": N_EXITS / m, "speedup_macs": N_EXITS / m * 0.97, "causal": True}
                    for t, v, m in curve
                )  # fmt: skip
                chosen = next(t for t, v, _ in curve if v >= final.mean() - 1e-9)
                add(f"{name}(threshold={chosen!r})", name, family, "match_final(tolerance=0)", "calibration",
                    leave(score, chosen))  # fmt: skip
                for q in (0.3, 0.8):
                    t = round(float(np.quantile(score[:, :-1], q)), 1)
                    add(f"{name}(threshold={t!r})", name, family, "fixed", "fixed", leave(score, t))
            for patience in range(1, N_EXITS):
                at = pabee_exits(answers, patience)
                value, mean = right[np.arange(n), at].mean(), at.mean() + 1
                curves.append({"cell": cell, "policy_name": "pabee", "knob": "patience", "threshold": patience,
                               "value": value, "mean_exit": mean, "speedup_layers": N_EXITS / mean,
                               "speedup_macs": N_EXITS / mean, "causal": True})  # fmt: skip
            at = pabee_exits(answers, 2)
            add("pabee(patience=2,tolerance=0)", "pabee", "patience", "match_final(tolerance=0)", "calibration", at)
    return SimpleNamespace(results=pd.DataFrame(results), curves=pd.DataFrame(curves), exits=pd.DataFrame(exits),
                           histograms=pd.DataFrame(histograms))  # fmt: skip


def skipped_row(cell="minilm-l6.bbc-headlines.s1"):
    backbone, dataset, seed = cell.rsplit(".", 2)
    from harness.report.frame import RESULTS

    row = dict.fromkeys(RESULTS.names)
    row.update(protocol_version="1", protocol="none", suite="embedded", cell=cell, backbone=backbone, dataset=dataset,
               seed=int(seed[1:]), task="classification", metric="accuracy", policy="", status="skipped",
               reason="the weights are not installed", source="replayed", operating="–")  # fmt: skip
    return row


@pytest.fixture(scope="session")
def frames():
    return build_frames()


@pytest.fixture(scope="session")
def skipped():
    return skipped_row()
