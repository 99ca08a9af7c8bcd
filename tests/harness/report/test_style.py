import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from harness.report.style import HIGHLIGHT, Edges, new_axes, pixels, policy_marks, save, styled


def draw():
    with styled():
        figure, axes = new_axes(None, (3, 2))
        axes.plot([1, 2, 3], [2, 1, 3], label="ä")
        axes.set_title("–×")
    return figure


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    first = [path.read_bytes() for path in save(draw(), tmp_path / "one", pdf=True)]
    second = [path.read_bytes() for path in save(draw(), tmp_path / "two", pdf=True)]
    assert first == second
    again = draw()
    save(again, tmp_path / "three")
    assert [path.read_bytes() for path in save(again, tmp_path / "three", pdf=True)] == first


def test_files_carry_no_date_and_no_version(tmp_path):
    png, pdf = (path.read_bytes() for path in save(draw(), tmp_path / "one", pdf=True))
    assert b"Software" not in png
    assert b"CreationDate" not in pdf
    assert mpl.__version__.encode() not in pdf


def test_the_dots_of_a_cell_id_stay_in_the_name(tmp_path):
    paths = save(draw(), tmp_path / "new" / "trade_off_cnn6.digits.s0", pdf=True)
    assert [path.name for path in paths] == ["trade_off_cnn6.digits.s0.png", "trade_off_cnn6.digits.s0.pdf"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(path.name for path in paths)


def test_the_users_settings_neither_matter_nor_change(tmp_path):
    plain = save(draw(), tmp_path / "plain")[0].read_bytes()
    with mpl.rc_context({"font.size": 31.0, "axes.facecolor": "red"}):
        assert save(draw(), tmp_path / "other")[0].read_bytes() == plain
        assert mpl.rcParams["font.size"] == 31.0


def test_white_stays_white_and_colours_stay_close():
    figure = draw()
    image = pixels(figure, 130)
    shown = np.asarray(image.convert("RGB"))
    exact = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    assert image.mode == "P"
    assert shown[0, 0].tolist() == [255, 255, 255]
    white = (exact == 255).all(axis=2)
    assert (shown[white] == 255).all()
    assert np.abs(shown.astype(int) - exact).mean() < 0.5


def test_the_only_square_of_a_colour_keeps_it():
    """As in a legend, among bars and the many shades of a photograph."""
    with styled():
        figure, axes = new_axes(None, (8, 5))
        shades = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
        shades[..., 2] = 40  # red and green in all mixtures, no blue
        axes.imshow(shades, aspect="auto")
        axes.plot([200], [200], "s", color="#5050ff", markersize=7)
    shown = np.asarray(pixels(figure, 100).convert("RGB")).astype(int)
    exact = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    square = (exact == [0x50, 0x50, 0xFF]).all(axis=2)
    assert 30 < square.sum() < 150
    assert np.abs(shown - exact)[square].max() < 40


def test_a_still_figure_keeps_the_room_it_was_given():
    with styled():
        figure, axes = new_axes(None, (6, 4), Edges(left=0.75, right=1.5, bottom=0.5, top=0.25))
        axes.set_ylabel("a label that a search would make room for\nin two lines")
    pixels(figure, 50)
    box = axes.get_position()
    assert [box.x0 * 6, 6 - box.x1 * 6, box.y0 * 4, 4 - box.y1 * 4] == pytest.approx([0.75, 1.5, 0.5, 0.25])


def test_a_figure_of_one_colour_can_be_rendered():
    assert np.asarray(pixels(Figure(figsize=(1, 1)), 50).convert("RGB")).min() == 255
    assert np.asarray(pixels(Figure(figsize=(1, 1), facecolor="red"), 50).convert("RGB"))[0, 0].tolist() == [255, 0, 0]


def test_without_being_asked_there_is_no_pdf(tmp_path):
    assert [path.name for path in save(draw(), tmp_path / "one")] == ["one.png"]


def test_highlighted_policies_differ_without_colour():
    marks = policy_marks(HIGHLIGHT).values()
    assert len({mark.marker for mark in marks}) == len({str(mark.line) for mark in marks}) == len(HIGHLIGHT)


def test_given_axes_are_used():
    axes = Figure().subplots()
    assert new_axes(axes, (1, 1)) == (axes.get_figure(), axes)
    axes.remove()
    with pytest.raises(ValueError, match="no figure"):
        new_axes(axes, (1, 1))
