import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.cache.store import HEADER_ENTRY, decisions_file, read_table, write_decisions, write_table
from harness.cache.tensors import read_tensors
from harness.errors import UserError
from policies.table import CalibrationTable, ExitTable, TestTable


def full(kind=TestTable, n=5):
    rng = np.random.default_rng(0)
    return kind(
        logits=rng.normal(size=(n, 3, 4)).astype(np.float32),
        labels=rng.integers(0, 4, n),
        sample_ids=np.arange(n) * 10,
        features=rng.normal(size=(n, 3, 2)).astype(np.float16),
        signals={"gate": rng.normal(size=(n, 3)).astype(np.float32)},
        costs={"layers": np.array([1.0, 2, 3]), "macs": np.cumsum(rng.random((n, 3)), axis=1)},
        order="cascade",
        group_ids=np.arange(n) // 2,
        meta={"z": "last", "a": "first", "ü": "ä"},
    )


def plain(**change):
    tensors = {"logits": np.zeros((4, 2, 3), np.float32), "labels": np.arange(4) % 3}
    return {name: value for name, value in (tensors | change).items() if value is not None}


@pytest.mark.parametrize("kind", [CalibrationTable, TestTable])
def test_a_table_comes_back_as_it_was(tmp_path, kind):
    table, path = full(kind), tmp_path / "t.safetensors"
    write_table(path, table)
    found = read_table(path, kind)
    assert type(found) is kind
    for name in ("logits", "labels", "sample_ids", "features", "group_ids"):
        assert getattr(found, name).dtype == getattr(table, name).dtype
        np.testing.assert_array_equal(getattr(found, name), getattr(table, name))
    for name in ("signals", "costs"):
        assert getattr(found, name).keys() == getattr(table, name).keys()
        for key, value in getattr(table, name).items():
            np.testing.assert_array_equal(getattr(found, name)[key], value)
    assert (found.order, found.meta) == (table.order, table.meta)


def test_equal_tables_give_equal_bytes(tmp_path):
    digests = {write_table(tmp_path / str(i), table) for i, table in enumerate((full(), full(CalibrationTable)))}
    backwards = ExitTable(
        logits=full().logits, labels=full().labels, sample_ids=full().sample_ids, features=full().features,
        signals=full().signals, costs=dict(reversed(full().costs.items())), order="cascade",
        group_ids=full().group_ids, meta=dict(reversed(full().meta.items())),
    )  # fmt: skip
    digests.add(write_table(tmp_path / "b", backwards))
    assert len(digests) == 1


def test_32_bit_logits_are_mapped_not_copied(tmp_path):
    write_table(tmp_path / "t", full())
    logits = read_table(tmp_path / "t", TestTable).logits
    while isinstance(logits.base, np.ndarray):
        logits = logits.base
    assert isinstance(logits, np.memmap)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.float32])
@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_tables_of_others(tmp_path, dtype, suffix):
    path = tmp_path / f"t.{suffix}"
    tensors = plain(logits=np.full((4, 2, 3), 0.5, dtype), extra=np.zeros(7))
    if suffix == "npz":
        np.savez(path, **tensors)
    else:
        save_file(tensors, path, metadata={"made_by": "them", "order": "route"})
    table = read_table(str(path), TestTable)
    assert table.logits.dtype == np.float32
    assert (table.logits == 0.5).all()
    np.testing.assert_array_equal(table.sample_ids, np.arange(4))
    if suffix == "safetensors":
        assert (table.order, table.meta) == ("route", {"made_by": "them"})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"logits": None}, r"has no tensor 'logits', found labels: a table needs"),
        ({"labels": None}, r"has no tensor 'labels', found logits: a table needs"),
        ({"logits": np.full((4, 2, 3), np.nan)}, "logits of row 0 at exit 1 are not finite"),
        ({"logits": np.zeros((4, 6), np.float32)}, r"must be \[samples, exits, classes\]"),
        ({"logits": np.zeros((4, 2, 3), np.int32)}, "must be floating point"),
        ({"logits": np.zeros((0, 2, 3), np.float32), "labels": np.zeros(0, int)}, "the table is empty"),
        ({"labels": np.arange(3)}, r"labels have shape \(3,\), but the logits have 4 samples"),
        ({"labels": np.full(4, 3)}, r"label of sample id 0 is 3, but must be 0..2"),
        ({"labels": np.zeros(4)}, "needs class ids"),
        ({"sample_ids": np.array([1, 2, 2, 3])}, "sample id 2 occurs more than once"),
        ({"sample_ids": np.arange(3)}, "sample_ids have shape"),
        ({"sample_ids": np.zeros(0, np.int64)}, "sample_ids are empty"),
        ({"costs.macs": np.zeros(3)}, "costs.macs has shape"),
        ({"costs.macs": np.array([1, np.inf])}, "costs.macs must be finite"),
        ({"signals.gate": np.zeros((4, 3))}, "signals.gate has shape"),
        ({"features": np.zeros((4, 3, 2))}, "features have shape"),
        ({"group_ids": np.zeros(4)}, "group_ids have dtype float64"),
        ({"sample_id": np.arange(4)}, "'sample_id', probably meant as 'sample_ids': rename or remove it"),
        ({"cost.macs": np.zeros(2)}, "'cost.macs', probably meant as 'costs.macs'"),
    ],
)
def test_tables_that_are_wrong_are_one_sentence(tmp_path, change, sentence):
    path = tmp_path / "t.safetensors"
    save_file(plain(**change), path)
    with pytest.raises(UserError, match=sentence) as caught:
        read_table(path, TestTable)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_is_not_a_number(tmp_path):
    np.savez(tmp_path / "t.npz", **plain(**{"costs.macs": np.array(["a", "b"])}))
    with pytest.raises(UserError, match=r"tensor 'costs.macs' in .* has type <U1: tables hold numbers only"):
        read_table(tmp_path / "t.npz", TestTable)


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ("{", "damaged header entry"),
        ("[]", "damaged header entry"),
        ('{"format":1}', "damaged header entry"),
        ('{"format":2,"meta":{},"order":"prefix"}', "table format 2, this harness reads format 1"),
        ('{"format":1,"meta":{},"order":"up"}', "order 'up': allowed are prefix, cascade, route, points"),
    ],
)
def test_headers_that_are_wrong(tmp_path, header, sentence):
    save_file(plain(), tmp_path / "t", metadata={HEADER_ENTRY: header})
    with pytest.raises(UserError, match=sentence):
        read_table(tmp_path / "t", TestTable)


class TestDecisions:
    SPEC = "max_prob(threshold=0.9)"

    def test_content(self, tmp_path):
        path = write_decisions(tmp_path / "new", np.array([1, 3, 2]), np.array([0, 1, 0]), self.SPEC)
        assert path == tmp_path / "new" / f"{self.SPEC}.safetensors"
        file = read_tensors(path)
        assert file.metadata == {"policy": self.SPEC}
        assert (file.tensors["exit"].dtype, file.tensors["prediction"].dtype) == (np.int16, np.int64)
        np.testing.assert_array_equal(file.tensors["exit"], [1, 3, 2])

    def test_values_of_a_regression(self, tmp_path):
        path = write_decisions(tmp_path, np.array([1], np.int16), np.array([0.5], np.float32), "final")
        assert read_tensors(path).tensors["prediction"].dtype == np.float64

    def test_every_spec_has_a_file_name(self, tmp_path):
        long = "max_prob(threshold=[" + ",".join(["0.123456789"] * 40) + "])"
        specs = [self.SPEC, "final", "a/../b(x='y')", "a_..._b(x=_y_)", long, long.replace("9]", "8]")]
        paths = {decisions_file(tmp_path, spec) for spec in specs}
        assert len(paths) == len(specs)
        for path in paths:
            assert path.parent == tmp_path
            assert len(path.name) < 200

    @pytest.mark.parametrize(("exits", "predictions"), [([0, 1], [0, 0]), ([1], [0, 0]), ([[1]], [[0]])])
    def test_zero_based_exits_are_refused(self, tmp_path, exits, predictions):
        with pytest.raises(ValueError, match="must"):
            write_decisions(tmp_path, np.array(exits), np.array(predictions), "final")


def test_the_header_is_one_canonical_entry(tmp_path):
    write_table(tmp_path / "t", full())
    metadata = read_tensors(tmp_path / "t").metadata
    assert list(metadata) == [HEADER_ENTRY]
    assert json.loads(metadata[HEADER_ENTRY])["meta"] == full().meta
