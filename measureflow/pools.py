"""Work in several processes, and a bar that shows how much of it is done."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, TypeVar

from measureflow import _validate as check

T = TypeVar("T")


def in_processes(
    function: Callable[..., T],
    tasks: Sequence[tuple[Any, ...]],
    jobs: int | None = None,
    prepare: Callable[[], None] | None = None,
) -> Iterator[T]:
    """Yield ``function(*task)`` of every task, as they come, several at a time.

    Parameters
    ----------
    function : callable
        Of a module, so that other processes find it; its results are sent back.
    tasks : sequence of tuple
    jobs : int, optional
        Processes, each with one thread for compiled code; default: the number of cores. With one, this process does the work.
    prepare : callable, optional
        Called without arguments in every process, before its first task.

    Raises
    ------
    TypeError, ValueError
        If jobs is no positive integer, before any work starts.

    Examples
    --------
    >>> sorted(in_processes(pow, [(2, 3), (3, 2)], jobs=1))
    [8, 9]
    """
    count = (os.cpu_count() or 1) if jobs is None else check.integer("jobs", jobs, least=1)
    return _results(function, tasks, min(count, len(tasks)), prepare)


def _results(
    function: Callable[..., T], tasks: Sequence[tuple[Any, ...]], count: int, prepare: Callable[[], None] | None
) -> Iterator[T]:
    if count == 1:
        if prepare is not None:
            prepare()
        yield from (function(*task) for task in tasks)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=spawn, initializer=_begin, initargs=(prepare,)) as pool:
        waiting = [pool.submit(function, *task) for task in tasks]
        try:
            yield from (done.result() for done in as_completed(waiting))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin(prepare: Callable[[], None] | None) -> None:
    """Let a process of the pool use one thread, as the others use the other cores, and prepare it."""
    import numba

    numba.set_num_threads(1)
    if prepare is not None:
        prepare()


def with_bar(found: Iterable[T], count: int, unit: str, *, progress: bool = False) -> Iterable[T]:
    """Return what is found, with a progress bar on standard error if wanted.

    Examples
    --------
    >>> list(with_bar([1, 2], 2, "run"))
    [1, 2]
    """
    if not progress:
        return found
    from tqdm.auto import tqdm

    bar: Iterable[T] = tqdm(found, total=count, unit=unit, mininterval=0.2)
    return bar
