"""Potential and gradient of a kernel sum: measureflow against dense matrices of SciPy and POT, one thread.

    python benchmarks/bench_pairwise.py [--size N] [--dimension D] [--repeats K]

Prints nanoseconds of process CPU time a pair (median of the repeats, all three interleaved in one process), the ratio of
each peer to measureflow, and the largest difference of the gradients relative to the largest gradient. The peers build the
n x n matrix of distances (`scipy.spatial.distance.cdist`, `ot.dist`), turn it into the kernel in place and take the gradient
by matrix products; at N = 10000 that is 0.8 GB for the matrix in float64.
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
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from measureflow.kernels.pairwise import potential_and_gradient

Result = tuple[NDArray[np.floating], NDArray[np.floating]]
BANDWIDTH = 0.7


def _from_matrix(name: str, matrix: NDArray, x: NDArray, y: NDArray, w: NDArray) -> Result:
    """Potential and gradient from squared distances (gaussian) or distances, overwriting the matrix."""
    if name == "gaussian":
        matrix *= -0.5 / BANDWIDTH**2
        np.exp(matrix, out=matrix)
        u, slope = matrix @ w, -1 / BANDWIDTH**2
    elif name == "laplace":
        inverse = np.divide(1, matrix, out=np.zeros_like(matrix), where=matrix > 0)
        matrix *= -1 / BANDWIDTH
        np.exp(matrix, out=matrix)
        u, slope = matrix @ w, -1 / BANDWIDTH
        matrix *= inverse
    else:
        u, slope = -(matrix @ w), -1.0
        np.divide(1, matrix, out=matrix, where=matrix > 0)
    matrix *= w
    return u, slope * (x * matrix.sum(axis=1)[:, None] - matrix @ y)


def _scipy(name: str, x: NDArray, y: NDArray, w: NDArray) -> Result:
    return _from_matrix(name, cdist(x, y, "sqeuclidean" if name == "gaussian" else "euclidean"), x, y, w)


def _pot(name: str, x: NDArray, y: NDArray, w: NDArray) -> Result:
    return _from_matrix(name, ot.dist(x, y, "sqeuclidean" if name == "gaussian" else "euclidean"), x, y, w)


def _ours(name: str, x: NDArray, y: NDArray, w: NDArray) -> Result:
    u, g = potential_and_gradient(name, x, y, w, BANDWIDTH)
    assert g is not None
    return u, g


ROUTES: dict[str, Callable[[str, NDArray, NDArray, NDArray], Result]] = {"ours": _ours, "scipy": _scipy, "pot": _pot}


def _measure(name: str, x: NDArray, y: NDArray, w: NDArray, repeats: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds of each route, and the error of its gradient against the first peer in float64."""
    exact = _scipy(name, x.astype(float), y.astype(float), w.astype(float))[1]
    seconds: dict[str, list[float]] = {route: [] for route in ROUTES}
    errors = {}
    _ours(name, x[:64], y[:64], w[:64])  # compile
    for _ in range(repeats):
        for route, run in ROUTES.items():
            start = time.process_time()
            _, g = run(name, x, y, w)
            seconds[route].append(time.process_time() - start)
            errors[route] = float(np.max(np.abs(g - exact)) / np.max(np.abs(exact)))
    return {route: statistics.median(times) for route, times in seconds.items()}, errors


def main() -> None:
    """Print one line a kernel and precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=10_000, help="targets, and as many sources")
    parser.add_argument("--dimension", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    n = options.size
    print(f"{n} targets x {n} sources in dimension {options.dimension}, one thread, median of {options.repeats}, ns a pair")
    print("kernel   dtype    measureflow  cdist  ot.dist | cdist/ours  pot/ours | gradient error: ours     cdist   ot.dist")
    rng = np.random.default_rng(0)
    cloud = rng.standard_normal((2, n, options.dimension))
    for dtype in (np.float64, np.float32):
        x, y = cloud.astype(dtype)
        w = np.where(np.arange(n) % 2, 2 / n, -2 / n).astype(dtype)  # the witness of two laws
        for name in ("gaussian", "laplace", "energy"):
            seconds, errors = _measure(name, x, y, w, options.repeats)
            ours, scipy_, pot = (1e9 * seconds[route] / n**2 for route in ROUTES)
            print(
                f"{name:8} {dtype.__name__:8} {ours:11.2f} {scipy_:6.1f} {pot:8.1f} | {scipy_ / ours:10.1f} {pot / ours:9.1f} |"
                f" {errors['ours']:20.0e} {errors['scipy']:9.0e} {errors['pot']:9.0e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
