"""A few hand-made rows of every frame of images, sounds and LEENet's sweep."""

from __future__ import annotations

from tests.harness.report.papers import NAN, point, three


def depth(name, n, exit_, value, *, dataset="x", **changes):
    return {
        "backbone": "net", "dataset": dataset, "kind": "images", "policy": "normalized_entropy",
        "spec": "normalized_entropy(threshold=0.5)", "n_cells": 1, "n_exits": 3, "class_name": name, "n": n,
        "share": n / 100, **three("mean_exit", exit_, 0.1), "value": value, "low": value - 0.05, "high": value + 0.05,
        "final": value - 0.1,
    } | changes  # fmt: skip


def depth_exits(name, shares, right, *, dataset="x"):
    about = {key: value for key, value in depth(name, 1, 1, 1, dataset=dataset).items() if key in (
        "backbone", "dataset", "kind", "policy", "spec", "n_cells", "n_exits", "class_name")}  # fmt: skip
    return [
        about | {"exit": i + 1, "left": share, "value": value, "final": value}
        for i, (share, value) in enumerate(zip(shares, right, strict=True))
    ]


def alpha(price, value, exit_, *, rule="leenet", unit="layers", delta=-0.02, p_holm=0.01, **changes):
    beside = {}
    for policy in ("max_prob", "beem_a", "optimal_stopping"):
        beside |= three(f"delta_{policy}", delta) | {f"delta_{policy}_p_holm": p_holm}
    return {
        "backbone": "net", "dataset": "x", "metric": "accuracy", "rule": rule, "unit": unit, "alpha": price, "n": 100,
        "n_seeds": 3, "n_exits": 3, **three("value", value), **three("exit", exit_, 0.1), "speedup_layers": 3 / exit_,
        "macs": 2.5 / exit_, "soft_value": value - 0.01, "soft_exit": exit_ + 0.1, "soft_cost": (exit_ - 1) / 2,
        **beside, **three("step", NAN if price == 0 else -0.1), "step_p_holm": NAN if price == 0 else 0.5,
        **three("step_exit", NAN if price == 0 else -1), "step_exit_p_holm": NAN if price == 0 else 0.001,
    } | changes  # fmt: skip


def verdict(claim, said, sentence):
    return {
        "claim": claim, "backbone": "net", "dataset": "x", "metric": "accuracy", "rule": "leenet", "unit": "layers",
        "n_seeds": 3, **three("change", -0.2), "verdict": said, "sentence": sentence,
    }  # fmt: skip


ROWS = {
    "images": [
        point("net", "x", "final", "full", 0.9, 1.0),
        point("net", "x", "max_prob", "no loss", 0.95, 1.25, mark="+"),
        point("bet", "x", "final", "full", 0.8, 1.0, n_seeds=3),
        point("bet", "x", "pabee", "2x", 0.7, 2.1, mark="-"),
    ],
    "sounds": [],
    "depths": [
        depth("all classes", 100, 2.0, 0.9, n_cells=3), depth("cat", 60, 2.5, 0.8), depth("dog", 40, 1.25, 0.95),
    ],
    "depth_exits": [
        *depth_exits("all classes", [0.3, 0.4, 0.3], [1, 0.9, 0.8]),
        *depth_exits("cat", [0, 0.5, 0.5], [NAN, 0.9, 0.7]),
        *depth_exits("dog", [0.75, 0.25, 0], [1, 0.8, NAN]),
    ],
    "alpha": [
        alpha(0, 0.9, 3.0, p_holm=1), alpha(0.5, 0.8, 2.0), alpha(1, 0.6, 1.0, delta=NAN, p_holm=NAN),
        alpha(0, 0.9, 3.0, rule="leenet_released", unit="macs"),
    ],
    "alpha_curves": [
        {"backbone": "net", "dataset": "x", "policy": "max_prob", "exit": float(i), "value": 0.6 + 0.1 * i}
        for i in (1, 2, 3)
    ],
    "alpha_verdicts": [verdict("accuracy falls as alpha rises", "holds", "accuracy never rises")],
}  # fmt: skip
NOTHING = {name: [] for name in ROWS}


def image(shelf, sample_id, exit_, label, answer, final="cat"):
    return {
        "backbone": "net", "dataset": "x", "spec": "leenet(alpha=0.1)", "n_exits": 3, "shelf": shelf,
        "sample_id": sample_id, "exit": exit_, "label": label, "answer": answer, "final": final,
    }  # fmt: skip


SHEET = [
    *(image("left first, and right", i, 1, "cat", "cat") for i in range(8)),
    image("left last", 9, 3, "dog", "dog"), image("wrong early", 7, 2, "dog", "a cat with a very long name"),
]  # fmt: skip
