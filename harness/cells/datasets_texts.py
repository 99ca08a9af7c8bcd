"""Texts stored as files in one folder a class, the first line being the headline."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.cells.samples import Split
from harness.errors import UserError


class _Article(NamedTuple):
    sample_id: int
    label: int
    headline: str
    body: bytes


def read_headline_folders(folder: Path, *, class_names: Sequence[str]) -> Split:
    """Read the headline of every ``<folder>/<class name>/*.txt``, each story once.

    White space is normalised first. Then dropped, before anything is split, so that no story is both trained on and
    reported: every headline that occurs under two classes (it has no right answer), and of the stories with the same
    headline or the same article text all but the first (news sites publish a story twice, often with a reworded
    headline).

    Returns:
        Headlines; the sample id is the position of the file in the sorted list of all files, dropped ones included.

    Raises:
        UserError: A class folder is missing or empty, another one exists, or a headline is empty or not UTF-8.
    """
    found = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("_"))
    if found != sorted(class_names):
        raise UserError(
            f"folder {folder} has the classes {', '.join(found) or 'none'}, expected {', '.join(sorted(class_names))}: "
            "reinstall the package that holds it"
        )
    files = []
    for label, name in enumerate(class_names):
        paths = list((folder / name).glob("*.txt"))
        if not paths:
            raise UserError(f"class '{name}' has no text files in {folder / name}: reinstall the package that holds it")
        files += [(label, path) for path in paths]
    files.sort(key=lambda entry: (entry[1].parent.name, entry[1].name))
    articles = [_read_article(sample_id, label, path) for sample_id, (label, path) in enumerate(files)]
    kept = _each_story_once(articles)
    return Split(
        inputs=tuple(article.headline for article in kept),
        labels=np.array([article.label for article in kept], dtype=np.int64),
        sample_ids=np.array([article.sample_id for article in kept], dtype=np.int64),
    )


def _read_article(sample_id: int, label: int, path: Path) -> _Article:
    first, _, rest = path.read_bytes().partition(b"\n")
    try:
        headline = " ".join(first.decode("utf-8").split())
    except UnicodeDecodeError as error:
        raise UserError(f"headline of {path} is not UTF-8 ({error}): reinstall the package that holds it") from error
    if not headline:
        raise UserError(f"headline of {path} is empty: reinstall the package that holds it")
    return _Article(sample_id, label, headline, b" ".join(rest.split()))


def _each_story_once(articles: Sequence[_Article]) -> list[_Article]:
    labels_of_headline: dict[str, set[int]] = defaultdict(set)
    for article in articles:
        labels_of_headline[article.headline].add(article.label)
    seen_headlines: set[str] = set()
    seen_bodies: set[bytes] = set()
    kept = []
    for article in articles:
        is_ambiguous = len(labels_of_headline[article.headline]) > 1
        # An empty body says nothing about the story, so it does not make two headlines one.
        is_repeat = article.headline in seen_headlines or (bool(article.body) and article.body in seen_bodies)
        # Dropped ones count as seen too: three versions of a story may be linked only through the second.
        seen_headlines.add(article.headline)
        seen_bodies.add(article.body)
        if not is_ambiguous and not is_repeat:
            kept.append(article)
    return kept
