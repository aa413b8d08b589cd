"""Energies of particles at scale: blob entropies and sliced distances against SciPy, NumPy and POT, one thread.

    python benchmarks/bench_particles.py [--size N] [--repeats K]

Prints milliseconds of process CPU time (median of the repeats, all routes interleaved in one process) and the ratio of the peer
to measureflow. The blob peer finds all pairs within reach by `scipy.spatial.cKDTree` and sums them as a sparse matrix, always for
the compact mollifier; the sliced peers are `ot.sliced_wasserstein_distance` (value only) and a sweep written with `numpy.argsort`
and cumulative sums.
"""

from __future__ import annotations

import os

for _variable in ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import ot
from scipy.spatial import cKDTree

import measureflow as mf
from measureflow import energies as e

DIRECTIONS = 16
Route = Callable[[], float]


def _blob_peer(x: np.ndarray, bandwidth: float) -> float:
    """The compact blob entropy and its gradient by a tree and a sparse matrix; returns the value."""
    reach, n = bandwidth * np.sqrt(10.0), len(x)
    pairs = cKDTree(x).sparse_distance_matrix(cKDTree(x), reach, output_type="coo_matrix").tocsr()
    rest = 1.0 - (pairs.data / reach) ** 2
    height = 4.0 / (np.pi * reach**2)
    pairs.data = height * rest**3 / n
    density = np.asarray(pairs.sum(axis=1)).ravel()
    pairs.data = -6.0 * height / reach**2 * rest**2 / n
    pull = 1.0 / density
    _ = (
        pull[:, None] * (x * np.asarray(pairs.sum(axis=1)) - pairs @ x)
        + x * (pairs @ pull)[:, None]
        - pairs @ (pull[:, None] * x)
    )
    return float(np.mean(np.log(density)))


def _sliced_peer(x: np.ndarray, y: np.ndarray, units: np.ndarray) -> float:
    """The sliced energy distance and its gradient with NumPy; returns the value."""
    n, m, total, gradient = len(x), len(y), 0.0, np.zeros_like(x)
    for unit in units:
        z = np.concatenate([x @ unit, y @ unit])
        order = np.argsort(z)
        jump = np.where(order < n, -1.0 / n, 1.0 / m)
        after = np.cumsum(jump)
        total += float(np.sum(after[:-1] ** 2 * np.diff(z[order])))
        mine = order < n
        gradient[order[mine]] += (2.0 * after[mine] - jump[mine])[:, None] * unit
    return total / len(units)


def _routes(n: int) -> dict[str, tuple[Route, Route]]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, 2)), rng.normal(size=(n, 2)) + 0.5
    law, target, h = mf.Particles(x), mf.Particles(y), 2.0 / np.sqrt(n)
    sliced, transport = e.SlicedEnergyDistance(target, DIRECTIONS), e.SlicedWasserstein(target, DIRECTIONS)

    def ours(energy: e.Energy) -> Route:
        return lambda: energy.value_and_gradient(law.replace(x))[0]

    units = np.ascontiguousarray(sliced.directions.T)

    return {
        "blob, compact": (ours(e.BlobEntropy(h, mollifier="compact")), lambda: _blob_peer(x, h)),
        "blob, gaussian": (ours(e.BlobEntropy(h)), lambda: _blob_peer(x, h)),
        f"sliced energy, {DIRECTIONS} directions": (ours(sliced), lambda: _sliced_peer(x, y, sliced.directions)),
        f"sliced transport, {DIRECTIONS} directions": (
            ours(transport),
            lambda: 0.5 * float(ot.sliced_wasserstein_distance(x, y, projections=units)) ** 2,
        ),
    }


def _timed(route: Route, seconds: list[float]) -> float:
    start = time.process_time()
    value = route()
    seconds.append(time.process_time() - start)
    return value


def main() -> None:
    """Print one line an energy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=100_000, help="atoms, and as many of the target, in the plane")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{options.size} atoms in the plane, one thread, median of {options.repeats}, milliseconds of value and gradient")
    print(f"{'':34} {'ours':>9} {'peer':>9} {'peer/ours':>10}  values: ours, peer")
    for name, (ours, peer) in _routes(options.size).items():
        own: list[float] = []
        other: list[float] = []
        ours()  # compile
        for _ in range(options.repeats):
            values = _timed(ours, own), _timed(peer, other)
        fast, slow = 1e3 * statistics.median(own), 1e3 * statistics.median(other)
        print(f"{name:34} {fast:9.2f} {slow:9.2f} {slow / max(fast, 1e-9):10.1f}  {values[0]:.10g}, {values[1]:.10g}", flush=True)


if __name__ == "__main__":
    main()
