"""Rows of images and sounds: folds together, and they fit the frames of the report."""

from __future__ import annotations

import dataclasses
from dataclasses import fields

import pytest

from harness.media import join_media, media_part
from harness.points import points_of
from harness.report.frame_media import check_media
from harness.subjects import Subject
from tests.harness.conftest import simulated


def named(name: str, dataset: str) -> Subject:
    made = simulated(name)
    return dataclasses.replace(made, cell=dataclasses.replace(made.cell, dataset=dataset))


def test_folds_of_a_data_set_are_one_column_and_seeds_too() -> None:
    cells = [named("a.x.s0", "digits"), named("a.x.s1", "digits"), named("a.esc10-fold1.s0", "esc10-fold1"),
             named("a.esc10-fold2.s0", "esc10-fold2"), named("b.esc10-fold1.s0", "esc10-fold1"),
             named("a.rte.s0", "rte")]  # fmt: skip
    parts = [media_part(one) for one in cells]
    assert [part.kind for part in parts] == ["images", "images", "sounds", "sounds", "sounds", None]
    assert parts[-1].points == []
    media = join_media(parts)
    images = {(row["backbone"], row["dataset"], row["n_seeds"], row["n"]) for row in media.images}
    assert images == {("a", "digits", 2, 200)}
    sounds = {(row["backbone"], row["dataset"], row["n_seeds"], row["n"]) for row in media.sounds}
    assert sounds == {("a", "esc10", 2, 400), ("b", "esc10", 1, 200)}
    finals = [one.final.predictions == one.test.labels for one in cells[2:4]]
    row = next(r for r in media.sounds if (r["backbone"], r["point"]) == ("a", "full"))
    assert row["value"] == pytest.approx(sum(final.mean() for final in finals) / 2)
    frames = check_media({field.name: getattr(media, field.name) for field in fields(media)})
    assert len(frames.images) == len(media.images)


def test_points_that_are_known_are_not_worked_out_again() -> None:
    one = named("a.x.s0", "digits")
    points = points_of(one)
    assert media_part(one, points).points == points


def test_nothing_has_no_rows() -> None:
    media = join_media([])
    assert all(getattr(media, field.name) == [] for field in fields(media))
