"""Tasks in other processes: the same results in the same order, and failures that stay visible."""

from __future__ import annotations

import os
import signal

import pytest

from harness.console import Console
from harness.errors import UserError
from harness.workers import Failed, WorkerError, Workers, finished


def each(function, tasks, most, sizes=None):
    with Workers(Console(quiet=True), most) as workers:
        return workers.each(function, tasks, name="halves", unit="number", sizes=sizes)


def half(number: int) -> tuple[float, int, str]:
    if number == 13:
        raise UserError("13 is not halved: use another number")
    return 12 / number / 2, os.getpid(), os.environ.get("OPENBLAS_NUM_THREADS", "")


def end_at_once(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("most", [1, 2])
def test_results_in_the_order_of_the_tasks(most: int) -> None:
    results = each(half, [4, 13, 2, 0], most, [1.0, 2.0, 3.0, 4.0])
    assert [result[0] for result in results if isinstance(result, tuple)] == [1.5, 3.0]
    foreseen, unforeseen = results[1], results[3]
    assert isinstance(foreseen, Failed)
    assert foreseen.reason == "13 is not halved: use another number"
    assert isinstance(foreseen.error(), UserError)
    assert isinstance(unforeseen, Failed)
    assert unforeseen.reason == "ZeroDivisionError: division by zero"
    with pytest.raises(WorkerError, match="in half"):
        finished([unforeseen])


def test_one_task_or_one_worker_stays_here_and_others_calculate_with_one_thread(monkeypatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    for most, tasks in ((1, [2, 4]), (4, [2])):
        results = each(half, tasks, most)
        assert {result[1:] for result in results if isinstance(result, tuple)} == {(os.getpid(), "7")}
    results = each(half, [1, 2, 3], 2)
    assert all(result[1] != os.getpid() and result[2] == "1" for result in results if isinstance(result, tuple))
    assert os.environ["OPENBLAS_NUM_THREADS"] == "7"
    assert each(half, [], None) == []


def test_a_process_that_is_killed_is_a_sentence() -> None:
    with pytest.raises(UserError, match="ended from outside"):
        each(end_at_once, [1, 2], 2)
