"""Rows of what was measured, as small as they can be."""

from __future__ import annotations

MACHINE = {"verdict": "VALID", "reason": "", "environment": "acme-2-threads"}
CELL = "cnn6.digits.s0"
SPEEDUPS = {
    "speedup_layers": 2.0, "speedup_macs": 1.9, "speedup_time": 1.8, "speedup_time_low": 1.7, "speedup_time_high": 1.9,
}  # fmt: skip


def names(policy: str, cell: str = CELL) -> dict[str, object]:
    return {"cell": cell, "policy": policy, "policy_name": policy.split("(")[0]}


def live(policy: str, cell: str = CELL, **changes: object) -> dict[str, object]:
    row = {
        "n": 449, "disagreements": 0, "n_timed": 900, "p50_ms": 0.2114, "p90_ms": 0.4, "p99_ms": 0.6, "mean_ms": 0.25,
        "predicted_ms": 0.26, "overhead_percent": 12.0, "unique_over_repeated": None,
    }  # fmt: skip
    return names(policy, cell) | row | SPEEDUPS | MACHINE | changes


def latency(policy: str, cell: str = CELL, times: tuple[float, ...] = (0.1, 0.2, 0.4)) -> list[dict[str, object]]:
    return [names(policy, cell) | {"quantile": q, "ms": ms} for q, ms in zip((0.1, 0.5, 0.9), times, strict=True)]


def batch(policy: str, size: int, per_s: float, cell: str = CELL, **changes: object) -> dict[str, object]:
    row = {"batch_size": size, "samples_per_s": per_s, "predicted_per_s": 1.1 * per_s}
    return names(policy, cell) | row | SPEEDUPS | MACHINE | changes


def served(policy: str, rate: float, p99: float, cell: str = CELL, **changes: object) -> dict[str, object]:
    row = {
        "rate_per_s": rate, "achieved_per_s": rate, "duration_s": 10.0, "n": 1000, "lost": 0, "p50_ms": p99 / 4,
        "p90_ms": p99 / 2, "p99_ms": p99, "mean_ms": p99 / 3, "mean_batch": 1.5, "queue_max": 7,
        "queue_growth_per_s": 0.01, "mean_exit": 3.0, "disagreements": 1, "max_batch": 8, "timeout_ms": 2.0,
    }  # fmt: skip
    return names(policy, cell) | row | MACHINE | changes


def bound(policy: str, highest: float | None, ms: float = 20.0, cell: str = CELL) -> dict[str, object]:
    row = {"bound_ms": ms, "highest_per_s": highest, "duration_s": 10.0, "timeout_ms": 2.0, "max_batch": 8}
    return names(policy, cell) | row


def agreement(policy: str, size: int, cell: str = CELL, **changes: object) -> dict[str, object]:
    row = {"batch_size": size, "n": 449, "near_ties": 0, "precision": 0, "unexplained": 0}
    return names(policy, cell) | row | {"environment": MACHINE["environment"]} | changes


def difference(policy: str, cell: str = CELL, **changes: object) -> dict[str, object]:
    row = {
        "batch_size": 32, "sample_id": 7, "live_exit": 2, "replayed_exit": 3, "live_prediction": 1.0,
        "replayed_prediction": 0.0, "live_score": 0.9, "replayed_score": None, "distance": 1.25e-6,
        "logit_difference": 2e-6, "explanation": "near-tie", "detail": "either is possible",
    }  # fmt: skip
    return names(policy, cell) | row | changes


def exit_times(
    backbone: str, dataset: str = "fsdd-digits", seed: int = 0, **changes: object
) -> list[dict[str, object]]:
    """Two exits, as trained and (unless it is a float network) packed at half the time."""
    place = {"cell": f"{backbone}.{dataset}.s{seed}", "backbone": backbone, "dataset": dataset, "seed": seed}
    rest = {"n_timed": 300, "front_end_ms": 0.5, "threads": 1} | MACHINE
    rows = []
    for exit_, p50 in ((1, 2.0), (2, 5.0)):
        none = dict.fromkeys(("ratio", "ratio_low", "ratio_high", "equal", "checked"))
        packed = {"ratio": 2.0, "ratio_low": 1.875, "ratio_high": 2.125, "equal": 300, "checked": 300}
        rows.append(place | {"way": "float", "exit": exit_, "p50_ms": p50, "p99_ms": 1.4 * p50} | none | rest | changes)
        if not backbone.endswith("-float"):
            times = {"way": "packed", "exit": exit_, "p50_ms": p50 / 2, "p99_ms": 0.7 * p50}
            rows.append(place | times | packed | rest | changes)
    return rows


MAX_PROB = "max_prob(threshold=0.9)"
ROWS: dict[str, list[dict[str, object]]] = {
    "live": [
        live(MAX_PROB),
        live("final", unique_over_repeated=0.99),
        live("pabee(patience=2)", verdict="INVALID", reason="rounds are unstable"),
    ],
    "latency": [*latency(MAX_PROB)[::-1], *latency("final", times=(0.4, 0.4, 0.5))],
    "batches": [
        *(batch(MAX_PROB, size, 300.0 + size) for size in (32, 8)),
        *(batch("final", size, 150.0 + size) for size in (8, 32)),
        *(batch(name, 8, 100.0, predicted_per_s=None, speedup_layers=None) for name in ("all heads", "backbone alone")),
    ],
    "server": [served(MAX_PROB, 200, 9.0), served("final", 100, 12.0), served("final", 50, 8.0)],
    "bounds": [bound("final", 90.0), bound(MAX_PROB, 180.0), bound("final", None, 2.0), bound(MAX_PROB, 40.0, 2.0)],
    "agreement": [agreement("final", 1), agreement(MAX_PROB, 1, precision=1), agreement(MAX_PROB, 32, near_ties=2)],
    "differences": [difference(MAX_PROB)],
    "exit_latency": [*exit_times("quicknet")[::-1], *exit_times("been-notebook-float")],
}
