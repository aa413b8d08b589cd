"""Solutions as labelled arrays: an xarray Dataset, and netCDF files that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from measureflow import _validate as check
from measureflow.errors import UnsupportedError
from measureflow.files import renamed
from measureflow.states import Field, Histogram, Quantiles, State

if TYPE_CHECKING:
    from measureflow.solution import Solution

Label = tuple[tuple[str, ...], str]
GRID_DIMS = ("x0", "x1", "x2")
STATES: dict[str, dict[str, Label]] = {
    "Particles": {
        "points": (("atom", "axis"), "positions of the atoms"),
        "weights": (("atom",), "weights of the atoms"),
    },
    "Quantiles": {"values": (("level",), "quantiles of the law at the levels")},
    "Gaussian": {"mean": (("axis",), "mean of the law"), "cov": (("axis", "axis_"), "covariance of the law")},
    "Vector": {"values": (("component",), "components of the point")},
    "Histogram": {"masses": (GRID_DIMS, "masses of the cells")},
    "Field": {"values": (GRID_DIMS, "values at the cell centres")},
}
"""What every kind of state is made of: dimensions and a description; a grid has as many of its dimensions as it needs."""
TABLES = {
    "energies": "energy at the saved time",
    "speeds": "metric speed of the step that ends at or contains the saved time",
    "slopes": "metric slope of the energy at the saved time",
    "distance": "length of the steps since the row before",
    "residual": "largest residual of the inner solvers since the row before",
    "iterations": "iterations of the inner solvers since the row before",
}


def to_xarray(sol: Solution) -> Any:
    """Return a labelled copy of a solution: every variable has named dimensions, and `time` is a coordinate.

    A solution holds pure numbers, so that every variable has the units "1".

    Parameters
    ----------
    sol : Solution
        With at least one row; its states are read row by row, once.

    Returns
    -------
    xarray.Dataset
        `energies`, `speeds`, `slopes`, `distance`, `residual`, `iterations` (time,), for games (time, player).

        The states by the names of their constructors' arguments: `points` (time, atom, axis) and `weights` (atom,) of Particles,
        or (time, atom) if they change; `values` (time, level) of Quantiles; `mean` (time, axis) and `cov` (time, axis, axis_) of
        a Gaussian; `values` (time, component) of a Vector; `masses` of a Histogram and `values` of a Field
        (time, x0[, x1[, x2]]), with the cell centres as coordinates, whose attributes tell the grid. In games these variables,
        dimensions and coordinates begin with "player0_", "player1_", ... Datasets have methods of some of these names: write
        ``ds["values"]``.

        Attributes: `title`, the numbers and texts of ``sol.info``, and `event_times` and `event_indices` if there were events.

    Raises
    ------
    ValueError
        If the solution has no rows, or its states change shape.
    TypeError
        If a state is of a kind that has no labels.
    ImportError
        If xarray is not installed.

    Examples
    --------
    >>> import measureflow as mf
    >>> ds = to_xarray(mf.solve(mf.energies.Quadratic(), mf.Quantiles([0.0, 1.0]), 1.0, 0.25))
    >>> ds["values"].dims, ds["level"].values
    (('time', 'level'), array([0.25, 0.75]))
    >>> ds["values"].sel(time=0.5).values
    array([0.  , 0.64])
    """
    try:
        import xarray
    except ImportError as error:
        raise _missing("to_xarray", error) from error
    if not len(sol):
        raise ValueError("the solution must have at least one saved row to be labelled, got none")
    first = sol.row(0)
    coords = {"time": _variable(("time",), np.array(sol.t), "time")}
    if not sol.single:
        coords["player"] = _variable(("player",), np.arange(len(first)), "number of the player")
    variables = _tables(sol)
    for player, (state, arrays) in enumerate(zip(first, _arrays(sol, first), strict=True)):
        prefix = "" if sol.single else f"player{player}_"
        coords.update(_state_coordinates(state, prefix))
        variables.update(_state_variables(state, arrays, prefix))
    return xarray.Dataset(variables, coords, _attributes(sol, [type(state).__name__ for state in first]))


def write_netcdf(sol: Solution, path: str | Path) -> Path:
    """Write the Dataset of `to_xarray` to a netCDF-4 file, which ``xarray.open_dataset`` and other programs read.

    The numbers keep their bits. The file cannot be read back as a Solution; `Solution.save` is for that. The format has no
    lists of one entry: the time of a single event is read back as a number.

    Parameters
    ----------
    sol : Solution
        With at least one row; its Dataset is held in memory while it is written.
    path : str or Path
        File to write, ending in .nc (added if there is no ending); replaced at the end, so never half written.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    TypeError, ValueError
        If path is not as described, or the solution cannot be labelled (see `to_xarray`).
    ImportError
        If xarray or netCDF4 is not installed.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile, xarray, measureflow as mf
    >>> sol = mf.solve(mf.energies.Quadratic(), mf.Vector(1.0), 1.0, 0.25)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ds = xarray.load_dataset(write_netcdf(sol, folder + "/run.nc"))
    >>> ds["values"].sel(time=1.0).values, ds.attrs["title"]
    (array([0.4096]), 'flow of Vector')
    """
    target = check.path("path", path, ".nc")
    try:
        import netCDF4  # noqa: F401
    except ImportError as error:
        raise _missing("write_netcdf", error) from error
    dataset = to_xarray(sol)
    with renamed(target) as temporary:
        temporary.touch()  # netCDF calls a missing folder a missing permission
        dataset.to_netcdf(temporary.absolute(), engine="netcdf4")  # xarray takes a leading "~" for the home folder
    return target


def _missing(caller: str, error: ImportError) -> ImportError:
    """Return the error that says which extra brings what is missing."""
    return ImportError(f'{caller} needs {error.name}: pip install "measureflow[xarray]"')


def _variable(dims: tuple[str, ...], values: np.ndarray, long_name: str, **attrs: Any) -> tuple[Any, ...]:
    """Return what xarray makes a variable of."""
    return dims, values, {"long_name": long_name, "units": "1", **attrs}


def _tables(sol: Solution) -> dict[str, tuple[Any, ...]]:
    dims = ("time",) if sol.single else ("time", "player")
    tables = {"energies": sol.energies, "speeds": sol.speeds, "slopes": sol.slopes, **sol.info}
    return {name: _variable(dims, np.array(tables[name]), text) for name, text in TABLES.items()}


def _labels(state: State) -> dict[str, Label]:
    """Return dimensions and description of each array that a state is made of."""
    kind = type(state).__name__
    if kind not in STATES:
        raise UnsupportedError(f"to_xarray has labels for {', '.join(STATES)}, got {kind}")
    return {name: (dims[: getattr(state, name).ndim], text) for name, (dims, text) in STATES[kind].items()}


def _arrays(sol: Solution, first: tuple[State, ...]) -> list[dict[str, np.ndarray]]:
    """Return every player's arrays with time in front, except weights that stay as they are."""
    arrays = [_start(state, len(sol)) for state in first]
    for k in range(1, len(sol)):
        for old, state, held in zip(first, sol.row(k), arrays, strict=True):
            _require_alike(old, state, k)
            for name in held:
                held[name] = _with_row(held[name], k, getattr(state, name), len(sol))
    return arrays


def _start(state: State, rows: int) -> dict[str, np.ndarray]:
    """Return the arrays with row 0 written: weights of one row, because they seldom change, the others of all rows."""
    arrays = {}
    for name in _labels(state):
        part = getattr(state, name)
        arrays[name] = np.empty(part.shape if name == "weights" else (rows, *part.shape))
        arrays[name][... if name == "weights" else 0] = part
    return arrays


def _with_row(held: np.ndarray, k: int, part: np.ndarray, rows: int) -> np.ndarray:
    """Return the array with row k written; one row that held until now is spread to all rows when it changes."""
    if held.ndim == part.ndim:
        if np.array_equal(held, part):
            return held
        held = np.broadcast_to(held, (rows, *held.shape)).copy()
    held[k] = part
    return held


def _require_alike(first: State, state: State, k: int) -> None:
    """Raise unless row k fits into the arrays of the first row; NumPy would spread one atom to all places."""
    alike = type(state) is type(first) and state.coordinates.shape == first.coordinates.shape
    if not alike or getattr(state, "grid", None) != getattr(first, "grid", None):
        raise ValueError(f"the solution must keep its states' shape to be labelled, got {first!r}, then {state!r} in row {k}")


def _state_variables(state: State, arrays: dict[str, np.ndarray], prefix: str) -> dict[str, tuple[Any, ...]]:
    variables = {}
    for name, (dims, text) in _labels(state).items():
        own = tuple(prefix + dim for dim in dims)
        spread = arrays[name].ndim > len(own)
        variables[prefix + name] = _variable(("time", *own) if spread else own, arrays[name], text)
    return variables


def _state_coordinates(state: State, prefix: str) -> dict[str, tuple[Any, ...]]:
    """Return the levels of quantiles, or the cell centres of a grid with what is needed to rebuild it."""
    if isinstance(state, Quantiles):
        level = f"{prefix}level"
        return {level: _variable((level,), state.levels, "levels (i + 1/2)/n of the quantiles")}
    if not isinstance(state, (Histogram, Field)):
        return {}
    coords = {}
    for i, (lower, upper) in enumerate(state.grid.bounds):
        name = prefix + GRID_DIMS[i]
        box = {"lower": lower, "upper": upper, "periodic": int(state.grid.periodic[i])}
        coords[name] = _variable((name,), state.grid.axes[i].copy(), f"cell centres along axis {i}", **box)
    return coords


def _attributes(sol: Solution, kinds: list[str]) -> dict[str, Any]:
    """Return what netCDF can keep of the description of a flow: texts, numbers and lists of numbers."""
    attrs: dict[str, Any] = {"title": f"{'dual ' if len(kinds) == 2 else ''}flow of {' and '.join(kinds)}"}
    for name, value in sol.info.items():
        plain = _plain(value)
        if plain is not None:
            attrs[name] = plain
    events = sol.info.get("events", ())
    if len(events):
        attrs["event_times"] = [float(t) for _, t in events]
        attrs["event_indices"] = [int(index) for index, _ in events]
    return attrs


def _plain(value: Any) -> str | int | float | None:
    """Return a text or number as netCDF has it (True and False as 1 and 0, long integers as text), None for anything else."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (bool, np.bool_, int, np.integer)):
        return int(value) if -(2**63) <= value < 2**63 else str(value)
    return float(value) if isinstance(value, (float, np.floating)) else None
