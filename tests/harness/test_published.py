"""Published numbers as data: each has its source, and what the source prints becomes what we can set beside ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UserError
from harness.published import FINAL, STATIC, Published, load_published

HEAD = "paper,year,backbone,dataset,split,method,metric,value,speedup,speedup_definition,source\n"


def row(**changes: str) -> Published:
    texts = {
        "file": "f.csv", "paper": "P", "year": "2020", "backbone": "BERT-base", "dataset": "SST-2", "split": "dev",
        "method": "PABEE", "metric": "acc", "value": "92.0", "speedup": "1.57x", "definition": "average-layer ratio",
        "source": "somewhere",
    } | changes  # fmt: skip
    return Published(line=2, **texts)


def read(folder: Path, text: str) -> list[Published]:
    (folder / "some.csv").write_text(text, encoding="utf-8")
    return load_published(folder)


def test_the_package_has_numbers_of_three_files_each_with_its_source() -> None:
    rows = load_published()
    assert {r.file for r in rows} == {
        "published_results.csv", "published_results_beem.csv", "published_results_vision.csv",
    }  # fmt: skip
    assert len(rows) == 910
    assert all(r.source and r.line > 1 for r in rows)
    assert len({(r.file, r.line) for r in rows}) == len(rows)
    assert {r.task for r in rows} >= {"", "sst2", "mrpc", "rte", "cola", "stsb", "qnli", "qqp", "mnli"}


def test_a_known_number() -> None:
    (found,) = [
        r for r in load_published()
        if (r.paper, r.backbone, r.dataset, r.split, r.method) == ("PABEE", "ALBERT-base", "RTE", "dev", "PABEE")
    ]  # fmt: skip
    assert (found.points, found.ratio, found.unit) == (80.1, 1.57, "layers")
    assert (found.task, found.policy, found.our_backbone, found.our_metric) == (
        "rte", "pabee", "albert-base-v2", "accuracy",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "policy"),
    [
        ("BERT-base (no exit)", FINAL), ("BERT-base", FINAL), ("RoBERTa-base (static fine-tune)", FINAL),
        ("BERT-base 6L (static fine-tune)", STATIC), ("BERT-6L", STATIC), ("F-PABEE (74-82% band)", "f_pabee"),
        ("PABEE (third party)", "pabee"), ("DeeBERT setting 1", "entropy"), ("BEEM-A", "beem_a"), ("BEEM", "beem_c"),
        ("BERxiT", "lte"), ("DistilBERT", ""), ("TinyBERT-6L (static fine-tune)", ""),
    ],
)  # fmt: skip
def test_methods_are_our_rules(method: str, policy: str) -> None:
    assert row(method=method).policy == policy


@pytest.mark.parametrize(
    ("speedup", "definition", "ratio", "unit"),
    [
        ("1.57x", "average-layer ratio", 1.57, "layers"),
        ("10.33x (2108341649 FLOPs)", "FLOPs per sample", 10.33, "FLOPs"),
        ("75%", "1 - sum(exit layer)/sum(L) = fraction of layers saved", 4.0, "layers"),
        ("-50%", "relative change of measured test-set inference time", 2.0, "time"),
        ("0% (total time 36.72 s)", "relative change of measured test-set inference time", 1.0, "time"),
        ("0.5", "'Expected saving' = sum(l*count_l)/(L*N) = fraction of layers STILL RUN", 2.0, "layers"),
        ("within 1.89x-2.09x", "ratio; definition not in source", None, ""),
        ("40%", "", None, ""),
        ("100%", "1 - sum(exit layer)/sum(L)", None, "layers"),
        ("", "", None, ""),
    ],
)
def test_speedups_become_full_cost_over_cost(speedup: str, definition: str, ratio: float | None, unit: str) -> None:
    found = row(speedup=speedup, definition=definition)
    assert found.ratio == (None if ratio is None else pytest.approx(ratio))
    assert found.unit == unit


def test_values_are_hundredths_and_texts_are_none() -> None:
    assert row(value="0.9072").points == pytest.approx(90.72)
    assert row(value="92.0").points == 92.0
    assert row(value="71.61 / 68.39").points is None
    difference = row(value="-0.4", metric="delta acc (points) vs BERT-base")
    assert (difference.points, difference.is_difference, difference.our_metric) == (-0.4, True, "accuracy")
    assert row(metric="mean(F1,acc)").our_metric == ""
    of_glue = "GLUE task score (acc/F1 choice for MRPC,QQP not stated; CoLA MCC)"
    assert [row(metric=of_glue, dataset=d).our_metric for d in ("RTE", "MRPC", "CoLA")] == ["accuracy", "", "matthews"]


def test_sentences_of_files_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no table of published numbers \(\*\.csv\) in '.*': reinstall"):
        load_published(tmp_path)
    good = "P,2020,B,SST-2,dev,M,acc,1,,,here\n"
    assert read(tmp_path, HEAD + good)[0].line == 2
    with pytest.raises(UserError, match=r"some\.csv, line 3, has no source: say where"):
        read(tmp_path, HEAD + good + "P,2020,B,SST-2,dev,M,acc,1,,, \n")
    with pytest.raises(UserError, match=r"some\.csv, line 2, has not as many fields as columns: quote"):
        read(tmp_path, HEAD + "P,2020,B\n")
    with pytest.raises(UserError, match=r"some\.csv, line 2, has not as many fields as columns: quote"):
        read(tmp_path, HEAD + good.replace("here", "here,there"))
    with pytest.raises(UserError, match=r"some\.csv lacks column source: its columns are paper, backbone"):
        read(tmp_path, HEAD.replace(",source", "") + "\n")
    with pytest.raises(UserError, match=r"some\.csv has the unknown column colour"):
        read(tmp_path, HEAD.replace("source", "source,colour"))
