from dataclasses import fields

import pytest

from harness.report.frame import ReportError
from harness.report.frame_media import SPECS, MediaFrames, check_media
from tests.harness.report.media import NOTHING, ROWS, alpha


def test_every_frame_has_its_columns_also_without_rows():
    assert set(SPECS) == {field.name for field in fields(MediaFrames)}
    for rows in (ROWS, NOTHING):
        frames = check_media(rows)
        for name, spec in SPECS.items():
            assert tuple(getattr(frames, name).columns) == spec.names
            assert spec.name == name
            assert len(getattr(frames, name)) == len(rows[name])


def test_other_training_of_gates_is_refused():
    with pytest.raises(ReportError, match="'rule' of the frame 'alpha' is 'guessed'"):
        check_media({**ROWS, "alpha": [alpha(0, 0.5, 1.0, rule="guessed")]})


def test_one_row_an_alpha():
    with pytest.raises(ReportError, match=r"two rows with .*alpha=0\.5"):
        check_media({**ROWS, "alpha": [alpha(0.5, 0.5, 1.0), alpha(0.5, 0.6, 1.0)]})
