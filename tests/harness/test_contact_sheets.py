"""Which images are shown, and that those shown are kept."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from safetensors.numpy import load_file

from harness.cells.samples import Split
from harness.cells.suites import PolicyRun
from harness.contact_sheets import A_SHELF, FIRST, LAST, WRONG, Sheet, choose, sheet_of, sheet_rows, thumbnails
from harness.errors import UserError
from harness.media import media_part, sheets_of
from harness.replay.replay import replay
from harness.report.frame import typed_rows
from harness.report.frame_media import SHEET
from harness.subjects import Subject
from policies.leenet import sweep
from policies.spec import parse_policy
from tests.harness.conftest import RULE, network, subject
from tests.harness.test_leenet_sweep import cell as with_features

NAMES = tuple(f"class {k}" for k in range(10))


def of_digits(one: Subject) -> Subject:
    return dataclasses.replace(one, cell=dataclasses.replace(one.cell, id="net.digits.s0", dataset="digits"))


@pytest.fixture(scope="module")
def plain() -> Subject:
    from policies.table import CalibrationTable, TestTable

    tables = [network(kind, "net", 0, n=120) for kind in (TestTable, CalibrationTable)]
    return of_digits(subject("net.x.s0", *tables, runs=[PolicyRun("normalized_entropy", RULE)]))


def test_shelves_hold_what_they_say(plain: Subject) -> None:
    (outcome,) = replay([parse_policy("max_prob(threshold=0.7)")], plain.test)
    shown = choose(outcome, plain.test, NAMES)
    by_shelf = {shelf: [image for image in shown if image.shelf == shelf] for shelf in (FIRST, LAST, WRONG)}
    assert [len(images) for images in by_shelf.values()] == [A_SHELF] * 3
    row_of = {int(i): row for row, i in enumerate(plain.test.sample_ids)}
    for image in shown:
        row = row_of[image.sample_id]
        assert image.exit == outcome.exits[row]
        assert image.label == NAMES[plain.test.labels[row]]
        assert image.answer == NAMES[outcome.predictions[row]]
        assert image.final == NAMES[plain.test.logits[row, -1].argmax()]
    right = outcome.exits[outcome.predictions == plain.test.labels]
    assert [image.exit for image in by_shelf[FIRST]] == sorted(right)[:A_SHELF]
    assert [image.exit for image in by_shelf[LAST]] == sorted(outcome.exits)[::-1][:A_SHELF]
    assert all(image.label == image.answer for image in by_shelf[FIRST])
    assert all(image.label != image.answer and image.exit < 5 for image in by_shelf[WRONG])


def test_gates_where_there_are_features_else_entropy(plain: Subject, subjects: list[Subject]) -> None:
    found = sheet_of(plain)
    assert found is not None
    assert found.spec.startswith("normalized_entropy(threshold=")
    one = of_digits(with_features())
    gates = sweep(one.calibration, (0.1,), "layers")
    gated = sheet_of(one, gates[0])
    assert gated is not None
    assert gated.spec.startswith("leenet(alpha=")
    assert {image.exit for image in gated.shown} >= {1, 4}
    assert sheet_of(subjects[0]) is None  # no images
    assert len(typed_rows(sheet_rows(found), SHEET)) == len(found.shown)
    assert [sheet.group for sheet in sheets_of([media_part(plain), media_part(plain)])] == ["net.digits"]


def test_what_is_shown_is_kept(plain: Subject, tmp_path, monkeypatch) -> None:
    sheet = sheet_of(plain)
    assert sheet is not None
    said: list[str] = []
    ids = plain.test.sample_ids[::-1].copy()
    pixels = np.broadcast_to(((ids % 255) / 255)[:, None, None, None], (len(ids), 3, 4, 5)).astype(np.float32)
    data = type("Data", (), {"test": Split(pixels, np.zeros(len(ids), np.int64), ids)})
    monkeypatch.setattr("harness.contact_sheets.load_task", lambda name: data)
    found = thumbnails(tmp_path, sheet, said.append)
    assert found is not None
    assert sorted(found) == sorted({image.sample_id for image in sheet.shown})
    assert all(image.shape == (4, 5, 3) and (image == key % 255).all() for key, image in found.items())
    kept = tmp_path / "thumbnails" / "net.digits.safetensors"
    before = kept.read_bytes()

    def gone(name: str) -> None:
        raise UserError("the data of 'digits' are not here")

    monkeypatch.setattr("harness.contact_sheets.load_task", gone)
    again = thumbnails(tmp_path, sheet, said.append)
    assert again is not None
    assert all(np.array_equal(again[key], found[key]) for key in found)
    assert kept.read_bytes() == before
    assert said == []
    # other samples are shown: what is kept is of no use
    other = dataclasses.replace(sheet, shown=sheet.shown[:3])
    assert thumbnails(tmp_path, other, said.append) is None
    assert said == ["no contact sheet of net.digits: the data of 'digits' are not here"]
    assert len(load_file(kept)["sample_ids"]) == len(found)


def test_a_damaged_file_is_made_again_and_other_samples_are_told(plain: Subject, tmp_path, monkeypatch) -> None:
    sheet = sheet_of(plain)
    assert isinstance(sheet, Sheet)
    kept = tmp_path / "thumbnails" / "net.digits.safetensors"
    kept.parent.mkdir()
    kept.write_bytes(b"not a table")
    data = type("Data", (), {"test": Split(np.zeros((2, 1, 4, 4), np.float32), np.zeros(2, np.int64), np.arange(2))})
    monkeypatch.setattr("harness.contact_sheets.load_task", lambda name: data)
    said: list[str] = []
    assert thumbnails(tmp_path, sheet, said.append) is None
    assert "the data set here has other samples than the cache" in said[0]
