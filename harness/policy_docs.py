"""``docs/policies.md``: every rule as its docstring states it, and what was left out and why."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from policies.base import ExitPolicy
from policies.parameters import describe_parameters
from policies.registry import catalogue, family, reference
from policies.spec import format_value


class LeftOut(NamedTuple):
    """A published method that is no rule here, and why."""

    name: str
    reason: str


NEEDS_THE_NETWORK = (
    LeftOut("GPFEE (Liao et al., NAACL 2021)", "its answer is a new classifier over projected past and imitated future "
            "states, trained with the network on the training samples; what a cache holds is too little to train it"),
    LeftOut("HashEE (Sun et al., Findings of ACL 2022)", "hashes tokens, which changes every later state; `hash_exit` "
            "is its idea at the level of samples"),
    LeftOut("SENTEE, TOKEE (Li et al., ACL 2021)", "decide on the logits of every token of a sequence labeller, and "
            "TOKEE copies halted states upwards; a table holds one answer a sample"),
    LeftOut("Depth-Adaptive Transformer (Elbayad et al., ICLR 2020), Faster DAT (Liu et al., AAAI 2021)", "choose the "
            "depth of every token of a decoder, the latter before it runs"),
    LeftOut("CALM for generated text, FREE, MuE, CapEEN, DeeCap", "decide token by token while later tokens attend to "
            "copied states; `calm_state`, `calm_classifier` and `margin` are CALM's three signals for one answer"),
    LeftOut("TR-BERT, AdapLeR, Transkimmer, PoWER-BERT, Length-Adaptive Transformer, Pyramid-BERT, EBERT, DynaBERT",
            "drop tokens, heads or width, not layers; their results can be imported as tables of order `points`"),
    LeftOut("SkipBERT", "replaces the bottom layers by a lookup table; the rule on top is `entropy`"),
    LeftOut("RAEE (2024/25)", "takes the exit from neighbours of the input in a datastore of embeddings, which a table "
            "does not hold"),
    LeftOut("joint training of JEI-DNN, LTE, PALBERT, PonderNet and DACT with the network", "the rules here are fitted "
            "to a frozen network; a network trained with its gates can be imported with the gates as signals"),
)  # fmt: skip

NOT_STATED = (
    LeftOut("ELBERT (Xie et al., 2021)", "the formula of its two-stage window on the confidence was not found"),
    LeftOut("BE3R (KDD 2022)", "the formula of its router was not found"),
    LeftOut("EPNet (CIKM 2020)", "neither reward nor policy network of its decision process were found"),
    LeftOut("DART (2026)", "the formula of its difficulty of an input was not found; it needs the input, too"),
    LeftOut("UAT (2025), AdaEE", "only abstracts were found; `ucb_threshold` is the bandit they build on"),
    LeftOut("DisentangledEE, ConsistentEE, L2W-DEN, COSEE", "known from tables and training losses only"),
    LeftOut("voting of Sun et al. (2021) with its own normalisation", "not found; `vote` counts and `vote_share` "
            "divides by the exits so far, as two second sources say"),
    LeftOut("BEEM-A with the paper's normalisation of the weights", "not stated in the paper; `beem_a` takes the plain "
            "accuracies"),
)  # fmt: skip

ELSEWHERE = (
    LeftOut("RomeBERT, LeeBERT, GAML-BERT, DAdEE, ElasticBERT, Kubaty et al.", "train the exits in another way and "
            "borrow the rule: `entropy`, `pabee`, `max_prob`"),
    LeftOut("COST-EFF (EMNLP 2022)", "`entropy` on a slimmed network, from a first exit on"),
    LeftOut("MSDNet budgeted batch, the quantiles of EENet and IMTA", "ways to choose thresholds for any rule, so "
            "operating points and no rules"),
    LeftOut("Fast yet Safe (NeurIPS 2024), the Learn-then-Test of CALM, the threshold search of BEEM", "the same, with "
            "a promise about the risk"),
    LeftOut("nested prediction sets, EENN-AVCS (UAI 2024)", "gives sets of classes and no exit"),
    LeftOut("CascadeBERT, TangoBERT, Model Cascading", "`max_prob` on a table of order `cascade`"),
    LeftOut("E-LANG", "`energy` on a table of order `route`"),
    LeftOut("A-CapEEN (2024), buffer-based thresholds", "variants of `ucb_threshold`: one threshold an exit (100 and "
            "more arms), thresholds that follow the length of a queue"),
)  # fmt: skip


def policies_markdown() -> str:
    """Return the whole page; the same for the same rules, whatever else is installed."""
    ours = [cls for cls in catalogue().values() if cls.__module__.startswith("policies.")]
    ours.sort(key=lambda cls: (family(cls), cls.name))
    lines = [
        "# Policies",
        "",
        "Made from the docstrings of the rules by `make docs`; a test holds the two together. Symbols: z_i logits of "
        "exit i = 1..L, p_i = softmax(z_i), y_i = argmax p_i, h_i the pooled state the exit reads, N samples, C "
        "classes. A sample leaves at the first exit whose score compares to the threshold as stated; who is released "
        "by none is answered by the last. The difference to a paper or its code is part of the reference.",
        "",
    ]
    for name, members in groupby(ours, key=family):
        rules = list(members)
        lines += [f"## {name}", "", _first_line(sys.modules[rules[0].__module__].__doc__), ""]
        for cls in rules:
            lines += _entry(cls)
    lines += ["## What is left out", ""]
    for title, group in (
        ("Needs the network", NEEDS_THE_NETWORK),
        ("Not stated well enough to build", NOT_STATED),
        ("Something else here", ELSEWHERE),
    ):
        lines += [f"### {title}", "", *(f"- **{left.name}**: {left.reason}." for left in group), ""]
    return "\n".join(lines).rstrip() + "\n"


def _entry(cls: type[ExitPolicy]) -> Iterator[str]:
    text, _, _ = inspect.cleandoc(cls.__doc__ or "").partition("Reference:")
    summary, _, body = text.partition("\n")
    yield from (f"### `{cls.name}`", "", f"**{summary.strip()}**", "")
    for paragraph in body.strip().split("\n\n"):
        if paragraph.strip():
            yield from (" ".join(paragraph.split()), "")
    parameters = describe_parameters(cls)
    if parameters:
        yield from ("| parameter | type | default | allowed |", "|---|---|---|---|")
        for name, facts in parameters.items():
            default = "chosen on calibration" if facts["default"] is None else format_value(facts["default"])  # type: ignore[arg-type]
            knob = " (knob)" if name == cls.knob else ""
            yield f"| `{name}`{knob} | {facts['type']} | {default} | {facts['allowed']} |"
        yield ""
    yield from (f"- Reads: {', '.join(sorted(cls.needs))}{'; fitted on calibration' if cls.learns() else ''}.",)
    if cls.knob is not None:
        yield f"- Leaves when: score {cls.leaves_when} {cls.knob}."
    yield f"- For: {' and '.join(sorted(cls.tasks))}.{_flags(cls)}"
    yield from (f"- Reference: {reference(cls)}", "")


def _flags(cls: type[ExitPolicy]) -> str:
    flags = {
        "Sees labels or later exits: a bound, not a policy.": not cls.causal,
        "Decides samples in an order given by their ids and `seed`.": cls.online,
        "May leave without an answer.": cls.abstains,
    }
    return "".join(f" {text}" for text, holds in flags.items() if holds)


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().split("\n")[0]
