"""Tasks in other processes: the same results in the same order, and failures that stay visible."""

from __future__ import annotations

import os
import signal

import pytest

from harness.console import Console
from harness.errors import UserError
from harness.workers import Failed, WorkerError, Workers

QUIET = Console(quiet=True)


def half(number: int) -> tuple[float, int, str]:
    if number == 13:
        raise UserError("13 is not halved: use another number")
    return 12 / number / 2, os.getpid(), os.environ.get("OPENBLAS_NUM_THREADS", "")


def end_at_once(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("most", [1, 2])
def test_results_in_the_order_of_the_tasks(most: int) -> None:
    results = Workers(half, "halves", "number", QUIET, most).each([4, 13, 2, 0], [1.0, 2.0, 3.0, 4.0])
    assert [result[0] for result in results if isinstance(result, tuple)] == [1.5, 3.0]
    foreseen, unforeseen = results[1], results[3]
    assert isinstance(foreseen, Failed)
    assert foreseen.reason == "13 is not halved: use another number"
    assert isinstance(foreseen.error(), UserError)
    assert isinstance(unforeseen, Failed)
    assert unforeseen.reason == "ZeroDivisionError: division by zero"
    with pytest.raises(WorkerError, match="in half"):
        raise unforeseen.error()


def test_one_task_or_one_worker_stays_here_and_others_calculate_with_one_thread(monkeypatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    for most, tasks in ((1, [2, 4]), (4, [2])):
        results = Workers(half, "halves", "number", QUIET, most).each(tasks)
        assert {result[1:] for result in results if isinstance(result, tuple)} == {(os.getpid(), "7")}
    results = Workers(half, "halves", "number", QUIET, 2).each([1, 2, 3])
    assert all(result[1] != os.getpid() and result[2] == "1" for result in results if isinstance(result, tuple))
    assert os.environ["OPENBLAS_NUM_THREADS"] == "7"
    assert Workers(half, "halves", "number", QUIET).each([]) == []


def test_a_process_that_is_killed_is_a_sentence() -> None:
    with pytest.raises(UserError, match="ended from outside"):
        Workers(end_at_once, "ends", "number", QUIET, 2).each([1, 2])
