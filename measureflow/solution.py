"""What `solve` returns."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow import archive
from measureflow.diagnostics import Diagnosed
from measureflow.errors import UnsupportedError
from measureflow.metrics import Metric
from measureflow.residuals import Residuals, minimizing_step, step_residuals
from measureflow.rows import MemoryRows, Rows, StateList
from measureflow.schemes import JKO, Players, Scheme
from measureflow.states import State
from measureflow.status import Outcome, Status


@final
class Solution(Diagnosed):
    """A computed flow: states, energies and speeds at the saved times.

    Attributes
    ----------
    t : ndarray, shape (rows,)
        Saved times: the initial one and one after each step, unless `save_at` said otherwise.
    states : sequence
        The state at each time; a tuple of states, one a player, for games. Those of a run directory are read when asked for.
    energies : ndarray, shape (rows,) or (rows, players)
        Energies, each player's against the others.
    speeds : ndarray, shape (rows,) or (rows, players)
        Metric speed d(x_n, x_{n+1}) / tau of the step that ends at (or contains) each time; row 0 repeats row 1.
    slopes : ndarray, shape (rows,) or (rows, players)
        Metric slopes |dE|; NaN where the metric has no chart.
    info : dict
        "distance", "residual", "iterations", "method": what the steps since the row before did (length, largest residual of the
        inner solvers, their iterations, what solved them), shaped like `energies`. Fallbacks stand in the method: "projected" on
        constraints, "limited" masses of cells, "two distances", "on the cone", see the schemes; "; " joins different ones. The
        distance of atoms keeps their labels: an upper bound of W2, and equal to it where `Wasserstein.labels_certified` holds.
        "events": list of (index, time); "status", "message"; "steps" and "rejected", the numbers of steps taken and of steps
        tried and given up; "cpu_seconds"; "scheme".
    status : Status
        Why the flow ended: done, event, stalled, not_finite, not_converged or interrupted; `message` says it in one sentence,
        `success` is True for done and event.

    Examples
    --------
    >>> import measureflow as mf
    >>> sol = mf.solve(mf.energies.Quadratic(), mf.Vector(1.0), 1.0, 0.25)
    >>> sol.t
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])
    >>> sol(0.125)
    Vector([0.9])
    """

    def __init__(self, rows: Rows, players: Players | Any, scheme: Scheme | None, single: bool, outcome: Outcome) -> None:
        self.rows = rows
        self.players = players
        self.scheme = scheme
        self.single = single
        self.outcome = outcome

    @cached_property
    def t(self) -> np.ndarray:
        """Saved times, shape (rows,)."""
        return self.rows.times()

    @cached_property
    def states(self) -> Sequence[Any]:
        """The states of each row."""
        states = StateList(self.rows, self.single)
        return list(states) if isinstance(self.rows, MemoryRows) else states

    @cached_property
    def energies(self) -> np.ndarray:
        """Energies of the players."""
        return self._table("energies")

    @cached_property
    def speeds(self) -> np.ndarray:
        """Metric speeds of the steps."""
        speeds = self._table("speeds").copy()
        if len(speeds) > 1 and not np.any(speeds[0]):
            speeds[0] = speeds[1]
        return speeds

    @cached_property
    def slopes(self) -> np.ndarray:
        """Metric slopes |dE| at the saved states, shaped like `energies`; NaN where the metric has no chart."""
        return self._table("slopes")

    @cached_property
    def info(self) -> dict[str, Any]:
        """What the steps did, and how the flow ended."""
        ending = {**self.outcome.__dict__, "events": list(self.outcome.events)}
        ending.pop("t")
        methods = self.rows.methods()
        tables = {name: self._table(name) for name in ("distance", "residual", "iterations")}
        return {**tables, "method": methods[:, 0] if self.single else methods, **ending}

    @property
    def status(self) -> Status:
        """Why the flow ended."""
        return self.outcome.status

    @property
    def message(self) -> str:
        """Why the flow ended, in one sentence."""
        return self.outcome.message

    @property
    def success(self) -> bool:
        """Whether the flow ended as planned, at its last time or at a terminal event."""
        return self.outcome.status.success

    def _table(self, name: str) -> np.ndarray:
        table = self.rows.table(name)
        return table[:, 0] if self.single else table

    def row(self, k: int) -> tuple[Any, ...]:
        """Return the states of row k as a tuple, also for a single flow."""
        return (self.states[k],) if self.single else self.states[k]

    def __len__(self) -> int:
        return len(self.rows)

    def __call__(self, t: float, interpolation: str = "geodesic") -> Any:
        """Return the state (tuple of states) at any time.

        Parameters
        ----------
        t : float
            Between the first and the last saved time.
        interpolation : {"geodesic", "constant", "degiorgi"}
            Along the geodesic between saved states, labels kept; the state at the end of the step; or De Giorgi's variational
            interpolation x~(t_n + delta) = J_delta(x_n), which needs a minimizing-movement scheme and all steps saved.

        Raises
        ------
        TypeError, ValueError
            If t is outside, or the interpolation is unknown or not available: "geodesic" needs the player's metric.

        Notes
        -----
        W2 geodesics between `Histogram` leave the cells. There "geodesic" mixes the masses of the saved states, (1 - s) a + s b:
        mass, sign, walls and caps on the density are kept, and the error is of second order in the time between the rows, but
        the way is no geodesic, and the energy along it need not be convex where that along geodesics is. Ask "degiorgi", or
        save more steps, where that matters. In `FisherRao` the great circle between histograms is taken.
        """
        if not len(self.t):
            raise ValueError("t must lie in the saved times, and none was saved")
        t = check.scalar("t", t, least=float(self.t[0]), most=float(self.t[-1]))
        check.choice("interpolation", interpolation, ("geodesic", "constant", "degiorgi"))
        k = int(np.searchsorted(self.t, t, side="left"))
        if self.t[k] == t:
            return self.states[k]
        if interpolation == "constant":
            return self.states[k]
        if interpolation == "degiorgi":
            states = self._degiorgi(k - 1, t - float(self.t[k - 1]))
        else:
            if None in self.players.metrics:
                raise UnsupportedError("interpolation needs the metric, which files do not keep if it is a user's own")
            share = (t - self.t[k - 1]) / (self.t[k] - self.t[k - 1])
            pairs = zip(self.players.metrics, self.row(k - 1), self.row(k), strict=True)
            states = tuple(_between(metric, a, b, float(share)) for metric, a, b in pairs)
        return states[0] if self.single else states

    def residuals(self, test_states: Any = None, convexity: Any = None) -> Residuals:
        """Return how far the computed flow is from the identities of theory section 4.3 and 5.1, step by step.

        Parameters
        ----------
        test_states : list of states, optional
            The points z of the EVI (for games tuples of states); default: first, middle and last state.
        convexity : float or sequence of float, optional
            lambda of the EVI for each player; default: the energies' own where known, else 0.

        Returns
        -------
        Residuals
            Arrays `evi`, `energy_identity`, `degiorgi`, each (steps,) or (steps, players).

        Raises
        ------
        TypeError, ValueError
            If not all steps were saved, or the solution was loaded from a file (it has no energies to evaluate).
        """
        self._all_steps("residuals()")
        return step_residuals(self, test_states, convexity)

    def plot(self) -> Any:
        """Draw the flow: its states, energies and speeds.

        Returns
        -------
        matplotlib.figure.Figure
            Save it with ``figure.savefig(path)``. Needs the extra `plot`.
        """
        from measureflow.figures import figure

        return figure(self)

    def animate(self, path: str | Path, frames: int = 60) -> Path:
        """Write an animation of the states as a GIF.

        Parameters
        ----------
        path : str or Path
            File to write, ending in .gif.
        frames : int
            Number of pictures, evenly spaced in time.

        Returns
        -------
        Path
            The file.
        """
        from measureflow.figures import animation

        return animation(self, path, frames)

    def save(self, path: str | Path) -> Path:
        """Write the solution to one .npz file that `measureflow.load` and `numpy.load` read; no code is stored.

        Returns
        -------
        Path
            The file.
        """
        return archive.save(self, path)

    def to_xarray(self) -> Any:
        """Return the flow as a labelled `xarray.Dataset`, whose method ``to_netcdf`` writes it to a file.

        Times, tables and states become variables by their names here; see `measureflow.labelled.to_xarray`. All rows are read
        into memory. Needs the extra `xarray`.
        """
        from measureflow.labelled import to_xarray

        return to_xarray(self)

    def __repr__(self) -> str:
        names = [type(x).__name__ for x in self.row(0)] if len(self) else []
        rejected = f" ({self.outcome.rejected} more rejected)" if self.outcome.rejected else ""
        lines = [f"Solution of {' and '.join(names) or 'no states'}: {self.status} after {self.outcome.steps} steps{rejected}"]
        if not self.success:
            lines.append(f"  {self.message}")
        if len(self):
            lines.append(f"  t        {self.t[0]:g} to {self.t[-1]:g}, {len(self.t)} rows, scheme {self.info['scheme']}")
            lines.append(f"  energy   {_range(self.energies)}")
            lines.append(f"  speed    {_range(self.speeds)}")
            worst = float(np.max(self.info["residual"], initial=0.0))
            lines.append(f"  residual {worst:.3g} at most, {int(np.sum(self.info['iterations']))} inner iterations")
        return "\n".join(lines)

    def _repr_png_(self) -> bytes | None:
        try:
            return self.plot()._repr_png_() if len(self) else None
        except ImportError:
            return None

    def _solved(self, what: str) -> Players:
        if self.scheme is None:
            raise UnsupportedError(f"{what} needs the problem, which a file does not hold: solve it again here")
        return self.players

    def _all_steps(self, what: str) -> None:
        self._solved(what)
        if len(self) != self.outcome.steps + 1 or self.status is Status.event:
            raise ValueError(f"{what} needs every step: solve with save_at=None and without stopping at an event")
        assert self.scheme is not None
        if self.scheme.inner_steps is not None and max(self.scheme.inner_steps) > 1:
            raise ValueError(f"{what} needs one inner step a player, got inner_steps={self.scheme.inner_steps}")

    def _degiorgi(self, k: int, delta: float) -> tuple[Any, ...]:
        self._all_steps("the interpolation 'degiorgi'")
        if not isinstance(self.scheme, JKO):
            raise ValueError(f"the interpolation 'degiorgi' needs a minimizing movement (JKO), got {self.scheme!r}")
        return tuple(minimizing_step(self, k, player, delta).state for player in range(len(self.players)))


def _between(metric: Metric, a: State, b: State, share: float) -> State:
    try:
        return metric.between(a, b, share)
    except UnsupportedError as error:
        raise UnsupportedError(
            f"interpolation must be 'constant' where {metric!r} knows no {type(a).__name__} between steps, got 'geodesic'"
        ) from error


def _range(values: np.ndarray) -> str:
    first, last = np.atleast_1d(values[0]), np.atleast_1d(values[-1])
    return ", ".join(f"{a:.6g} -> {b:.6g}" for a, b in zip(first, last, strict=True))


def load(path: str | Path) -> Solution:
    """Read a solution that `Solution.save` wrote, or a run directory that `solve` writes to.

    Parameters
    ----------
    path : str or Path
        The .npz file, or the folder.

    Returns
    -------
    Solution
        With everything but the problem, so that it cannot compute new residuals; nothing in the file is executed. States and
        tables are read when they are asked for, so that a run larger than memory opens at once. Runs of up to 256 MiB are
        checked whole when they are opened, larger ones part by part when they are read.

    Raises
    ------
    TypeError, ValueError
        If path is not a path, or what is there is not a solution, byte for byte.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile, measureflow as mf
    >>> sol = mf.solve(mf.energies.Quadratic(), mf.Vector(1.0), 1.0, 0.25)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mf.load(sol.save(folder + "/run.npz")).states[-1]
    Vector([0.4096])
    """
    return Solution(**archive.read(path))
