"""A dual flow of a law of particles and a law of neurons against torch and jax: milliseconds a step, interleaved.

    python benchmarks/bench_laws.py [--size N] [--repeats K]

Both laws take simultaneous explicit steps; the generator is non-saturating, both sides have N particles in the plane. Medians of
process CPU time on one thread; torch and jax are left out where they are not installed. torch eager is the usual script, two
losses and two sweeps back; jax whole keeps the particles-by-neurons matrix, jax chunks scans over chunks of particles and
derives the players' forces in one sweep of each. Ours is `measureflow.solve`, with the energies and slopes of both players.
"""

from __future__ import annotations

import os

for _variable in ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import argparse
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import measureflow as mf

Route = Callable[[], Any]
CASES = ((1_000, 1000), (10_000, 100), (10_000, 1000), (100_000, 300))  # particles a side, neurons
TAU, CHUNK, STEPS = 1e-3, 500, 10
LARGEST_DENSE = 2e7


def start(n: int, h: int, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Generated particles, target and neurons."""
    rng = np.random.default_rng(0)
    x, y, theta = rng.normal(size=(n, 2)), rng.normal(size=(n, 2)) + 1.0, rng.normal(size=(h, 4))
    return x.astype(dtype), y.astype(dtype), theta.astype(dtype)


def ours(x: np.ndarray, y: np.ndarray, theta: np.ndarray) -> Route:
    """STEPS steps of `measureflow.solve`."""
    critic = mf.games.NeuronCritic(dtype=str(x.dtype))
    game = mf.games.GAN(mf.Particles(y), "non-saturating", critic=critic)
    laws = mf.Particles(x), mf.Particles(theta)

    def run() -> tuple[np.ndarray, np.ndarray]:
        end = mf.solve(game, laws, STEPS * TAU, TAU, scheme="explicit", save_at=STEPS).states[-1]
        return end[0].points, end[1].points

    return run


def torch_route(x: np.ndarray, y: np.ndarray, theta: np.ndarray) -> Route:
    """The usual script; forces of equal atoms are n and H times the derivatives of the losses."""
    import torch
    from torch.nn.functional import softplus

    torch.set_num_threads(1)

    def values(points: Any, law: Any) -> Any:
        return torch.tanh(points @ law[:, 1:3].T + law[:, 3]) @ law[:, 0] / len(law)

    def run() -> tuple[np.ndarray, np.ndarray]:
        real = torch.from_numpy(y)
        fake, law = torch.from_numpy(x.copy()).requires_grad_(), torch.from_numpy(theta.copy()).requires_grad_()
        for _ in range(STEPS):
            judged = softplus(-values(fake.detach(), law)).mean() + softplus(values(real, law)).mean()
            (up,) = torch.autograd.grad(judged, law)
            (force,) = torch.autograd.grad(softplus(values(fake, law)).mean(), fake)
            with torch.no_grad():
                fake -= TAU * len(fake) * force
                law -= TAU * len(law) * up
        return fake.detach().numpy(), law.detach().numpy()

    return run


def jax_route(x: np.ndarray, y: np.ndarray, theta: np.ndarray, chunk: int | None) -> Route:
    """Compiled steps, on the whole matrix or scanned over chunks of particles with the players' sweeps fused."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def forces(points: Any, law: Any, generated: bool) -> tuple[Any, Any]:
        """The force on generated points, and the derivative in the law of the sum of phi(D) or psi(D)."""

        def values(p: Any, c: Any) -> Any:
            return jnp.tanh(p @ c[:, 1:3].T + c[:, 3]) @ c[:, 0] / len(c)

        d, back = jax.vjp(values, points, law)
        q = jax.nn.sigmoid(-d) if generated else -jax.nn.sigmoid(d)
        at_points, at_law = back(q)
        return (at_points * (jax.nn.sigmoid(d) / q)[:, None] if generated else at_points), at_law

    def whole(points: Any, law: Any, generated: bool) -> tuple[Any, Any]:
        if chunk is None or len(points) <= chunk:
            return forces(points, law, generated)

        def body(total: Any, part: Any) -> tuple[Any, Any]:
            force, slope = forces(part, law, generated)
            return total + slope, force if generated else jnp.zeros((), part.dtype)

        total, parts = jax.lax.scan(body, jnp.zeros_like(law), points.reshape(-1, chunk, 2))
        return parts.reshape(-1, 2) if generated else parts, total

    @jax.jit
    def step(fake: Any, real: Any, law: Any) -> tuple[Any, Any]:
        force, rise = whole(fake, law, True)
        _, fall = whole(real, law, False)
        return fake - TAU * force, law + TAU * len(law) * (rise / len(fake) + fall / len(real))

    def run() -> tuple[np.ndarray, np.ndarray]:
        fake, real, law = jnp.asarray(x), jnp.asarray(y), jnp.asarray(theta)
        for _ in range(STEPS):
            fake, law = step(fake, real, law)
        return np.asarray(fake), np.asarray(law)

    return run


def routes(n: int, h: int, dtype: str) -> dict[str, Route]:
    """All routes that are installed and fit into memory."""
    arrays = start(n, h, dtype)
    found = {"ours": ours(*arrays)}
    if importlib.util.find_spec("torch") and n * h <= LARGEST_DENSE:
        found["torch eager"] = torch_route(*arrays)
    if importlib.util.find_spec("jax"):
        if n * h <= LARGEST_DENSE:
            found["jax whole"] = jax_route(*arrays, None)
        found["jax chunks"] = jax_route(*arrays, min(CHUNK, n))
    return found


def report(n: int, h: int, dtype: str, repeats: int) -> None:
    """Print one block of the table."""
    found = routes(n, h, dtype)
    ends = {name: route() for name, route in found.items()}
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(repeats):
        for name, route in found.items():
            begin = time.process_time()
            route()
            seconds[name].append((time.process_time() - begin) / STEPS)
    medians = {name: float(np.median(times)) for name, times in seconds.items()}
    print(f"n={n} H={h} {dtype}")
    for name, median in medians.items():
        off = max(float(np.abs(a - b).max()) for a, b in zip(ends[name], ends["ours"], strict=True))
        print(f"  {name:12s} {median * 1e3:9.2f} ms a step   {median / medians['ours']:6.2f} times ours   difference {off:.1e}")


def main() -> None:
    """Print the table for all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=100_000, help="largest number of particles and neurons")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    cases = dict.fromkeys((min(n, options.size), min(h, options.size)) for n, h in CASES)
    for n, h in cases:
        for dtype in ("float32", "float64"):
            report(n, h, dtype, options.repeats)


if __name__ == "__main__":
    main()
