import numpy as np
import pytest

from policies.errors import PolicyError
from policies.table import CalibrationTable, ExitTable

LOGITS = np.zeros((3, 2, 2), np.float32)
LABELS = np.array([0, 1, 1])


def broken(at, value):
    logits = LOGITS.copy()
    logits[at] = value
    return logits


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"logits": broken((1, 0, 1), np.nan)}, r"row 1 at exit 1 are not finite \(1 such values"),
        ({"logits": broken((2, 1), np.inf)}, r"row 2 at exit 2 are not finite \(2 such"),
        ({"logits": np.full((3, 2, 2), 1e300)}, "row 0 at exit 1 are not finite"),
        ({"logits": LOGITS[0]}, r"must be \[samples, exits, classes\]"),
        ({"logits": LOGITS.astype(int)}, "floating point"),
        ({"logits": LOGITS[:0], "labels": LABELS[:0]}, "the table is empty"),
        ({"labels": LABELS[:2]}, "the logits have 3 samples"),
        ({"labels": np.array([0, 2, 1])}, r"sample id 1 is 2, but must be 0\.\.1"),
        ({"labels": np.array([0, -1, 1])}, "is -1"),
        ({"labels": LABELS.astype(float)}, "needs class ids"),
        ({"logits": LOGITS[:, :, :1], "labels": np.array([0.0, np.nan, 1])}, "label of sample id 1 is not finite"),
        ({"sample_ids": np.array([4, 5, 4])}, "sample id 4 occurs more than once"),
        ({"sample_ids": np.array([4.0, 5, 6])}, "must be integers"),
        ({"costs": {"macs": np.ones(3)}}, r"costs.macs has shape \(3,\)"),
        ({"costs": {"macs": np.array([1, -1])}}, "not negative"),
        ({"signals": {"gate": np.ones(2)}}, r"signals.gate has shape \(2,\)"),
        ({"features": np.ones((3, 3, 4))}, r"must be \[3, 2, width\]"),
        ({"order": "sideways"}, "must be one of prefix"),
    ],
)
def test_bad_content_is_a_sentence(change, sentence):
    with pytest.raises(PolicyError, match=sentence):
        ExitTable(**({"logits": LOGITS, "labels": LABELS} | change))


def test_a_table_is_read_only_and_gets_ids_and_layer_costs():
    table = ExitTable(LOGITS, LABELS)
    assert table.sample_ids.tolist() == [0, 1, 2]
    assert table.cost("layers").tolist() == [[1, 2]]
    with pytest.raises(ValueError, match="read-only"):
        table.logits[0] = 1
    with pytest.raises(PolicyError, match="no cost in 'macs'; it has layers"):
        table.cost("macs")


def test_rows_keep_everything_together():
    table = CalibrationTable(
        np.arange(12, dtype=np.float32).reshape(3, 2, 2), LABELS, np.array([7, 8, 9]),
        features=np.ones((3, 2, 4), np.float16), signals={"gate": np.arange(6.0).reshape(3, 2)},
        costs={"macs": np.arange(6.0).reshape(3, 2)}, group_ids=np.array([1, 1, 2]),
    )  # fmt: skip
    part = table.rows(np.array([2, 0]))
    assert isinstance(part, CalibrationTable)
    assert part.sample_ids.tolist() == [9, 7]
    assert part.labels.tolist() == [1, 0]
    assert part.logits[0, 0].tolist() == [8, 9]
    assert part.signals["gate"][0].tolist() == [4, 5]
    assert part.cost("macs")[1].tolist() == [0, 1]
    assert part.group_ids.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("order", "macs", "layers"),
    [
        ("prefix", [[2, 5]], [[1, 2]]),
        ("cascade", [[2, 7]], [[1, 2]]),  # 2 for the first member, 2 + 5 for both
        ("route", [[2, 5]], [[1, 2]]),
        ("points", [[2, 5]], [[1, 2]]),
    ],
)
def test_what_leaving_at_an_exit_costs_under_every_order(order, macs, layers):
    table = ExitTable(LOGITS, LABELS, costs={"macs": np.array([2.0, 5.0])}, order=order)
    assert table.cost("macs").tolist() == macs
    assert table.cost("layers").tolist() == layers
    assert table.rows(np.array([0])).cost("layers").tolist() == layers  # not added up twice
    each = ExitTable(LOGITS, LABELS, costs={"macs": np.array([[2.0, 5.0], [1.0, 1.0], [0.0, 3.0]])}, order=order)
    last = [7, 2, 3] if order == "cascade" else [5, 1, 3]
    assert each.cost("macs")[:, 1].tolist() == last


def test_what_is_made_of_a_table_once_belongs_to_it_alone():
    table, made = ExitTable(LOGITS, LABELS), []

    def make():
        made.append(len(made))
        return made

    assert table.once("a", make) is table.once("a", make)
    assert made == [0]
    table.once(("a", 1), make)
    table.rows(slice(None)).once("a", make)
    assert made == [0, 1, 2]
