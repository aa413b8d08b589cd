"""What a solution can be asked about the dynamics of its flow: the methods that `Solution` has of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from measureflow.diagnostics.averages import Averages, time_averages
from measureflow.diagnostics.balance import Balance, energy_balance
from measureflow.diagnostics.conserved import invariants
from measureflow.diagnostics.explain import Explanation, explained
from measureflow.diagnostics.gap import regrets
from measureflow.diagnostics.linearisation import Linearisation, linearise

if TYPE_CHECKING:
    from measureflow.solution import Solution


class Diagnosed(ABC):
    """A computed flow that answers questions about its energies, equilibria, averages and invariants."""

    @abstractmethod
    def _solved(self, what: str) -> Any:
        """Raise UnsupportedError unless the problem is at hand; `what` needs it."""

    def _with_problem(self, what: str) -> Solution:
        self._solved(what)
        return cast("Solution", self)

    def balance(self, exact: bool = False) -> Balance:
        """Return how the energies change from row to row: by the players' own moves, and by their opponents'.

        The changes add up exactly for every scheme, as nothing but rows is used: E_i(z_N) - E_i(z_0) = sum(own) + sum(opponent),
        and own = residual - dissipation (theory, 4.3; for zero-sum games also the identity of 3.1).

        Parameters
        ----------
        exact : bool
            Measure the dissipation by De Giorgi's interpolation, against the opponents that each step saw: then the residual is
            zero up to the inner solvers. For minimizing movements (JKO) whose steps were all saved.

        Returns
        -------
        Balance
            Columns `own`, `opponent`, `dissipation`, `residual`, `work`, each (steps,) or (steps, players), `energies` at the
            rows, and `payoff_residual`; ``balance.cumulative("own")`` sums a column.

        Raises
        ------
        TypeError, ValueError
            If the solution was loaded from a file, or `exact` is not available.

        Examples
        --------
        >>> import measureflow as mf
        >>> sol = mf.solve(mf.games.Bilinear(1.0), (mf.Vector(1.0), mf.Vector(0.0)), 1.0, 0.5)
        >>> balance = sol.balance(exact=True)
        >>> balance.own[:, 0], balance.opponent[:, 0]
        (array([ 0.   , -0.125]), array([0.5 , 0.375]))
        >>> bool(abs(balance.residual).max() < 1e-12)
        True
        """
        return energy_balance(self._with_problem("balance()"), exact)

    def duality_gap(self, averaged: bool = False, best_response: Any = None) -> np.ndarray:
        """Return the duality gap (Nikaido-Isoda function) sum_i [E_i(z) - min_u E_i(u; the others)] at every row.

        It is nonnegative, and zero at Nash points only. For zero-sum games it is max J(x, .) - min J(., y). The gap of the
        averages of a convex-concave game is at most D_0^2/(2t), D_0 the distance of the start from the best responses, even if
        the flow itself rotates for ever (theory, D3).

        Parameters
        ----------
        averaged : bool
            Take the gap at the states averaged over time up to each row: means of vectors, fields and masses, mixtures of
            atoms, by the trapezoidal rule.
        best_response : callable, optional
            (player, states) -> state that minimises the player's energy against the others of the tuple `states`. Default, and
            where it returns None: the game's own, or the minimiser of a quadratic energy.

        Returns
        -------
        ndarray, shape (rows,)

        Raises
        ------
        TypeError, ValueError
            If a player has no best response that is known, or its energy is unbounded below; if averages are no states
            (Gaussians); if the solution was loaded from a file.

        Examples
        --------
        >>> import measureflow as mf
        >>> game = mf.games.LinearQuadratic(1.0, 2.0, 1.0)
        >>> sol = mf.solve(game, (mf.Vector(1.0), mf.Vector(0.0)), 10.0, 0.1, scheme=mf.JKO("alternating"))
        >>> [round(float(gap), 6) for gap in sol.duality_gap()[[0, -1]]]
        [2.5, 0.0]
        """
        sol = self._with_problem("duality_gap()")
        return regrets(sol, averaged, best_response).sum(axis=1)

    def regrets(self, averaged: bool = False, best_response: Any = None) -> np.ndarray:
        """Return the players' parts E_i(z) - min_u E_i(u; the others) of the duality gap at every row.

        Parameters
        ----------
        averaged, best_response
            As in `duality_gap`.

        Returns
        -------
        ndarray, shape (rows,) or (rows, players)

        Raises
        ------
        TypeError, ValueError
            As `duality_gap`.

        Examples
        --------
        >>> import measureflow as mf
        >>> sol = mf.solve(mf.energies.Quadratic(), mf.Vector(1.0), 1.0, 0.5)
        >>> sol.regrets()
        array([0.5       , 0.22222222, 0.09876543])
        """
        sol = self._with_problem("duality_gap()")
        table = regrets(sol, averaged, best_response)
        return table[:, 0] if sol.single else table

    def linearisation(
        self, at: Any = None, *, step: bool = False, tau: float | None = None, difference: float = 1e-3
    ) -> Linearisation:
        """Return the Jacobian of the flow's velocity field, or of one step of its scheme, with its eigenvalues.

        The field is -eta_i grad_i E_i in chart coordinates at the point (normal coordinates, so that away from an equilibrium
        it is the covariant derivative). Central differences of fourth order: eigenvalues are right to about 1e-10 where the
        energies are smooth. At a kink they mean nothing, which `roughness` shows; boxes are not seen by the flow's field, and as
        kinks by steps. Multipliers of steps with inner solvers are right to tolerance/difference.

        Parameters
        ----------
        at : State or tuple of State, optional
            The point; default: the last row. Particles need distinct, quantiles strictly increasing values.
        step : bool
            Linearise the map from a point to the next instead: eigenvalues are the multipliers of the scheme (theory, 6), stable
            if all are inside the unit circle. Two-step schemes (optimistic coupling, BDF2) have twice as many.
        tau : float, optional
            The step; default: the first one of the solution.
        difference : float
            Step of the differences, in coordinates, relative to max(1, largest coordinate).

        Returns
        -------
        Linearisation
            `eigenvalues` least damped first, `matrix`, `residual` (zero at an equilibrium), `frequency`, `damping`, `stable`,
            `roughness`.

        Raises
        ------
        TypeError, ValueError
            If there are more than 400 coordinates, a metric has no chart, the scheme draws random numbers, the point lies on the
            boundary of its space, or the solution was loaded from a file.

        Examples
        --------
        >>> import measureflow as mf
        >>> sol = mf.solve(mf.games.Bilinear(2.0), (mf.Vector(1.0), mf.Vector(0.0)), 1.0, 0.1)
        >>> sol.linearisation().frequency.__round__(9)
        2.0
        >>> abs(sol.linearisation(step=True).eigenvalues).round(9)
        array([1.0198039, 1.0198039])
        """
        return linearise(self._with_problem("linearisation()"), at, step, tau, difference)

    def averages(self, observables: Any = None) -> Averages:
        """Return quantities of the flow at each row next to their means over the time up to it.

        A flow that rotates may converge in the mean (theory, D3, D10).

        Parameters
        ----------
        observables : dict, optional
            Further quantities: name -> function of the state (tuple of states), returning a number or an array of one shape.

        Returns
        -------
        Averages
            `instantaneous` and `running`: dicts of arrays (rows, ...). "values" of a `Vector` or `Field`, "masses" of a
            `Histogram`, "mean" and "covariance" of a law; in games with "player0_", "player1_" in front.

        Raises
        ------
        TypeError, ValueError
            If observables is not a dict of functions, or they return something else than numbers.

        Examples
        --------
        >>> import measureflow as mf
        >>> sol = mf.solve(mf.games.Bilinear(1.0), (mf.Vector(1.0), mf.Vector(0.0)), 62.8, 0.01, scheme=mf.JKO("alternating"))
        >>> averages = sol.averages()
        >>> averages.instantaneous["player0_values"][-1].round(2), abs(averages.running["player0_values"][-1]).round(2)
        (array([1.]), array([0.]))
        """
        return time_averages(cast("Solution", self), observables)

    def invariants(self, drift: bool = False) -> dict[str, np.ndarray]:
        """Return what the exact flow conserves, evaluated at every row.

        Parameters
        ----------
        drift : bool
            Subtract the value at the first row.

        Returns
        -------
        dict
            Name -> array (rows,); empty for games of which no invariant is known.

        Raises
        ------
        TypeError
            If the solution was loaded from a file.

        Examples
        --------
        >>> import measureflow as mf
        >>> sol = mf.solve(mf.games.Bilinear(1.0), (mf.Vector(1.0), mf.Vector(0.0)), 1.0, 0.5)
        >>> sol.invariants()
        {'squared radius': array([1.    , 1.25  , 1.5625])}
        """
        return invariants(self._with_problem("invariants()"), drift)

    def explain(self, centres: Any = None, std: Any = None) -> Explanation:
        """Return what happened, in words and numbers, and what the theory suggests against it.

        Looks for: rest, at the target or away from it, and the rate at which it was reached; rotation, its period, and whether
        flow or step makes its amplitude grow; modes of the target that are lost or changed; spreads that mini-batches shrink.
        Of a loaded solution only what the states show, not what needs the problem.

        Parameters
        ----------
        centres : array_like, shape (k, d), optional
            Modes of the target; default: clusters of the atoms of the problem's target, where there are any.
        std : float or array_like, shape (k,), optional
            Standard deviations of the modes; default: a quarter of the distance to the next mode is their radius.

        Returns
        -------
        Explanation
            `status`, `text`, `evidence` (name -> number), `suggestions` (with the values to set).

        Raises
        ------
        TypeError, ValueError
            If centres or std are not as described.

        Examples
        --------
        >>> import measureflow as mf
        >>> sol = mf.solve(mf.games.Bilinear(1.0), (mf.Vector(1.0), mf.Vector(0.0)), 20.0, 0.05)
        >>> found = sol.explain()
        >>> found.status, round(found.evidence["period"], 3), round(found.evidence["growth"], 4)
        (<Finding.rotates: 'rotates'>, 6.288, 0.025)
        >>> {s.name: round(s.value, 2) for s in found.suggestions if s.value}
        {'ridge': 2.0, 'unrolled': 1.0, 'scheme': 0.02}
        """
        return explained(cast("Solution", self), centres, std)
