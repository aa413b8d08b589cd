"""The Wasserstein-Fisher-Rao metric: atoms move and exchange mass (theory, section 1; Liero, Mielke and Savare 2018).

With lengths |v|^2/a + g^2/b for velocities v and growth rates g of atoms, an atom of mass r^2 at x is a point of the cone over
R^d, with the angle kappa |x - y| between x and y, kappa = sqrt(b/a)/2, and laws are the unit sphere of a product of cones, of
radius 2/sqrt(b). The plane of an atom's motion in its cone is flat, so that great circles have closed forms.
"""

from __future__ import annotations

from typing import NamedTuple, final

import numpy as np

from measureflow import _validate as check
from measureflow.errors import UnsupportedError
from measureflow.metrics.base import Chart, Differentiable, Metric, require_free, same_structure
from measureflow.metrics.fisher_rao import FisherRao
from measureflow.metrics.wasserstein import Wasserstein
from measureflow.states import Histogram, Particles, State

ATOMS = (Particles, Histogram)
BLUR = 1e-10
"""Error of cosines of distances, which are known to about 1e-11."""
RIGHT = 0.5 * np.pi
"""Angle beyond which mass is better destroyed and made anew than moved."""


class _Arc(NamedTuple):
    """The end of a great circle from each atom, in the plane of its cone: along the atom and across, in units of its radius."""

    shift: np.ndarray
    half_growth: np.ndarray
    angle: float
    ratio: float
    along: np.ndarray
    across: np.ndarray


class _AtomChart(Chart):
    """Normal coordinates at atoms: columns are the d coordinates of the moved atom and its growth rate g, with sum w g = 0.

    The great circle turns by theta = |z| sqrt(b)/2: along = cos(theta) + sin(theta)/theta g/2, across = sin(theta)/theta kappa
    |dx|; the mass is multiplied by along^2 + across^2 and the atom moves by arctan(across/along)/kappa.
    """

    def __init__(self, base: Particles, transport: float, reaction: float) -> None:
        self.base = base
        self.origin = np.column_stack([base.points, np.zeros(len(base))])
        self.transport, self.reaction = transport, reaction
        self.kappa = 0.5 * float(np.sqrt(reaction / transport)) if transport > 0.0 else 0.0
        self._weights = base.weights
        rates = np.append(np.full(base.dim, transport), reaction)
        self._scale = base.weights[:, None] * np.divide(1.0, rates, out=np.zeros_like(rates), where=rates > 0.0)

    def project(self, z: np.ndarray) -> np.ndarray:
        """Return the nearest coordinates of a tangent vector: growth of mean 0; what the metric does not move stays."""
        z = z.copy()
        if self.transport == 0.0:
            z[:, :-1] = self.base.points
        z[:, -1] = z[:, -1] - float(self._weights @ z[:, -1]) if self.reaction > 0.0 else 0.0
        return z

    def _arc(self, z: np.ndarray) -> _Arc:
        with np.errstate(over="ignore", invalid="ignore"):
            z = self.project(z)
            shift, half = z[:, :-1] - self.base.points, 0.5 * z[:, -1]
            size = self.kappa * np.linalg.norm(shift, axis=1)
            angle = float(np.sqrt(self._weights @ (half**2 + size**2)))
            ratio = float(np.sinc(angle / np.pi))
            along = np.cos(angle) + ratio * half
        if not (angle < RIGHT and along.min() > 0.0):
            raise ValueError("a step in the Wasserstein-Fisher-Rao metric must leave all atoms some mass; it is too long")
        return _Arc(shift, half, angle, ratio, along, ratio * size)

    def state(self, z: np.ndarray) -> State:
        arc = self._arc(z)
        reach = arc.ratio / arc.along * _arctan_ratio(arc.across / arc.along)
        points = self.base.points + reach[:, None] * arc.shift
        return self.base.replace(points).with_weights(self._weights * (arc.along**2 + arc.across**2))

    def pull(self, z: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        w, slope, phi = self._weights, gradient[:, :-1], gradient[:, -1]
        if z is self.origin:
            return np.column_stack([self.transport * slope, self.reaction * (phi - float(w @ phi))])
        arc = self._arc(z)
        square = arc.along**2 + arc.across**2
        phi = phi - float(w @ (square * phi)) / float(w @ square)
        moved = arc.ratio * arc.shift  # across, with its direction, over kappa
        length = np.linalg.norm(arc.shift, axis=1)
        unit = arc.shift / np.where(length > 0.0, length, 1.0)[:, None]
        radial = np.sum(slope * unit, axis=1)[:, None] * unit
        turn = square / arc.along * _arctan_ratio(arc.across / arc.along)
        in_along = 2.0 * arc.along * phi - np.sum(slope * moved, axis=1)
        in_across = 2.0 * self.kappa**2 * phi[:, None] * moved + arc.along[:, None] * radial + turn[:, None] * (slope - radial)
        # the turn's own change: d along = -ratio <z, dz> + ..., d across = bend <z, dz> y + ...
        inward = float(w @ (in_along * arc.half_growth + np.sum(in_across * arc.shift, axis=1)))
        drift = _bend(arc.angle) * inward - arc.ratio * float(w @ in_along)
        growth = self.reaction * 0.5 * (arc.ratio * in_along + drift * arc.half_growth)
        push = self.transport * (arc.ratio * in_across + drift * self.kappa**2 * arc.shift)
        return np.column_stack([push, growth - float(w @ growth)])

    def _planes(self, other: Particles) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return another law's shifts, angles, and radii in units of the base's."""
        shift = other.points - self.base.points
        if self.transport == 0.0 and np.any(shift):
            raise ValueError("other must have the base's points where the metric moves no atoms (transport = 0)")
        if self.reaction == 0.0 and not np.allclose(other.weights, self._weights, rtol=1e-9, atol=0.0):
            raise ValueError("other must have the base's weights where the metric exchanges no mass (reaction = 0)")
        return shift, self.kappa * np.linalg.norm(shift, axis=1), np.sqrt(other.weights / self._weights)

    def reaches(self, other: Particles) -> bool:
        """Return whether no atom has to turn by a right angle."""
        return float(self._planes(other)[1].max()) < RIGHT

    def log(self, other: State) -> np.ndarray:
        assert isinstance(other, Particles)
        shift, turn, radius = self._planes(other)
        if turn.max() >= RIGHT:
            raise ValueError(f"other must have its atoms nearer to the base's than {RIGHT / self.kappa:g}")
        along = radius * np.cos(turn)
        angle, ratio, cosine = self._turn(along, radius * np.sin(turn))
        shift = shift * (radius * np.sinc(turn / np.pi) / ratio)[:, None]
        return self.project(np.column_stack([self.base.points + shift, 2.0 * (along - cosine) / ratio]))

    def _turn(self, along: np.ndarray, across: np.ndarray) -> tuple[float, float, float]:
        """Return the angle theta to a law, sin(theta)/theta and cos(theta)."""
        cosine = min(float(self._weights @ along), 1.0)
        sine = float(np.sqrt(self._weights @ ((along - cosine) ** 2 + across**2)))
        angle = float(np.arctan2(sine, cosine))
        return angle, sine / angle if angle > 0.0 else 1.0, cosine

    def length(self, other: Particles) -> float:
        """Return the length of the way on which every atom keeps its label."""
        shift, turn, radius = self._planes(other)
        if self.reaction == 0.0:
            return float(np.sqrt(self._weights @ np.sum(shift**2, axis=1) / self.transport))
        turn = np.minimum(turn, RIGHT)
        return 2.0 * self._turn(radius * np.cos(turn), radius * np.sin(turn))[0] / float(np.sqrt(self.reaction))

    def inner(self, a: np.ndarray, b: np.ndarray) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.sum(self._scale * a * b))


def _arctan_ratio(q: np.ndarray) -> np.ndarray:
    """Return arctan(q)/q, 1 at 0."""
    return np.divide(np.arctan(q), q, out=np.ones_like(q), where=q > 1e-150)


def _bend(angle: float) -> float:
    """Return (cos(t) - sin(t)/t) / t^2."""
    return -1.0 / 3.0 + angle**2 / 30.0 if angle < 1e-2 else (float(np.cos(angle)) - float(np.sinc(angle / np.pi))) / angle**2


@final
class WassersteinFisherRao(Metric):
    """The Wasserstein-Fisher-Rao (spherical Hellinger-Kantorovich) metric of laws: mass moves and reacts (theory, section 1).

    Its gradient flow is d_t mu = a div(mu grad phi) - b mu (phi - mean_mu phi) with phi the first variation: atoms x_i of weights
    w_i follow x_i' = -a grad phi(x_i), w_i' = -b w_i (phi(x_i) - mean phi). The squared speed is int (|v|^2/a + g^2/b) dmu for
    velocities v and growth rates g.

    Parameters
    ----------
    transport : float
        a >= 0, the weight of the Wasserstein part; 0 leaves atoms where they are.
    reaction : float
        b >= 0, the weight of the Fisher-Rao part; 0 leaves weights as they are. One of the two is positive.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    Flows are for `Particles`, by every scheme but `Langevin`; on a `Histogram` they are for the scheme `Splitting`. Energies need
    a first variation at atoms (`Energy.first_variation`) where b > 0. Weights stay positive: atoms appear nowhere and never
    vanish. Constraints (`Box`) are for `Mirror` and `Splitting`.

    Distances of atoms, and of cells as atoms at their centres, come from a convex problem that brings its certificate: the cosine
    of sqrt(b)/2 times the distance is right to 1e-9, for up to some hundred atoms. Two atoms at x and y are min(|x - y|/sqrt(a),
    pi/sqrt(b)) apart: mass is moved up to that distance, and farther away destroyed and made anew. `labelled_distance`, of atoms
    that keep their labels, is an upper bound, and the distance where it is small enough.

    Examples
    --------
    >>> import measureflow as mf
    >>> two = mf.Particles([[-1.0], [1.0]])
    >>> well = mf.energies.Potential(lambda x: (x[:, 0] > 0.0) * 1.0, lambda x: 0.0 * x)
    >>> sol = mf.solve(well, two, 1.0, 0.01, scheme="rk4", metric=mf.WassersteinFisherRao())
    >>> sol.states[-1].weights.round(6)
    array([0.731059, 0.268941])
    """

    def __init__(self, transport: float = 1.0, reaction: float = 1.0) -> None:
        self.transport = check.scalar("transport", transport, least=0.0)
        self.reaction = check.scalar("reaction", reaction, least=0.0)
        if self.transport == 0.0 and self.reaction == 0.0:
            raise ValueError("transport and reaction must not both be 0, got 0.0 and 0.0")

    def chart(self, base: State) -> Chart:
        """Return normal coordinates: moved atoms and growth rates, (n, d + 1)."""
        return self._atoms(base)

    def _atoms(self, base: State) -> _AtomChart:
        if not isinstance(base, Particles):
            raise UnsupportedError(
                "flows in the Wasserstein-Fisher-Rao metric are for Particles, and by the scheme Splitting for a Histogram; "
                f"got {base!r}"
            )
        return _AtomChart(base, self.transport, self.reaction)

    def _pair(self, a: State, b: State) -> tuple[_AtomChart, Particles]:
        """Return the chart at atoms, and other atoms of the same number."""
        same_structure(a, b)
        chart = self._atoms(a)
        assert isinstance(b, Particles)
        return chart, b

    def differential(self, energy: Differentiable, state: State) -> np.ndarray:
        """Return gradient and first variation at the atoms, (n, d + 1)."""
        if not isinstance(state, Particles):
            return energy.gradient(state)
        require_free(energy)
        gradient = energy.gradient(state) if self.transport > 0.0 else np.zeros(state.points.shape)
        phi = energy.first_variation(state) if self.reaction > 0.0 else np.zeros(len(state))
        return np.column_stack([gradient, phi])

    def labelled_distance(self, a: State, b: State) -> float:
        """Return the distance of atoms that keep their labels, an upper bound of the distance."""
        chart, other = self._pair(a, b)
        return chart.length(other)

    def between(self, a: State, b: State, s: float) -> State:
        """Return the point at s of the great circle from a to b, labels kept.

        Where an atom jumps too far for one, points move along lines and weights along the Fisher-Rao circle. Masses of histograms
        on one grid are mixed.
        """
        if isinstance(a, Histogram) and isinstance(b, Histogram) and a.grid == b.grid:
            return Wasserstein().between(a, b, s)
        chart, other = self._pair(a, b)
        if chart.reaches(other):
            return chart.state(chart.origin + s * (chart.log(other) - chart.origin))
        weights = FisherRao().between(a, chart.base.with_weights(other.weights), s)
        return weights.replace((1.0 - s) * chart.base.points + s * other.points)

    def _distance(self, a: State, b: State) -> float:
        if not isinstance(a, ATOMS) or not isinstance(b, ATOMS):
            kinds = f"{type(a).__name__} and {type(b).__name__}"
            raise UnsupportedError(f"the Wasserstein-Fisher-Rao metric compares Particles and Histogram, got {kinds}")
        if a.dim != b.dim:
            raise ValueError(f"a and b must be laws on the same space, got dimensions {a.dim} and {b.dim}")
        if self.reaction == 0.0:
            return Wasserstein().distance(a, b) / float(np.sqrt(self.transport))
        if self.transport == 0.0:
            return FisherRao().distance(a, b) / float(np.sqrt(self.reaction))
        found, known = self._matched(a.to_particles(), b.to_particles()), self._known(a, b)
        half = 0.5 * float(np.sqrt(self.reaction))
        as_good = known is not None and np.cos(half * known) >= np.cos(half * found) - BLUR
        return known if known is not None and as_good else found

    def _matched(self, a: Particles, b: Particles) -> float:
        """Return the length of the best way: atoms are split into parts, each of which goes to one of the other's or vanishes."""
        from measureflow.transport.cone import matched

        apart = np.linalg.norm(a.points[:, None] - b.points, axis=2)
        turn = np.minimum(0.5 * float(np.sqrt(self.reaction / self.transport)) * apart, RIGHT)
        if len(a) == 1 or len(b) == 1:  # the root of the mean square
            sine, cosine = (float(np.sqrt(a.weights @ part**2 @ b.weights)) for part in (np.sin(turn), np.cos(turn)))
        else:
            cosine = min(matched(np.cos(turn), a.weights, b.weights).least, 1.0)
            sine = float(np.sqrt(1.0 - cosine**2))
        return 2.0 * float(np.arctan2(sine, cosine)) / float(np.sqrt(self.reaction))

    def _known(self, a: State, b: State) -> float | None:
        """Return the length of the way that keeps labels, an upper bound that rounding does not blur; None if there is none."""
        if isinstance(a, Histogram) and isinstance(b, Histogram) and a.grid == b.grid:
            return FisherRao().distance(a, b) / float(np.sqrt(self.reaction))
        if isinstance(a, Particles) and isinstance(b, Particles) and a.points.shape == b.points.shape:
            return self.labelled_distance(a, b)
        return None

    def _geodesic(self, a: State, b: State, s: float) -> State:
        if not self.labelled_distance(a, b) <= self.distance(a, b) or not self._pair(a, b)[0].reaches(b):  # type: ignore[arg-type]
            raise UnsupportedError(
                "geodesics in the Wasserstein-Fisher-Rao metric are known where atoms in their order are matched best; "
                "between(a, b, s) keeps labels"
            )
        return self.between(a, b, s)

    def __repr__(self) -> str:
        return f"WassersteinFisherRao(transport={self.transport:g}, reaction={self.reaction:g})"
