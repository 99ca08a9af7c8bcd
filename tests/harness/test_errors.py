from harness.errors import unknown_name


def test_where_all_cells_are_listed_is_said():
    assert str(unknown_name("cell", "cnn6", ["cnn6.digits.s0"])) == (
        "unknown cell 'cnn6'. Allowed: cnn6.digits.s0. See them all with  python -m harness list cells."
    )
    assert "list cells" not in str(unknown_name("metric", "acc", ["accuracy"]))
