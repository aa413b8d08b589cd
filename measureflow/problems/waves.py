"""Heat in a box or on a torus, where every wave decays at its own rate (theory, 9.2 S3)."""

from __future__ import annotations

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Entropy
from measureflow.problems.base import Problem
from measureflow.states import Grid, Histogram


def heat(
    dim: int = 1,
    n: int = 32,
    waves: int = 1,
    amplitude: float = 0.5,
    temperature: float = 1.0,
    periodic: bool = False,
    t: float = 0.05,
) -> Problem:
    """S3 waves: E = T Entropy from 1 + a cos(q x) on n^dim cells of [0, 1]^dim: the wave decays like exp(-T q^2 t).

    x is the first coordinate, a the `amplitude`; q = pi k between walls and 2 pi k on the torus (`periodic`, where there are no
    distances), k the number of `waves`. Masses are those of cells of width h: the averages of the wave over them are its values
    at their centres times sin(q h/2)/(q h/2).
    """
    dim, n = check.integer("dim", dim, least=1, most=3), check.integer("n", n, least=2)
    k, a = check.integer("waves", waves, least=1, most=n // 2), check.scalar("amplitude", amplitude, least=-1.0, most=1.0)
    energy = Entropy(temperature)
    grid = Grid([(0.0, 1.0)] * dim, (n,) * dim, periodic=check.flag("periodic", periodic))
    q = np.pi * k * (2.0 if periodic else 1.0)
    wave = a * np.sinc(0.5 * q / (np.pi * n)) * np.cos(q * grid.centres[..., 0])
    rate = energy.temperature * q**2

    def exact(time: float) -> Histogram:
        return Histogram((1.0 + np.exp(-rate * time) * wave) / wave.size, grid)

    return Problem(
        label="S3 waves",
        title=f"a wave of heat in dimension {dim}",
        source="theory.md, 9.2 S3",
        problem=energy,
        initial=exact(0.0),
        t_span=(0.0, t),
        exact=exact,
        constants={"rate": rate},
    )
