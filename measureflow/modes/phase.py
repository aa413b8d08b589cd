"""Phase diagrams: what adversarial flows end as, by two of their parameters, and the thresholds between (theory, section 8)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike

from measureflow import _validate as check
from measureflow.modes.phase_models import MODELS, Measured, Model
from measureflow.modes.phase_ring import PLAIN, train, training_model

DIAGRAMS: Mapping[str, Model] = MappingProxyType({"training": training_model(), **MODELS})
"""Models of phase diagrams by name: adversarial training as it is, and the solvable models."""


@final
@dataclass(frozen=True, eq=False, repr=False)
class Threshold:
    """Where runs change, for every x of a phase diagram.

    Attributes
    ----------
    x, measured : ndarray, shape (k,)
        Parameters, and thresholds in y; NaN where no run changes.
    predicted : ndarray, shape (k,), or None
        What the theory says.
    exponent : float
        Slope of log measured against log x by least squares; NaN if x is 0 somewhere or fewer than three are known.
    """

    x: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray | None

    @property
    def error(self) -> np.ndarray:
        """Relative errors |measured/predicted - 1|, NaN where either is missing."""
        return np.abs(self.measured / (np.nan if self.predicted is None else self.predicted) - 1.0)

    @property
    def worst(self) -> float:
        """The largest relative error; NaN if none is known."""
        known = self.error[np.isfinite(self.error)]
        return float(known.max()) if len(known) else np.nan

    @property
    def exponent(self) -> float:
        known = np.isfinite(self.measured)
        if known.sum() < 3 or np.any(self.x <= 0.0):
            return np.nan
        return float(np.polyfit(np.log(self.x[known]), np.log(self.measured[known]), 1)[0])

    def __repr__(self) -> str:
        known = int(np.isfinite(self.measured).sum())
        text = f"exponent={self.exponent:.3g}" if self.predicted is None else f"largest error {100.0 * self.worst:.2g} %"
        return f"Threshold({known} of {len(self.x)} places, {text})"


@final
@dataclass(frozen=True, eq=False, repr=False)
class PhaseDiagram:
    """What runs ended as, by two parameters.

    Attributes
    ----------
    name : str
        Of the model, in `DIAGRAMS`.
    x : ndarray, shape (nx,)
    y : ndarray, shape (ny,)
        Numbers, or names.
    values : dict of str to ndarray, shape (ny, nx)
        What was measured; "value" is the quantity of the picture, "calm" the side of the threshold.
    status : ndarray of str, shape (ny, nx)
        "covers", "blurred", "collapses", "rotates", "frozen" or "converges".
    settings : dict
        Of the runs.

    Examples
    --------
    >>> import numpy as np
    >>> diagram = phase_diagram("fast-critic", [1.0, 4.0], np.geomspace(0.2, 8.0, 6))
    >>> diagram
    PhaseDiagram('fast-critic', 6 x 2: 7 rotates, 5 converges)
    >>> diagram.threshold()
    Threshold(2 of 2 places, largest error 0.1... %)
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    values: Mapping[str, np.ndarray]
    status: np.ndarray
    settings: Mapping[str, Any]

    @property
    def model(self) -> Model:
        """The model: words and prediction."""
        return _model(self.name, self.settings.get("axes"))

    @property
    def predicted(self) -> np.ndarray | None:
        """The threshold that the theory says for every x, None if it says none for these settings."""
        return self.model.predicted(self.x, **self.settings)

    def threshold(self, refine: int = 8) -> Threshold:
        """Return the threshold in y for every x: the first change along y, its bracket halved `refine` times by more runs.

        Halves are those of log y, or of y where it may be 0; models whose runs are one flow cut brackets into 16 at once.
        Brackets of whole numbers are left as they are.

        Raises
        ------
        ValueError
            If y is made of names.

        Examples
        --------
        >>> import numpy as np
        >>> edge = phase_diagram("step", [0.1, 0.4], np.geomspace(0.05, 0.9, 8)).threshold()
        >>> edge.measured.round(2), edge.predicted
        (array([0.1, 0.4]), array([0.1, 0.4]))
        """
        if self.model.named:
            raise ValueError(f"a diagram over names has no threshold in y, got {', '.join(self.y)}")
        halvings = 0 if self.model.whole_y else check.integer("refine", refine, least=0)
        calm = self.values["calm"].astype(bool)
        changes = calm[1:] != calm[:-1]
        found = changes.any(axis=0) if len(self.y) > 1 else np.zeros(len(self.x), bool)
        first = changes.argmax(axis=0) if found.any() else np.zeros(len(self.x), int)
        low, high = self._ruler(self.y[first]), self._ruler(self.y[np.minimum(first + 1, len(self.y) - 1)])
        below = calm[first, np.arange(len(self.x))]
        while halvings > 0 and found.any():
            cuts = min(halvings, 4) if self.model.at_once else 1
            low[found], high[found] = self._narrowed(self.x[found], low[found], high[found], below[found], 2**cuts)
            halvings -= cuts
        return Threshold(self.x, np.where(found, self._ruler(0.5 * (low + high), back=True), np.nan), self.predicted)

    def _ruler(self, y: np.ndarray, back: bool = False) -> np.ndarray:
        """Return log y, or y itself where it may be 0; or what has it."""
        if self.model.zero[1]:
            return y
        return np.asarray(np.exp(y) if back else np.log(y))

    def _narrowed(
        self, x: np.ndarray, low: np.ndarray, high: np.ndarray, below: np.ndarray, pieces: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return brackets on the ruler, a piece of the given ones, that hold the first change."""
        cuts = low + (high - low) * np.arange(1, pieces)[:, None] / pieces
        calm = self.model.measure(np.tile(x, pieces - 1), self._ruler(cuts, back=True).ravel(), **self.settings)["calm"]
        other = np.vstack([np.reshape(calm, cuts.shape) != below, np.ones((1, len(x)), bool)])
        piece = other.argmax(axis=0)
        width = (high - low) / pieces
        return low + piece * width, low + (piece + 1) * width

    def counts(self) -> dict[str, int]:
        """Return how many runs have each status."""
        names, numbers = np.unique(self.status, return_counts=True)
        order = np.argsort(-numbers, kind="stable")
        return {str(names[k]): int(numbers[k]) for k in order}

    def plot(self, edge: Threshold | None = None) -> Any:
        """Draw the diagram: the measured quantity, the statuses, the predicted threshold, and a measured one if given.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from measureflow.modes.pictures import phase_picture

        return phase_picture(self, edge)

    def __repr__(self) -> str:
        text = ", ".join(f"{count} {name}" for name, count in self.counts().items())
        return f"PhaseDiagram({self.name!r}, {len(self.y)} x {len(self.x)}: {text})"


def phase_diagram(
    name: str = "training",
    x: ArrayLike | None = None,
    y: ArrayLike | None = None,
    *,
    axes: tuple[str, str] | None = None,
    **settings: Any,
) -> PhaseDiagram:
    """Run a model at every pair of two parameters and say what the runs ended as.

    Parameters
    ----------
    name : str
        "training": particles against a law of neurons, as `ensemble` trains them, by two of its settings (`axes`); the others
        are `speed` of the critic, `ridge`, instance `noise`, `batch`, `packing`, `unrolling`, `critic_steps`, `coupling`,
        `target` (the ring by default), n, width, steps, critic_step, loss, spread, seed, progress.
        Or one of the solvable models: "rotating-wave" (M1), "spreading" (M2), "hopping" (M4), "fast-critic", "unrolling",
        "instance-noise", "step", "batch".
    x, y : array_like, optional
        Parameters, positive and increasing (noise and steps foreseen may start at 0); names of schemes for `y` if that is
        "coupling"; None: 20 each over two or three decades, or those that are usual of whole numbers.
    axes : pair of str, optional
        Of "training": two of "speed", "ridge", "noise", "batch", "packing", "unrolling", "critic_steps", and "coupling" as the
        second; None: speed and ridge.
    **settings
        Of the model; by default its own.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    The prediction for "training" is linear theory, of simultaneous steps only: rotations of modes grow below a ridge that falls
    like 1/speed. Runs lose their modes at 0.2 to 1.1 times that ridge (ring, grid, spiral; orbits that grow may stay small). In
    turns ("alternating") rotations do not grow near equilibrium, and no threshold is predicted; nor for other axes.

    All runs of a solvable model are one flow: its law has the members as its marginals (`SideBySide`). Those of "training" are
    compiled ensembles, one for each batch, packing, number of steps foreseen or scheme.

    Examples
    --------
    >>> import numpy as np
    >>> diagram = phase_diagram("rotating-wave", [0.5, 2.0], [0.2, 0.6, 2.0, 4.0])
    >>> diagram.status[:, 0].tolist()
    ['rotates', 'rotates', 'frozen', 'frozen']
    """
    model = _model(name, axes)
    own = _settings(name, axes)
    for key in settings:
        if key not in own:
            raise TypeError(f"{key} is not a setting of the model {name!r}, which has {', '.join(own) or 'none'}")
    across, up = _axis("x", x, model.grid[0], model.whole, model.zero[0]), _up(y, model)
    pairs = np.meshgrid(across, up)
    kept = dict(settings) | ({} if axes is None else {"axes": tuple(axes)})
    found: Measured = model.measure(pairs[0].ravel(), pairs[1].ravel(), **kept)
    tables = {key: np.reshape(value, (len(up), len(across))) for key, value in found.items()}
    status = tables.pop("status")
    return PhaseDiagram(name, across, up, MappingProxyType(tables), status, MappingProxyType(kept))


def _model(name: str, axes: Any) -> Model:
    """Return a model by name."""
    model = DIAGRAMS[check.choice("name", name, tuple(DIAGRAMS))]
    if axes is None:
        return model
    if name != "training":
        raise TypeError(f"axes are those of the model 'training', the model {name!r} has its own, got {check.show(axes)}")
    return training_model(axes)


def _settings(name: str, axes: Any) -> tuple[str, ...]:
    """Return the names of a model's settings."""
    if name != "training":
        return tuple(inspect.signature(DIAGRAMS[name].measure).parameters)[2:]
    return tuple(key for key in inspect.signature(train).parameters if key not in (axes or PLAIN))


def _up(y: Any, model: Model) -> np.ndarray:
    """Return the values of y after checking them."""
    if not model.named:
        return _axis("y", y, model.grid[1], model.whole_y, model.zero[1])
    names = model.grid[1].tolist()
    chosen = names if y is None else [check.choice("y", name, names) for name in check.entries("y", y, None, "names")]
    return np.array(chosen)


def _axis(name: str, values: Any, default: np.ndarray, whole: bool, zero: bool) -> np.ndarray:
    found = default if values is None else check.array(name, values, ndim=1)
    if not len(found) or np.any(found < 0.0) or np.any(np.diff(found) <= 0.0) or (found[0] == 0.0 and not zero):
        raise ValueError(f"{name} must hold positive, increasing numbers, got {check.show(values)}")
    if whole and np.any(found != np.round(found)):
        raise ValueError(f"{name} must hold whole numbers, got {check.show(values)}")
    return np.asarray(found, np.float64)
