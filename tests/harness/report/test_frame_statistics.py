import pytest

from harness.report.frame import ReportError
from harness.report.frame_statistics import AREA, CLAIMS, StudyFrames, check_studies
from tests.harness.report.studies import ROWS


def test_every_frame_has_its_rows_in_the_order_given():
    frames = check_studies(ROWS)
    for name in StudyFrames.__dataclass_fields__:
        assert len(getattr(frames, name)) == len(ROWS[name])
    assert frames.area["policy"].tolist() == [row["policy"] for row in ROWS["area"]]


def test_empty_frames_keep_their_columns():
    frames = check_studies({name: [] for name in ROWS})
    assert list(frames.area.columns) == list(AREA.names)
    assert list(frames.claims.columns) == list(CLAIMS.names)


def test_a_verdict_nobody_knows_is_named():
    wrong = [row | {"verdict": "maybe"} for row in ROWS["claims"]]
    with pytest.raises(ReportError, match=r"'maybe'.*holds, does not hold, not decidable"):
        check_studies(ROWS | {"claims": wrong})


def test_the_same_row_twice_is_named():
    with pytest.raises(ReportError, match=r"two rows with cell=a\.x\.s0"):
        check_studies(ROWS | {"power": [ROWS["power"][0]] * 2})
