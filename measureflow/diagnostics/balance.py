"""Where the energies of a computed flow go: own descent, the opponents' moves, dissipation (theory, 3.1 and 4.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.errors import UnsupportedError
from measureflow.metrics import Metric
from measureflow.residuals import length, variational_dissipation
from measureflow.schemes import JKO
from measureflow.states import State

if TYPE_CHECKING:
    from measureflow.solution import Solution

COLUMNS = ("own", "opponent", "dissipation", "residual", "work")


@final
@dataclass(frozen=True, eq=False, repr=False)
class Balance:
    """The energy balance of each step k: energies[k + 1] - energies[k] = own[k] + opponent[k].

    Own changes are what was dissipated, but for a residual: own[k] = residual[k] - dissipation[k].

    Attributes
    ----------
    t : ndarray, shape (rows,)
    energies : ndarray, shape (rows,) or (rows, players)
        E_i(x; y) at each row, y the opponents.
    own : ndarray, shape (steps,) or (steps, players)
        E_i(x+; s) - E_i(x; s) against frozen opponents s: the old ones, or with ``exact=True`` those that the step saw.
    opponent : ndarray, like `own`
        What the opponents' moves did: E_i(x+; y+) - E_i(x+; s) + E_i(x; s) - E_i(x; y). Zero for single flows.
    dissipation : ndarray, like `own`
        d(x, x+)^2/(2 tau) + (tau/4)(|dE_i|^2(x; s) + |dE_i|^2(x+; s)), or with ``exact=True`` d(x, x+)^2/(2 tau) +
        int_0^tau d(x, x~_delta)^2/(2 delta^2) d delta (De Giorgi); tau stands for eta_i tau. NaN where the metric has no chart.
    residual : ndarray, like `own`
        own + dissipation: O(tau^3) where everything is smooth; zero up to inner solvers and quadrature with ``exact=True``.
    work : ndarray, like `own`
        d(x, x+)^2 / (eta_i tau), the integral of the squared speed |x'|^2/eta_i.
    payoff_residual : ndarray, shape (rows,), or None
        Of the energy identity of zero-sum games, J(t_k) - J(t_0) + sum(work of player 0) - sum(work of player 1): O(tau); None
        for other games.
    """

    t: np.ndarray
    energies: np.ndarray
    own: np.ndarray
    opponent: np.ndarray
    dissipation: np.ndarray
    residual: np.ndarray
    work: np.ndarray
    payoff_residual: np.ndarray | None

    def __repr__(self) -> str:
        steps, players = len(self.own), 1 if self.energies.ndim < 2 else self.energies.shape[1]
        lines = [f"Balance of {steps} steps"]
        for k in range(players):
            sums = [float(np.sum(column.reshape(steps, players)[:, k])) for column in (self.own, self.opponent, self.dissipation)]
            worst = float(np.max(np.abs(self.residual.reshape(steps, players)[:, k]), initial=0.0))
            who = "energy" if players == 1 else f"player {k}: energy"
            moved = f"{sums[0]:+.6g} by own moves, {sums[1]:+.6g} by the opponents'" if players > 1 else f"{sums[0]:+.6g}"
            lines.append(f"  {who} {moved}; dissipated {sums[2]:.6g}, residual of a step at most {worst:.2g}")
        if self.payoff_residual is not None and steps:
            lines.append(f"  energy identity of the payoff: residual {self.payoff_residual[-1]:.2g} at the end")
        return "\n".join(lines)

    def cumulative(self, name: str) -> np.ndarray:
        """Return the sum of a column over all steps up to each row, zero at row 0: shaped like `energies`.

        Parameters
        ----------
        name : {"own", "opponent", "dissipation", "residual", "work"}

        Raises
        ------
        TypeError, ValueError
            If name is none of these.
        """
        column = getattr(self, check.choice("name", name, COLUMNS))
        return _accumulated(column, self.energies.shape)

    def plot(self) -> Any:
        """Draw how each player's energy changes, through its own moves and its opponents', and what it dissipates.

        Returns
        -------
        matplotlib.figure.Figure
            Save it with ``figure.savefig(path)``. Needs the extra `plot`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import measureflow as mf
        >>> sol = mf.solve(mf.games.Bilinear(1.0), (mf.Vector(1.0), mf.Vector(0.0)), 1.0, 0.5)
        >>> [axes.get_title() for axes in sol.balance().plot().axes]
        ['energy balance of player 0', 'energy balance of player 1', 'energy identity of the payoff']
        """
        from measureflow.diagnostics.picture import balance_figure

        return balance_figure(self)


def energy_balance(sol: Solution, exact: bool) -> Balance:
    """Return the balance of all steps between the rows of a solution."""
    if check.flag("exact", exact):
        sol._all_steps("balance(exact=True)")
        if not isinstance(sol.scheme, JKO):
            raise ValueError(f"balance(exact=True) needs a minimizing movement (JKO), got {sol.scheme!r}")
    count, steps = len(sol.players), max(len(sol) - 1, 0)
    energies = np.array([_values(sol, k) for k in range(len(sol))]).reshape(len(sol), count)
    entries = [[_step(sol, k, player, exact) for player in range(count)] for k in range(steps)]
    own, spent, work = np.moveaxis(np.array(entries, dtype=np.float64).reshape(steps, count, 3), 2, 0)
    opponent = energies[1:] - energies[:-1] - own

    payoff_residual = None
    if sol.players.game.zero_sum:
        total = _accumulated(work, energies.shape)
        payoff_residual = energies[:, 0] - energies[:1, 0] + total[:, 0] - total[:, 1]
    tables = (energies, own, opponent, spent, own + spent, work)
    e, own, opponent, spent, residual, work = (table[:, 0] if sol.single else table for table in tables)
    return Balance(sol.t, e, own, opponent, spent, residual, work, payoff_residual)


def _values(sol: Solution, k: int) -> list[float]:
    row = sol.row(k)
    return [sol.players.game.energy(player, row).value(x) for player, x in enumerate(row)]


def _step(sol: Solution, k: int, player: int, exact: bool) -> tuple[float, float, float]:
    """Return own change, dissipation and work of one step."""
    old, new = sol.row(k), sol.row(k + 1)
    x, u = old[player], new[player]
    seen = sol.scheme.seen_by(player, old, new) if exact and sol.scheme is not None else old
    energy, metric = sol.players.game.energy(player, seen), sol.players.metrics[player]
    tau = float(sol.t[k + 1] - sol.t[k]) * sol.players.speeds[player]
    moved = length(metric, x, u)
    if exact:
        spent = variational_dissipation(sol, k, player)
    else:
        slopes = [_slope(metric, z, energy) for z in (x, u)]
        spent = moved**2 / (2.0 * tau) + 0.25 * tau * float(np.sum(np.square(slopes)))
    return energy.value(u) - energy.value(x), spent, moved**2 / tau


def _slope(metric: Metric, state: State, energy: Energy) -> float:
    try:
        return metric.slope(state, metric.differential(energy, state))
    except (UnsupportedError, np.linalg.LinAlgError):
        return float("nan")


def _accumulated(column: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    total = np.zeros(shape)
    total[1:] = np.cumsum(column, axis=0)
    return total
