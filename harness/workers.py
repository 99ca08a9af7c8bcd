"""The same function on many tasks, in as many processes as there are processors; one of them needs no other process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from harness.console import Console
from harness.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Failed:
    """A task that raised an exception.

    Attributes:
        reason: the sentence of a foreseen error; else its type and text.
        foreseen: whether the error is a sentence for people.
        trace: the traceback as text.
    """

    reason: str
    foreseen: bool
    trace: str

    def error(self) -> UserError | WorkerError:
        """Return the error to raise in this process: the sentence, or what nobody foresaw with its traceback."""
        return UserError(self.reason) if self.foreseen else WorkerError(f"{self.reason}\n\n{self.trace}")


class WorkerError(RuntimeError):
    """Something that nobody foresaw, with the traceback of the process it happened in."""


def n_workers() -> int:
    """Return how many processes work at once: the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@dataclass(slots=True)
class Workers(Generic[Task, Result]):
    """A function that is called on many tasks.

    Attributes:
        function: of a module (a lambda does not travel); it and the tasks are sent to the processes.
        name: what is done, beside the progress bar.
        unit: what a task is.
        console: quiet or not.
        most: processes at once; None: one a processor.
    """

    function: Callable[[Task], Result]
    name: str
    unit: str
    console: Console
    most: int | None = None

    def each(self, tasks: Sequence[Task], sizes: Sequence[float] | None = None) -> list[Result | Failed]:
        """Return the results in the order of the tasks; an exception becomes a ``Failed`` in its place.

        Args:
            tasks: what the function is called on, one at a time.
            sizes: how much work each is, in any unit; the largest are begun first, so that no processor waits long.

        Raises:
            UserError: a process was ended from outside.
        """
        found: dict[int, Result | Failed] = {}
        with self._bar(len(tasks)) as advance:
            for index, result in self._results(tasks, sizes):
                found[index] = result
                advance()
        return [found[index] for index in range(len(tasks))]

    def _results(self, tasks: Sequence[Task], sizes: Sequence[float] | None) -> Iterator[tuple[int, Result | Failed]]:
        order = range(len(tasks)) if sizes is None else sorted(range(len(tasks)), key=lambda i: (-sizes[i], i))
        with _pool(min(len(tasks), n_workers() if self.most is None else self.most)) as pool:
            futures = {pool.submit(self.function, tasks[index]): index for index in order}
            for future in as_completed(futures):
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    raise UserError(
                        f"a process of '{self.name}' was ended from outside, perhaps for lack of memory: free some, or "
                        "use one processor, e.g.  taskset -c 0 python -m harness report"
                    ) from error
                yield futures.pop(future), future.result() if error is None else _failed(error)

    @contextmanager
    def _bar(self, total: int) -> Iterator[Callable[[], object]]:
        from tqdm import tqdm

        disable = True if self.console.quiet else None
        with tqdm(total=total, desc=self.name, unit=self.unit, disable=disable) as bar:
            yield bar.update


def _failed(error: BaseException) -> Failed:
    foreseen = bool(getattr(error, "user_sentence", False))
    reason = str(error) if foreseen else f"{type(error).__name__}: {error}"
    return Failed(reason, foreseen, "".join(traceback.format_exception(error)))


@contextmanager
def _pool(workers: int) -> Iterator[Executor]:
    """Give processes with one thread each, or a thread of this process where one worker is enough."""
    before = {name: os.environ.get(name) for name in _THREADS}
    pool: Executor
    if workers < 2:
        pool = ThreadPoolExecutor(1)
    else:
        os.environ.update(dict.fromkeys(_THREADS, "1"))  # what the processes begin with
        context = multiprocessing.get_context("spawn")  # a fork would copy locks that other threads hold
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _begin() -> None:
    """Leave interrupts to the parent, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.join,), daemon=True).start()


def _end_with(wait: Callable[[], object]) -> None:
    wait()
    os._exit(1)
