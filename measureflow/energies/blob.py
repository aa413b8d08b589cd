"""Entropies of atoms through a mollified density, the blob method.

Source: J. A. Carrillo, K. Craig and F. S. Patacchini, A blob method for diffusion, Calc. Var. 58:53 (2019).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import final

import numpy as np

from measureflow import _validate as check
from measureflow.energies.base import Energy, unsupported
from measureflow.states import Particles, Quantiles, State, atoms

MOST = 20  # dimensions
FARTHEST = 1e140  # coordinates in units of the bandwidth


class _Blob(Energy):
    """E(mu) = int F(k * mu) dmu with a mollifier k; the flow of atoms is that of the energy itself, no atom splits."""

    bandwidth: float
    mollifier: str

    def _keep(self, bandwidth: float, mollifier: str) -> None:
        self.bandwidth = check.scalar("bandwidth", bandwidth, above=0.0)
        self.mollifier = str(check.choice("mollifier", mollifier, ("gaussian", "compact")))

    @abstractmethod
    def _function(self, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return F and F' at densities > 0."""

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        if not isinstance(state, (Particles, Quantiles)):
            raise unsupported(self, state, "Particles and Quantiles", "Entropy and PowerEntropy take laws with a density.")
        from measureflow.kernels.cell_lists import Neighbours  # numba is loaded at first use

        points, weights = atoms(state)
        if points.shape[1] > MOST:
            raise ValueError(f"the state must have at most {MOST} dimensions to see a density, got {points.shape[1]}")
        scale, height = _scales(self.mollifier, self.bandwidth, points.shape[1])
        if not (0.0 < height < math.inf and float(np.max(np.abs(points))) < FARTHEST / scale):
            raise ValueError(f"bandwidth must fit the size of the state, got {self.bandwidth:g}")
        near = Neighbours(self.mollifier, points * scale, weights)
        values, slopes = self._function(height * near.density())
        gradient = near.slope(height * scale * slopes)
        return float(weights @ values), gradient.reshape(state.coordinates.shape)


def _scales(mollifier: str, bandwidth: float, d: int) -> tuple[float, float]:
    """Return what lengths and the profile p(q) are multiplied by, so that k has mass 1 and variance bandwidth^2 an axis."""
    from measureflow.kernels.cell_lists import CUT, FLOOR, LN2

    if mollifier == "compact":
        factor, width = math.gamma(0.5 * d + 4.0) / (6.0 * math.pi ** (0.5 * d)), math.sqrt(d + 8.0)
    else:
        from scipy.special import gammainc

        ball = (math.pi * CUT) ** (0.5 * d) / math.gamma(0.5 * d + 1.0)
        bell = (math.pi / LN2) ** (0.5 * d) * float(gammainc(0.5 * d, CUT * LN2))
        factor, width = 1.0 / (bell - FLOOR * ball * (1.0 + LN2 * CUT * 2.0 / (d + 2.0))), math.sqrt(2.0 * LN2)
    try:
        scale = 1.0 / (bandwidth * width)
        return scale, factor * scale**d
    except (OverflowError, ZeroDivisionError):
        return math.inf, math.inf


@final
class BlobEntropy(_Blob):
    """E(mu) = T int log(k * mu) dmu, the entropy of atoms that are smeared out by a mollifier k.

    Its flow on `Particles` approximates the heat equation d_t rho = T Lap rho without noise: as the bandwidth goes to 0, more
    slowly than the distance of neighbouring atoms, it goes to that of `Entropy`.

    Parameters
    ----------
    bandwidth : float
        Standard deviation of k along an axis; larger than the distance of neighbouring atoms, or they do not see each other.
    temperature : float
        T > 0.
    mollifier : {"gaussian", "compact"}
        A Gaussian, or a multiple of (1 - |z|^2/h^2)^3 for |z| < h = bandwidth sqrt(d + 8), of a quarter of the pairs in 2-D.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; at evaluation, on states other than Particles and Quantiles.

    Notes
    -----
    Only pairs of near atoms are summed, found through sorted rows in linear memory. The Gaussian ends 6.4 bandwidths out: its
    tangent there (in |z|^2) is taken off, so that k stays positive and C^1, and differs from the Gaussian by at most 2.1e-8 of
    the peak; the gradient is exact for this k.

    Examples
    --------
    >>> import numpy as np
    >>> from measureflow import Particles
    >>> pair = BlobEntropy(1.0).gradient(Particles([[0.0], [1.0]]))
    >>> np.round(pair, 6)
    array([[ 0.755081],
           [-0.755081]])
    """

    def __init__(self, bandwidth: float, temperature: float = 1.0, *, mollifier: str = "gaussian") -> None:
        self._keep(bandwidth, mollifier)
        self.temperature = check.scalar("temperature", temperature, above=0.0)

    def _function(self, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.temperature * np.log(density), self.temperature / density

    def __repr__(self) -> str:
        return f"BlobEntropy({self.bandwidth:g}, {self.temperature:g}, mollifier={self.mollifier!r})"


@final
class BlobPowerEntropy(_Blob):
    """E(mu) = int (k * mu)^(m - 1) dmu / (m - 1), a power entropy of atoms that are smeared out by a mollifier k.

    Its flow on `Particles` approximates d_t rho = Lap(rho^m), as that of `PowerEntropy`. For m = 2 it is the interaction energy
    of the potential 2 k.

    Parameters
    ----------
    m : float
        Positive, not 1 (that is `BlobEntropy`).
    bandwidth : float
        Standard deviation of k along an axis; larger than the distance of neighbouring atoms, or they do not see each other.
    mollifier : {"gaussian", "compact"}
        As in `BlobEntropy`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; at evaluation, on states other than Particles and Quantiles.

    Examples
    --------
    >>> from measureflow import Particles
    >>> round(BlobPowerEntropy(2.0, 1.0).value(Particles([[0.0]])), 6)
    0.398942
    """

    def __init__(self, m: float, bandwidth: float, *, mollifier: str = "gaussian") -> None:
        self._keep(bandwidth, mollifier)
        self.m = check.scalar("m", m, above=0.0)
        if self.m == 1.0:
            raise ValueError("m must not be 1, got 1.0: that is BlobEntropy")

    def _function(self, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        power = density ** (self.m - 2.0)
        return power * density / (self.m - 1.0), power

    def __repr__(self) -> str:
        return f"BlobPowerEntropy({self.m:g}, {self.bandwidth:g}, mollifier={self.mollifier!r})"
