"""Steps of histograms in the Fisher-Rao metric, and entropic ones, with KL(u | p) in place of d(p, u)^2 / 2.

Both keep the simplex by construction: masses are multiplied by factors, and empty cells stay empty.
"""

from __future__ import annotations

from typing import final

import numpy as np

from measureflow.energies import KL, CellPotential, Energy, Entropy, Potential, Quadratic
from measureflow.errors import UnsupportedError
from measureflow.metrics import FisherRao, Metric
from measureflow.proximal.base import Step, Tolerance, not_converged
from measureflow.states import Histogram, State

LINEAR = (CellPotential, Potential, Quadratic)
LOGARITHMIC = (Entropy, KL)


def on_sphere(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step | None:
    """Return the step under an energy that is linear in the masses, by the only root of one equation.

    The minimiser's square roots are sqrt(p_i) / (N (mu + a_i)) with a = tau (phi - min phi)/2 on cells with mass, N such that the
    masses sum to 1, and mu > 0 the root of N theta / sin(theta) = 1, theta the angle to sqrt(p).
    """
    if not isinstance(metric, FisherRao) or not isinstance(x, Histogram):
        return None
    require_no_box(energy)
    if not all(isinstance(term, LINEAR) for _, term in energy.terms()):
        return None
    from scipy.optimize import brentq

    held = x.masses > 0.0
    p, phi = x.masses[held], energy.gradient(x)[held]
    a = 0.5 * tau * (phi - phi.min())

    def factors(log_mu: float) -> tuple[np.ndarray, float]:
        h = 1.0 / (np.exp(log_mu) + a)
        return h, float(np.sqrt(np.sum(p * h * h)))

    def equation(log_mu: float) -> float:
        h, n = factors(log_mu)
        theta = np.arccos(min(float(np.sum(p * h)) / n, 1.0))
        return float(np.log(n) - np.log(np.sinc(theta / np.pi)))

    ends = 0.5 * float(np.log(p[a == 0.0].sum())) - 1e-9, float(np.log(0.5 * np.pi)) + 1e-9
    root, report = brentq(equation, *ends, xtol=1e-15, rtol=1e-15, full_output=True)
    h, n = factors(root)
    masses = np.zeros(x.masses.shape)
    masses[held] = p * (h / n) ** 2
    state = x.replace(masses / masses.sum())
    chart = metric.chart(x)
    z = chart.log(state)
    residual = chart.norm(z + tau * chart.pull(z, energy.gradient(state)))
    if not residual <= tolerance.residual:
        return None
    return Step(state, metric.distance(x, state), residual, int(report.iterations), "secular equation")


def require_no_box(energy: Energy) -> None:
    """Raise UnsupportedError for an energy with a constraint on coordinates."""
    if energy.bounds is not None or not energy.boxed:
        raise UnsupportedError("a Box holds coordinates of points; bound a Histogram by its grid")


def entropic_explicit(energy: Energy, x: Histogram, tau: float) -> Step:
    """Return p+ proportional to p exp(-tau phi), phi the first variation at p (exponentiated gradient)."""
    require_no_box(energy)
    held = x.masses > 0.0
    phi = energy.gradient(x)[held]
    return _landed(x, held, np.log(x.masses[held]) - tau * phi, method="exponentiated gradient")


def entropic_proximal(energy: Energy, x: Histogram, tau: float, tolerance: Tolerance) -> Step:
    """Return argmin_u E(u) + KL(u | p) / tau; closed for sums of potentials, entropies and KL divergences (theory, F1, F2).

    Raises
    ------
    ConvergenceError
        If another energy's inner problem does not reach its tolerance; the residual is the Fisher-Rao length of the gradient.
    """
    require_no_box(energy)
    problem = _Entropic(energy, x, tau)
    start = problem.target / problem.scale
    if not problem.rest:
        return _landed(x, problem.held, start)
    return problem.solve(start, tolerance)


def _landed(
    x: Histogram, held: np.ndarray, log_masses: np.ndarray, residual: float = 0.0, calls: int = 0, method: str = ""
) -> Step:
    """Return the step to the law whose masses are proportional to exp(log_masses) on the cells `held`."""
    masses = np.zeros(x.masses.shape)
    masses[held] = np.exp(_normalised(log_masses))
    state = x.replace(masses / masses.sum())
    return Step(state, FisherRao().distance(x, state), residual, calls, method or "closed form")


def _normalised(log_masses: np.ndarray) -> np.ndarray:
    """Return log masses minus the logarithm of their sum."""
    top = log_masses.max()
    return np.asarray(log_masses - top - np.log(np.sum(np.exp(log_masses - top))))


@final
class _Entropic:
    """The equation scale log u + tau phi_rest(u) = target + const on cells with mass.

    `scale` is 1 + tau (temperatures of entropies and KL divergences); `rest` sums the energies with another first variation.
    """

    def __init__(self, energy: Energy, x: Histogram, tau: float) -> None:
        self.x, self.tau = x, tau
        self.held = x.masses > 0.0
        log_p = np.log(x.masses[self.held])
        self.scale, self.target = 1.0, log_p.copy()
        self.rest: list[tuple[float, Energy]] = []
        for factor, term in energy.terms():
            if isinstance(term, LINEAR + LOGARITHMIC):
                temperature = term.temperature if isinstance(term, Entropy) else float(isinstance(term, KL))
                fixed = term.gradient(x)[self.held] - temperature * log_p
                self.scale += tau * factor * temperature
                self.target = self.target - tau * factor * fixed
            elif factor != 0.0:
                self.rest.append((factor, term))
        if self.scale <= 0.0:
            raise ValueError(f"tau must be smaller for this concave energy, got a step of {tau:g}")

    def law(self, log_u: np.ndarray) -> Histogram:
        """Return the law with these normalised log masses."""
        masses = np.zeros(self.x.masses.shape)
        masses[self.held] = np.exp(log_u)
        return self.x.replace(masses / masses.sum())

    def defect(self, log_u: np.ndarray) -> np.ndarray:
        """Return scale log u + tau phi_rest(u) - target."""
        law = self.law(log_u)
        push = sum((factor * term.gradient(law)[self.held] for factor, term in self.rest), np.zeros(len(log_u)))
        return np.asarray(self.scale * log_u + self.tau * push - self.target)

    def solve(self, start: np.ndarray, tolerance: Tolerance) -> Step:
        """Solve by Newton's method with Krylov spaces, in log masses weighted by the square roots of the first masses."""
        from scipy.optimize import NoConvergence, newton_krylov

        first = _normalised(start)
        root = np.exp(0.5 * np.maximum(first, -600.0))
        calls = 0

        def equation(y: np.ndarray) -> np.ndarray:
            nonlocal calls
            calls += 1
            gap = self.defect(_normalised(first + y / root))
            return np.asarray(root * (gap - np.sum(root**2 * gap) / np.sum(root**2)))

        try:
            y = newton_krylov(
                equation, np.zeros(len(first)), f_tol=0.1 * tolerance.residual, tol_norm=_length, maxiter=tolerance.max_iterations
            )
        except NoConvergence as failure:
            y = failure.args[0]
        except ValueError as failure:
            if type(failure) is not ValueError:  # an error of the package's, which passes
                raise
            raise not_converged(_length(equation(np.zeros(len(first)))), tolerance.residual, calls, str(failure)) from failure
        log_u = _normalised(first + y / root)
        gap, u = self.defect(log_u), np.exp(log_u)
        residual = _length(np.sqrt(u) * (gap - np.sum(u * gap)))
        if not residual <= tolerance.residual:
            raise not_converged(residual, tolerance.residual, calls)
        return _landed(self.x, self.held, log_u, residual, calls, "Newton-Krylov")


def _length(v: np.ndarray) -> float:
    return float(np.sqrt(np.sum(v * v)))
