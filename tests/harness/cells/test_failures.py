from harness.cells.failures import Failure, clear_failure, read_failure, record_failure


def test_a_failure_is_kept_replaced_and_cleared(tmp_path):
    assert read_failure(tmp_path, "a.b.s0") is None
    record_failure(tmp_path, "a.b.s0", Failure("train", "the disk is full"))
    record_failure(tmp_path, "a.b.s0", Failure("collect", "loss – not a number"))
    assert read_failure(tmp_path, "a.b.s0") == Failure("collect", "loss – not a number")
    assert read_failure(tmp_path, "a.b.s1") is None
    assert [path.name for path in (tmp_path / "runs/failures").iterdir()] == ["a.b.s0.json"]
    clear_failure(tmp_path, "a.b.s0")
    clear_failure(tmp_path, "a.b.s0")
    assert read_failure(tmp_path, "a.b.s0") is None


def test_a_damaged_record_is_still_a_failure(tmp_path):
    for text in ("", "[]", "{}", "{", "null"):
        record_failure(tmp_path, "a", Failure("train", "x")).write_text(text, encoding="utf-8")
        failure = read_failure(tmp_path, "a")
        assert failure is not None
        assert "a.json is damaged" in failure.reason
