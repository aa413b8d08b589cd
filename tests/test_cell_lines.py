"""Transport line by line on blocks of lines: the same bits on one and on two threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from measureflow.kernels import ctransform
from measureflow.kernels.cell_push import averages, bend, push, stiffness
from measureflow.kernels.ctransform import at_nodes, envelopes, transforms
from measureflow.kernels.transpose import exchange

LINES, N = 37, 24


def everything(phi: np.ndarray, m: np.ndarray, wrap: int) -> list[Any]:
    """What all kernels make of potentials and masses."""
    room = (LINES, N + 2 * wrap)
    hull, ends, counts, weights = np.zeros(room, np.int32), np.zeros(room), np.zeros(LINES, np.int64), np.zeros(room)
    out = np.zeros((6, LINES, N))
    envelopes(phi, wrap, hull, ends, counts)
    transforms(phi, wrap, hull, ends, out[0])
    at_nodes(phi, wrap, hull, ends, out[1])
    averages(phi, wrap, hull, ends, out[2])
    push(m, wrap, hull, ends, out[3])
    stiffness(m, wrap, hull, ends, counts, out[4], weights)
    bend(phi, wrap, hull, counts, weights, 0.7, out[5])
    return [out, hull, counts, ends, weights]


@pytest.mark.parametrize("wrap", [0, 13])
@pytest.mark.parametrize("threads", [2, 3])
def test_blocks_of_lines_on_threads_give_the_same_bits(wrap: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    phi, m = 5.0 * rng.normal(size=(LINES, N)), rng.random((LINES, N))
    alone = everything(phi, m, wrap)
    monkeypatch.setattr(ctransform, "PARALLEL_NODES", 1)
    monkeypatch.setattr(ctransform.numba, "get_num_threads", lambda: threads)
    for one, other in zip(alone, everything(phi, m, wrap), strict=True):
        assert one.tobytes() == other.tobytes()


def test_an_error_in_a_block_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(x: np.ndarray) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ctransform, "PARALLEL_NODES", 1)
    monkeypatch.setattr(ctransform.numba, "get_num_threads", lambda: 2)
    with pytest.raises(ZeroDivisionError):
        ctransform.by_lines(fails)(np.zeros((4, 4)))


@pytest.mark.parametrize("shape", [(1, 1, 5), (2, 9, 13), (3, 8, 16), (1, 40, 7)])
def test_exchange_of_axes(shape: tuple[int, int, int]) -> None:
    a = np.random.default_rng(0).normal(size=shape)
    out = np.empty((shape[0], shape[2], shape[1]))
    exchange(a, out)
    assert np.array_equal(out, a.transpose(0, 2, 1))
