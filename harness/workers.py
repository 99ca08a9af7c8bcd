"""The same function on many tasks, in as many processes as there are processors; one of them needs no other process."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Self, TypeVar

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


class Workers:
    """Processes with one thread each that wait for tasks; a context, at whose end they are gone.

    They are begun when the first tasks come that more than one can share, and keep what they have imported.
    """

    def __init__(self, console: Console, most: int | None = None) -> None:
        """Take a console that is quiet or not, and how many processes there may be (None: one a processor)."""
        self._console = console
        self._most = n_workers() if most is None else most
        self._pool: Executor | None = None
        self._environment: dict[str, str | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        for name, value in self._environment.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})

    def each(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        *,
        name: str,
        unit: str = "cell",
        sizes: Sequence[float] | None = None,
    ) -> list[Result | Failed]:
        """Do what ``begin`` begins, and return its results.

        Raises:
            UserError: a process was ended from outside.
        """
        return self.begin(function, tasks, name=name, unit=unit, sizes=sizes)()

    def begin(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        *,
        name: str,
        unit: str = "cell",
        sizes: Sequence[float] | None = None,
    ) -> Callable[[], list[Result | Failed]]:
        """Begin tasks in the background and return how to wait for them.

        The function returned gives the results in the order of the tasks; an exception becomes a ``Failed`` in its
        place. It raises a ``UserError`` if a process was ended from outside. Where one worker is enough, the tasks are
        done when they are waited for.

        Args:
            function: of a module (a lambda does not travel).
            tasks: what it is called on, one at a time.
            name: what is done, beside the progress bar.
            unit: what a task is.
            sizes: how much work each is, in any unit; the largest are begun first, so that no processor waits long.
        """
        order = range(len(tasks)) if sizes is None else sorted(range(len(tasks)), key=lambda i: (-sizes[i], i))
        if min(len(tasks), self._most) >= 2:
            pool = self._processes()
            try:
                futures = {pool.submit(function, tasks[index]): index for index in order}
            except BrokenProcessPool as error:
                raise _ended(name) from error
            return lambda: self._wait(futures, name, unit)
        return lambda: self._here(function, tasks, order, name, unit)

    def _here(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], order: Sequence[int], name: str, unit: str
    ) -> list[Result | Failed]:
        thread = ThreadPoolExecutor(1)
        try:
            return self._wait({thread.submit(function, tasks[index]): index for index in order}, name, unit)
        finally:
            thread.shutdown(cancel_futures=True)

    def _wait(self, futures: dict[Future[Result], int], name: str, unit: str) -> list[Result | Failed]:
        from tqdm import tqdm

        found: dict[int, Result | Failed] = {}
        with tqdm(total=len(futures), desc=name, unit=unit, disable=True if self._console.quiet else None) as bar:
            for future in as_completed(list(futures)):
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    raise _ended(name) from error
                found[futures.pop(future)] = future.result() if error is None else _failed(error)
                bar.update()
        return [found[index] for index in range(len(found))]

    def _processes(self) -> Executor:
        if self._pool is None:
            self._environment = {name: os.environ.get(name) for name in _THREADS}
            os.environ.update(dict.fromkeys(_THREADS, "1"))  # what the processes begin with
            context = multiprocessing.get_context("spawn")  # a fork would copy locks that other threads hold
            self._pool = ProcessPoolExecutor(self._most, mp_context=context, initializer=_begin)
        return self._pool


def call(task: Callable[[], Result]) -> Result:
    """Call a task that is a function itself: tasks of several kinds, done together."""
    return task()


def finished(results: Sequence[Result | Failed]) -> list[Result]:
    """Return the results where none may have failed.

    Raises:
        UserError: the sentence of the first that failed.
        WorkerError: the same where nobody foresaw it.
    """
    found: list[Result] = []
    for result in results:
        if isinstance(result, Failed):
            raise result.error()
        found.append(result)
    return found


def _ended(name: str) -> UserError:
    return UserError(
        f"a process of '{name}' was ended from outside, perhaps for lack of memory: free some, or use one processor, "
        "e.g.  taskset -c 0 python -m harness report"
    )


def _failed(error: BaseException) -> Failed:
    foreseen = bool(getattr(error, "user_sentence", False))
    reason = str(error) if foreseen else f"{type(error).__name__}: {error}"
    return Failed(reason, foreseen, "".join(traceback.format_exception(error)))


def _begin() -> None:
    """Leave interrupts to the parent, and end with it, however it ends; look for garbage less often."""
    gc.set_threshold(100_000, 20, 100)  # figures are thousands of small objects that live on together
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.join,), daemon=True).start()


def _end_with(wait: Callable[[], object]) -> None:
    wait()
    os._exit(1)
