import pytest

from harness.report.frame import ReportError
from harness.report.frame_papers import SPECS, check_papers
from tests.harness.report.papers import NOTHING, ROWS


def test_every_frame_has_its_rows():
    frames = check_papers(ROWS)
    for name, spec in SPECS.items():
        assert tuple(getattr(frames, name).columns) == spec.names
        assert len(getattr(frames, name)) == len(ROWS[name])


def test_no_rows_are_empty_frames():
    assert all(len(getattr(check_papers(NOTHING), name)) == 0 for name in SPECS)


def test_what_no_frame_has_is_a_sentence():
    wrong = {**ROWS["points"][0], "point": "3x"}
    with pytest.raises(ReportError, match=r"Column 'point' of the frame 'points' is '3x' in row 0; allowed: full,"):
        check_papers({**NOTHING, "points": [wrong]})
    with pytest.raises(ReportError, match=r"two rows with backbone=small, dataset=rte, policy=final, point=full"):
        check_papers({**NOTHING, "points": [ROWS["points"][0]] * 2})
