"""Splitting of Wasserstein-Fisher-Rao flows into transport and reaction."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.errors import UnsupportedError
from measureflow.metrics import FisherRao, Metric, Wasserstein, WassersteinFisherRao
from measureflow.proximal import Step
from measureflow.schemes.base import Players, Scheme
from measureflow.schemes.explicit import Explicit
from measureflow.schemes.info import States, joined
from measureflow.schemes.jko import JKO
from measureflow.schemes.mirror import Mirror
from measureflow.schemes.runge_kutta import RK2, RK4
from measureflow.schemes.vim import VIM
from measureflow.states import Histogram, Particles, State

TRANSPORT: Mapping[str, Scheme] = MappingProxyType(
    {"jko": JKO(), "vim": VIM(), "explicit": Explicit(), "rk2": RK2(), "rk4": RK4()}
)
"""Steps of the transport part, by name."""

REACTION: Mapping[str, Scheme] = MappingProxyType(
    {"mirror": Mirror(), "implicit mirror": Mirror(implicit=True), **{name: TRANSPORT[name] for name in TRANSPORT}}
)
"""Steps of the reaction part, by name."""


@final
class Splitting(Scheme):
    """Splitting of the metric `WassersteinFisherRao`: steps of its Wasserstein part and of its Fisher-Rao part in turn.

    Both parts go down the same energy. With ``symmetric=True`` (Strang) a step is half a reaction, a transport, half a reaction:
    of order 2 if both parts are; with ``symmetric=False`` (Lie) it is a transport, then a reaction, of order 1. Players with
    another metric, as critics, take the steps of `transport`.

    Parameters
    ----------
    transport : {"jko", "vim", "explicit", "rk2", "rk4"}
        Steps of size a tau in the metric `Wasserstein`; of a `Histogram` those of finite volumes, but for "jko", which is exact.
    reaction : {"mirror", "implicit mirror", "explicit", "jko", "vim", "rk2", "rk4"}
        Steps of size b tau in the metric `FisherRao`. "mirror" is exact where the energy is linear in the law (theory, F1),
        "implicit mirror" is for a `Histogram` only.
    symmetric : bool
        Strang's splitting or Lie's.
    coupling : {"simultaneous", "alternating", "symmetric", "implicit", "extragradient", "optimistic"}
        See `Scheme`.
    turns : sequence of int, optional
        The order in which players move, see `Scheme`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; in `solve`, if a player with the metric `WassersteinFisherRao` is not `Particles`
        or a `Histogram`, or has no such steps.

    Notes
    -----
    Lengths of steps of `Particles` are labelled distances; of a `Histogram` they are sqrt(d_W^2/a + d_FR^2/b) from the lengths of
    its parts, which is the length of a step up to higher order.

    Examples
    --------
    >>> import measureflow as mf
    >>> grid = mf.Grid([(-6.0, 6.0)], 60)
    >>> start = mf.Gaussian(1.5, 0.5).to_histogram(grid)
    >>> energy, metric = mf.energies.KL(mf.Gaussian(0.0, 1.0)), mf.WassersteinFisherRao()
    >>> scheme = mf.Splitting(reaction="implicit mirror")
    >>> sol = mf.solve(energy, start, 0.5, 0.05, scheme=scheme, metric=metric)
    >>> bool(abs(sol.states[-1].mean()[0] - 0.64) < 0.03)
    True
    """

    def __init__(
        self,
        transport: str = "jko",
        reaction: str = "mirror",
        symmetric: bool = True,
        coupling: str = "simultaneous",
        *,
        turns: Any = None,
    ) -> None:
        super().__init__(coupling, turns=turns)
        self.transport = check.choice("transport", transport, tuple(TRANSPORT))
        self.reaction = check.choice("reaction", reaction, tuple(REACTION))
        self.symmetric = check.flag("symmetric", symmetric)

    @property
    def order(self) -> int:
        return self.order_for(1) if self.coupling == "symmetric" else 1

    def order_for(self, players: int) -> int:
        if players > 1:
            return self.order
        parts = TRANSPORT[self.transport].order_for(1), REACTION[self.reaction].order_for(1)
        return min(2 if self.symmetric else 1, *parts)

    def check(self, players: Players, states: States) -> None:
        for metric, x in zip(players.metrics, states, strict=True):
            if not isinstance(metric, WassersteinFisherRao):
                metric.chart(x)
            elif isinstance(x, (Particles, Histogram)):
                self._check_parts(x)
            else:
                raise UnsupportedError(f"Splitting is for Particles and Histogram in {metric!r}, got {type(x).__name__}")
        self.check_game(players, states)

    def _check_parts(self, x: State) -> None:
        if isinstance(x, Particles) and self.reaction == "implicit mirror":
            raise UnsupportedError(f"reaction='implicit mirror' is for a Histogram, got {x!r}")

    def advance(self, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        if not isinstance(metric, WassersteinFisherRao):
            return TRANSPORT[self.transport].advance(energy, metric, x, tau)
        state, done = x, {True: _Sum(metric.transport), False: _Sum(metric.reaction)}
        for transport, share in ((False, 0.5), (True, 1.0), (False, 0.5)) if self.symmetric else ((True, 1.0), (False, 1.0)):
            rate = done[transport].rate
            if rate > 0.0:
                part = (TRANSPORT[self.transport], Wasserstein()) if transport else (REACTION[self.reaction], FisherRao())
                step = part[0].advance(energy, part[1], state, share * rate * tau)
                state = step.state
                done[transport].add(step)
        residual, iterations = max(s.residual for s in done.values()), sum(s.iterations for s in done.values())
        length = float(np.hypot(done[True].distance, done[False].distance))
        if isinstance(x, Particles):
            length = metric.labelled_distance(x, state)
        parts = " + ".join(s.method for s in done.values() if s.method)
        return Step(state, length, residual, iterations, f"splitting: {parts}")

    def __repr__(self) -> str:
        turns = "" if self.turns is None else f", turns={self.turns}"
        return f"Splitting({self.transport!r}, {self.reaction!r}, symmetric={self.symmetric}, coupling={self.coupling!r}{turns})"


class _Sum:
    """What the steps of one part did, in lengths of the whole metric."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.distance, self.residual, self.iterations, self.method = 0.0, 0.0, 0, ""

    def add(self, step: Step) -> None:
        """Count one more step."""
        unit = 1.0 / float(np.sqrt(self.rate))
        self.distance += unit * step.distance
        self.residual = max(self.residual, unit * step.residual)
        self.iterations += step.iterations
        self.method = joined(self.method, step.method)
