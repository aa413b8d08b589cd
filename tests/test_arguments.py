"""Every public argument, given values it must refuse: the error is a ValueError or TypeError that names the argument.

A row of the table is a call with one bad value. Nothing else may leak (AssertionError, IndexError, numba errors, warnings,
which are errors here), and nothing may hang.
"""

from __future__ import annotations

import re
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import measureflow as mf
from measureflow import energies as e
from measureflow import games as g

NAN, INF = float("nan"), float("inf")
SECONDS = 60.0  # a guard against hangs on a slow machine, not a measurement

# --- values ---------------------------------------------------------------------------------------

ANYTHING: dict[str, Any] = {
    "string": "three",
    "bytes": b"3",
    "complex": 1j,
    "bool": True,
    "none": None,
    "object": object(),
    "dict": {},
    "set": {1.0},
    "generator": (k for k in range(3)),
    "empty": [],
    "ragged": [[1.0], [1.0, 2.0]],
    "objects": np.array([None, 1.0]),
    "strings": ["a", "b"],
    "nan": NAN,
    "infinity": INF,
    "huge": 10**400,
    "too many digits": 10**5000,
}
"""Wrong for a number; no entry is a state, an energy, a function or a path."""


def without(*labels: str) -> dict[str, Any]:
    return {label: value for label, value in ANYTHING.items() if label not in labels}


NUMBER = ANYTHING | {"minus infinity": -INF, "list": [1.0], "array": np.ones(2), "string of a number": "1.0", "type": float}
POSITIVE = NUMBER | {"zero": 0.0, "negative": -1.0, "minus zero": -0.0}
INTEGER = ANYTHING | {"float": 2.0, "array": np.ones(2, int), "negative": -1, "string of a number": "1"}
COUNT = INTEGER | {"zero": 0}
SEED = {label: value for label, value in INTEGER.items() if label not in ("huge", "too many digits", "none")}
ARRAY = without("bool", "nan", "infinity") | {
    "complex entries": [1j, 2.0],
    "bool entries": [True, False],
    "nan entry": [[NAN, 1.0], [1.0, 2.0]],
    "infinite entry": [[0.0, INF], [1.0, 2.0]],
    "huge entry": [[10**400, 1.0]],
    "objects in rows": np.array([[None, 1.0]], dtype=object),
    "strings in rows": [["1.0", "2.0"]],
    "4-D": np.zeros((1, 1, 1, 1)),
    "wide float": np.array([[np.longdouble("1e400")]]),
    "dates": np.array(["2020-01-01"], dtype="datetime64[D]"),
}
FUNCTION = without() | {"number": 1.0, "array": np.ones(2)}
CHOICE = ANYTHING | {"unknown": "nonsense", "number": 0.5, "array": np.ones(2), "type": str, "wrong case": "AUTO"}
FLAG = without("bool") | {"one": 1, "zero": 0.0, "string of a flag": "True", "array": np.array([True, False])}
OBJECT = ANYTHING | {"number": 1.0, "array": np.ones(2), "function": len, "type": mf.Vector}
PATH = OBJECT | {"empty string": "", "dot": ".", "null": "a\0b.npz", "bytes path": b"a.npz"}
OPTIONAL = "none"

# --- good values ----------------------------------------------------------------------------------

GRID = mf.Grid([(0.0, 1.0)], (4,))
LINE = mf.Particles([[0.0], [1.0]])
PLANE = mf.Particles([[0.0, 1.0], [2.0, 3.0]])
QUANTILES = mf.Quantiles([0.0, 1.0, 2.0])
HISTOGRAM = mf.Histogram([0.25, 0.25, 0.5, 0.0], GRID)
NORMAL = mf.Gaussian(0.0, 1.0)
VECTOR = mf.Vector([1.0, 2.0])
FIELD = mf.Field([0.0, 1.0, 0.0, 2.0], GRID)
WELL = e.Quadratic()
CRITIC = g.FeatureCritic(lambda x: x, lambda x: np.ones((len(x), 1, 1)))
LONG = mf.Vector([1.0, 2.0, 3.0])
NEURONS = mf.Particles([[1.0, 0.5, 0.0], [-1.0, 1.0, 0.2]])
SADDLE = g.Bilinear(1.0)
PAIR = (mf.Vector(1.0), mf.Vector(0.0))
W2 = mf.Wasserstein()


def first(x: np.ndarray) -> np.ndarray:
    return x[..., 0]


def dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x @ y.T


def kernel_game(**changed: Any) -> g.KernelGame:
    return g.KernelGame(**{"k": dot, "grad_x": dot, "grad_y": dot} | changed)


def gan(**changed: Any) -> g.GAN:
    return g.GAN(**{"target": LINE, "critic": CRITIC} | changed)


def crowd(**changed: Any) -> mf.Ensemble:
    game = g.GAN(LINE, critic=g.MLPCritic(()))
    return mf.ensemble(**{"game": game, "initial": (LINE, mf.Vector([1.0, 0.0])), "steps": 1, "tau": [0.1, 0.1]} | changed)


def solve(**changed: Any) -> mf.Solution:
    return mf.solve(**{"problem": WELL, "initial": VECTOR, "t_span": 1.0, "tau": 0.5} | changed)


def again(**changed: Any) -> mf.Solution:
    """Ask for a run that is finished."""
    with tempfile.TemporaryDirectory() as folder:
        solve(store=folder)
        return mf.resume(folder, **changed)


def play(**changed: Any) -> mf.Solution:
    return solve(**{"problem": SADDLE, "initial": PAIR} | changed)


def learn(**changed: Any) -> mf.Solution:
    return solve(**{"problem": e.MMD(LINE, "gaussian"), "initial": LINE, "batch": 1, "seed": 0} | changed)


FLOW = solve()
DUEL = play()

# fmt: off
# --- the table ------------------------------------------------------------------------------------

Call = Callable[[Any], Any]
TABLE: list[tuple[str, str, Call, dict[str, Any]]] = []


def refuse(label: str, name: str, call: Call, /, *groups: dict[str, Any], skip: tuple[str, ...] = (), **more: Any) -> None:
    """Add rows for one argument: the values of the groups (less those in `skip`) and those of `more`."""
    values = {what: value for group in groups for what, value in group.items() if what not in skip}
    TABLE.append((label, name, call, values | more))


# states
refuse("Particles", "points", lambda v: mf.Particles(v), ARRAY, NUMBER, one_dimension=[1.0, 2.0],
       none_there=np.ones((0, 2)), no_dimension=np.ones((2, 0)), three_dimensions=np.ones((2, 2, 2)))
refuse("Particles", "weights", lambda v: mf.Particles([[0.0], [1.0]], v), ARRAY, NUMBER, skip=("none",),
       negative=[1.5, -0.5], zero=[1.0, 0.0], sum_two=[1.0, 1.0], too_many=[0.2, 0.3, 0.5], column=[[0.5], [0.5]],
       huge_sum=[1e308, 1e308])
refuse("Grid", "bounds", lambda v: mf.Grid(v, (4,)), ARRAY, NUMBER, reversed=[(1.0, 0.0)], point=[(1.0, 1.0)],
       flat=(0.0, 1.0), three_columns=[(0.0, 1.0, 2.0)], four_dimensions=[(0.0, 1.0)] * 4,
       huge_width=[(-1e308, 1e308)], no_width=[(0.0, 5e-324)], rounding=[(1.0, 1.0 + 1e-15)])
refuse("Grid", "shape", lambda v: mf.Grid([(0.0, 1.0)], v), COUNT, two=(2, 2), zero_in=(0,), float_in=(2.0,),
       bool_in=(True,), huge_in=(10**400,), string_in=("2",))
refuse("Grid", "periodic", lambda v: mf.Grid([(0.0, 1.0)], (4,), v), FLAG, two=(True, False), number_in=(1,),
       none_in=(None,))
refuse("Histogram", "masses", lambda v: mf.Histogram(v, GRID), ARRAY, NUMBER, negative=[0.5, 0.75, -0.25, 0.0],
       sum_two=[0.5] * 4, too_few=[0.5, 0.5], zeros=np.zeros(4), huge_sum=[1e308] * 4, matrix=np.full((2, 2), 0.25))
refuse("Histogram", "grid", lambda v: mf.Histogram([1.0], v), OBJECT)
refuse("from_density", "f", lambda v: mf.Histogram.from_density(v, GRID), FUNCTION)
refuse("from_density", "grid", lambda v: mf.Histogram.from_density(first, v), OBJECT)
refuse("from_density", "f", lambda v: mf.Histogram.from_density(lambda x: v + 0.0 * x[..., 0], GRID), negative=-1.0,
       zero=0.0)
refuse("Quantiles", "values", lambda v: mf.Quantiles(v), ARRAY, NUMBER, skip=("list", "array"), decreasing=[1.0, 0.0],
       column=[[0.0], [1.0]])
refuse("Gaussian", "mean", lambda v: mf.Gaussian(v, 1.0), ARRAY, matrix=np.eye(2), nan=NAN, infinity=INF, bool=True)
refuse("Gaussian", "cov", lambda v: mf.Gaussian([0.0, 0.0], v), ARRAY, negative=-1.0, nan=NAN, infinity=INF, bool=True,
       too_small=[[1.0]], skew=[[1.0, 0.5], [0.0, 1.0]], indefinite=[[1.0, 2.0], [2.0, 1.0]],
       huge_skew=[[1e308, 1e308], [-1e308, 1e308]])
refuse("Vector", "values", lambda v: mf.Vector(v), ARRAY, matrix=np.eye(2), nan=NAN, infinity=INF, bool=True)
refuse("Field", "values", lambda v: mf.Field(v, GRID), ARRAY, NUMBER, too_few=[0.0, 1.0], matrix=np.eye(2))
refuse("Field", "grid", lambda v: mf.Field([1.0], v), OBJECT)
for law in (LINE, QUANTILES, HISTOGRAM, NORMAL):
    kind = type(law).__name__
    refuse(f"{kind}.sample", "n", lambda v, law=law: law.sample(v, 0), COUNT)
    refuse(f"{kind}.sample", "seed", lambda v, law=law: law.sample(2, v), SEED)
    refuse(f"{kind}.to_quantiles", "n", lambda v, law=law: law.to_quantiles(v), COUNT, skip=("none",))
refuse("to_quantiles", "n", lambda v: mf.Particles([[0.0], [1.0]], [0.4, 0.6]).to_quantiles(v), none=None)
refuse("Gaussian.to_quantiles", "n", lambda v: NORMAL.to_quantiles(v), none=None)
refuse("Gaussian.to_histogram", "grid", lambda v: NORMAL.to_histogram(v), OBJECT)
refuse("Gaussian.to_histogram", "grid", lambda v: NORMAL.to_histogram(v), plane=mf.Grid([(0.0, 1.0)] * 2, (2, 2)))
refuse("Gaussian.to_histogram", "grid", lambda v: NORMAL.to_histogram(v), far=mf.Grid([(1e6, 2e6)], (2,)))
refuse("Gaussian.density", "points", lambda v: NORMAL.density(v), ARRAY, skip=("4-D",), plane=np.zeros((3, 2)),
       number=1.0)
for state, name in ((PLANE, "points"), (QUANTILES, "values"), (HISTOGRAM, "masses"), (NORMAL, "coordinates"), (VECTOR, "values"),
                    (FIELD, "values")):
    refuse(f"{type(state).__name__}.replace", name, lambda v, state=state: state.replace(v), ARRAY, NUMBER,
           skip=("array",), too_many=np.ones((9, 9)), nan_entries=np.full(state.coordinates.shape, NAN))
refuse("Quantiles.replace", "values", lambda v: QUANTILES.replace(v), decreasing=np.array([1.0, 0.0, 2.0]))
refuse("Histogram.replace", "masses", lambda v: HISTOGRAM.replace(v), negative=np.array([1.5, -0.5, 0.0, 0.0]),
       sum_four=np.ones(4))
refuse("Gaussian.replace", "cov", lambda v: NORMAL.replace(v), negative=np.array([[0.0], [-1.0]]))

# metrics
refuse("Wasserstein", "p", lambda v: mf.Wasserstein(v), CHOICE, skip=("bool",), three=3, half=0.5, bool=True)
refuse("Wasserstein", "method", lambda v: mf.Wasserstein(method=v), CHOICE)
refuse("Wasserstein", "epsilon", lambda v: mf.Wasserstein(epsilon=v), POSITIVE)
refuse("Wasserstein", "projections", lambda v: mf.Wasserstein(projections=v), COUNT)
refuse("Wasserstein", "seed", lambda v: mf.Wasserstein(seed=v), INTEGER, too_large=2**32)
refuse("Sobolev", "order", lambda v: mf.Sobolev(v), NUMBER)
refuse("WassersteinFisherRao", "transport", lambda v: mf.WassersteinFisherRao(v), NUMBER, negative=-1.0)
refuse("WassersteinFisherRao", "reaction", lambda v: mf.WassersteinFisherRao(1.0, v), NUMBER, negative=-1.0)
refuse("WassersteinFisherRao", "transport and reaction", lambda v: mf.WassersteinFisherRao(v, v), zero=0.0)
refuse("Energy.first_variation", "law", lambda v: WELL.first_variation(v), OBJECT, vector=VECTOR, field=FIELD)
refuse("Particles.with_weights", "weights", lambda v: PLANE.with_weights(v), ARRAY, NUMBER, skip=("array",),
       negative=np.array([1.5, -0.5]), zeros=np.zeros(2), too_many=np.ones(3), nan_entries=np.full(2, NAN))
for metric, state in ((W2, PLANE), (mf.Euclidean(), VECTOR), (mf.Sobolev(), FIELD), (mf.FisherRao(), HISTOGRAM),
                      (mf.WassersteinFisherRao(), PLANE)):
    kind = type(metric).__name__
    refuse(f"{kind}.distance", "a", lambda v, m=metric, x=state: m.distance(v, x), OBJECT)
    refuse(f"{kind}.distance", "b", lambda v, m=metric, x=state: m.distance(x, v), OBJECT)
    refuse(f"{kind}.geodesic", "a", lambda v, m=metric, x=state: m.geodesic(v, x, 0.5), OBJECT)
    refuse(f"{kind}.geodesic", "b", lambda v, m=metric, x=state: m.geodesic(x, v, 0.5), OBJECT)
    refuse(f"{kind}.geodesic", "s", lambda v, m=metric, x=state: m.geodesic(x, x, v), NUMBER, below=-0.1, above=1.1)
refuse("distance", "a", lambda v: mf.distance(v, VECTOR), OBJECT)
refuse("distance", "b", lambda v: mf.distance(VECTOR, v), OBJECT)
refuse("distance", "metric", lambda v: mf.distance(VECTOR, VECTOR, v), OBJECT, skip=("none",))
refuse("distance", "a and b", lambda v: mf.distance(PLANE, v), other_dimension=LINE)
refuse("distance", "a and b", lambda v: mf.distance(VECTOR, v), other_size=mf.Vector([1.0]), other_kind=FIELD)
refuse("distance", "a and b", lambda v: mf.distance(FIELD, v),
       other_grid=mf.Field(np.ones(4), mf.Grid([(0.0, 2.0)], (4,))))

# energies
refuse("Potential", "V", lambda v: e.Potential(v), FUNCTION)
refuse("Potential", "grad", lambda v: e.Potential(first, v), FUNCTION, skip=(OPTIONAL,))
refuse("Potential", "prox", lambda v: e.Potential(first, prox=v), FUNCTION, skip=(OPTIONAL,))
refuse("Potential", "convexity", lambda v: e.Potential(first, convexity=v), NUMBER, skip=(OPTIONAL,))
refuse("Interaction", "W", lambda v: e.Interaction(v), FUNCTION)
refuse("Interaction", "grad", lambda v: e.Interaction(first, v), FUNCTION, skip=(OPTIONAL,))
refuse("Interaction", "singular", lambda v: e.Interaction(first, singular=v), FLAG)
refuse("Interaction", "convexity", lambda v: e.Interaction(first, convexity=v), NUMBER, skip=(OPTIONAL,))
refuse("Function", "f", lambda v: e.Function(v, first), FUNCTION)
refuse("Function", "grad", lambda v: e.Function(first, v), FUNCTION)
refuse("Function", "convexity", lambda v: e.Function(first, first, convexity=v), NUMBER, skip=(OPTIONAL,))
refuse("Quadratic", "matrix", lambda v: e.Quadratic(v), ARRAY, nan=NAN, bool=True, row=[1.0, 2.0],
       wide=np.ones((1, 2)), skew=[[1.0, 2.0], [0.0, 1.0]], wrong_size=np.ones((3, 2)))
refuse("Quadratic", "centre", lambda v: e.Quadratic(1.0, v), ARRAY, skip=(OPTIONAL,), nan=NAN, bool=True,
       matrix=np.eye(2))
refuse("Quadratic", "linear", lambda v: e.Quadratic(1.0, linear=v), ARRAY, skip=(OPTIONAL,), nan=NAN, bool=True,
       matrix=np.eye(2))
refuse("Quadratic", "matrix, centre and linear", lambda v: e.Quadratic(np.eye(2), v), too_long=[1.0, 2.0, 3.0])
refuse("Box", "lo", lambda v: e.Box(v, 1.0), NUMBER)
refuse("Box", "hi", lambda v: e.Box(0.0, v), POSITIVE)
refuse("Congestion", "density_cap", lambda v: e.Congestion(v), POSITIVE)
refuse("Congestion", "density_cap", lambda v: e.Congestion(v).value(HISTOGRAM), too_small=1.0)
refuse("Obstacle", "mask", lambda v: e.Obstacle(v), ARRAY, skip=("bool entries",), nan=NAN, numbers=[0.5, 1.0],
       all_blocked=[True, True], row_of_none=[None])
refuse("Entropy", "temperature", lambda v: e.Entropy(v), POSITIVE)
refuse("PowerEntropy", "m", lambda v: e.PowerEntropy(v), POSITIVE, one=1.0, one_int=1)
refuse("BlobEntropy", "bandwidth", lambda v: e.BlobEntropy(v), POSITIVE)
refuse("BlobEntropy", "temperature", lambda v: e.BlobEntropy(1.0, v), POSITIVE)
refuse("BlobPowerEntropy", "m", lambda v: e.BlobPowerEntropy(v, 1.0), POSITIVE, one=1.0, one_int=1)
refuse("BlobPowerEntropy", "bandwidth", lambda v: e.BlobPowerEntropy(2.0, v), POSITIVE)
for blob in (lambda **more: e.BlobEntropy(1.0, **more), lambda **more: e.BlobPowerEntropy(2.0, 1.0, **more)):
    refuse("blob", "mollifier", lambda v, blob=blob: blob(mollifier=v), CHOICE)
refuse("BlobEntropy", "bandwidth", lambda v: e.BlobEntropy(v).value(PLANE), tiny=1e-300, huge=1e300)
for projected in (e.SlicedWasserstein, e.SlicedEnergyDistance):
    refuse(projected.__name__, "target", lambda v, kind=projected: kind(v), OBJECT, normal=NORMAL, vector=VECTOR)
    refuse(projected.__name__, "target", lambda v, kind=projected: kind(v).value(PLANE), other_dimension=LINE)
    refuse(projected.__name__, "projections", lambda v, kind=projected: kind(LINE, v), COUNT)
    refuse(projected.__name__, "seed", lambda v, kind=projected: kind(LINE, 3, v), SEED)
    refuse(projected.__name__, "adapted", lambda v, kind=projected: kind(LINE, 3, 0, v), NUMBER,
           negative=-0.5, above_one=1.5)
refuse("SinkhornDivergence", "target", lambda v: e.SinkhornDivergence(v, 1.0), OBJECT, normal=NORMAL, vector=VECTOR)
refuse("SinkhornDivergence", "target", lambda v: e.SinkhornDivergence(v, 1.0).value(PLANE), other_dimension=LINE)
refuse("SinkhornDivergence", "epsilon", lambda v: e.SinkhornDivergence(LINE, v), POSITIVE)
refuse("SinkhornDivergence", "epsilon", lambda v: e.SinkhornDivergence(LINE, v).value(LINE), tiny=1e-320)
refuse("SinkhornDivergence", "tolerance", lambda v: e.SinkhornDivergence(LINE, 1.0, tolerance=v), POSITIVE)
refuse("SinkhornDivergence", "max_iterations", lambda v: e.SinkhornDivergence(LINE, 1.0, max_iterations=v), COUNT)
refuse("KL", "target", lambda v: e.KL(v), OBJECT, particles=LINE, quantiles=QUANTILES, singular=mf.Gaussian(0.0, 0.0),
       vector=VECTOR)
refuse("MMD", "target", lambda v: e.MMD(v, "gaussian"), OBJECT, normal=NORMAL, vector=VECTOR)
refuse("MMD", "kernel", lambda v: e.MMD(LINE, v), CHOICE, skip=("type",))
refuse("MMD", "bandwidth", lambda v: e.MMD(LINE, "gaussian", v), POSITIVE)
refuse("MMD", "squared", lambda v: e.MMD(LINE, "gaussian", squared=v), FLAG)
for divergence in (e.ChiSquared, e.JensenShannon, e.NonSaturating):
    refuse(divergence.__name__, "target", lambda v, kind=divergence: kind(v), OBJECT, particles=LINE, quantiles=QUANTILES,
           singular=mf.Gaussian(0.0, 0.0), vector=VECTOR)
    refuse(divergence.__name__, "target", lambda v, kind=divergence: kind(v).value(mf.Gaussian([0.0] * 2, 1.0)),
           other_dimension=NORMAL)
refuse("EnergyDistance", "target", lambda v: e.EnergyDistance(v), OBJECT, normal=NORMAL, field=FIELD)
refuse("SquaredWasserstein", "target", lambda v: e.SquaredWasserstein(v), OBJECT, vector=VECTOR, field=FIELD)
refuse("Wasserstein1", "target", lambda v: e.Wasserstein1(v), OBJECT, vector=VECTOR)
for target_energy in (e.SquaredWasserstein, e.Wasserstein1, e.MMD, e.EnergyDistance, e.KL):
    def attract(v: Any, kind: Any = target_energy) -> Any:
        return (kind(v, "gaussian") if kind is e.MMD else kind(v)).value(mf.Gaussian([0.0] * 2, 1.0) if kind is e.KL else PLANE)
    refuse(target_energy.__name__, "target", attract, other_dimension=NORMAL if target_energy is e.KL else LINE)
refuse("CellPotential", "values", lambda v: e.CellPotential(v), ARRAY, NUMBER, skip=("array", "list"))
refuse("CellPotential", "constant", lambda v: e.CellPotential([1.0], v), NUMBER)
refuse("CellPotential", "values", lambda v: e.CellPotential(v).value(HISTOGRAM), too_few=[1.0, 2.0], matrix=np.ones((2, 2)))
refuse("GaussianKernel", "bandwidth", lambda v: e.GaussianKernel(v), POSITIVE)
refuse("LaplaceKernel", "bandwidth", lambda v: e.LaplaceKernel(v), POSITIVE)
refuse("UserKernel", "k", lambda v: e.UserKernel(v), FUNCTION)
refuse("UserKernel", "grad_x", lambda v: e.UserKernel(dot, v), FUNCTION, skip=(OPTIONAL,))
for energy in (WELL, e.Entropy(), WELL + e.Entropy(), e.Box(0.0, 1.0), e.EnergyDistance(LINE), e.Function(first, first)):
    for method in ("value", "gradient", "value_and_gradient"):
        refuse(f"{energy!r}.{method}", "state", lambda v, ask=getattr(energy, method): ask(v), OBJECT)  # noqa: B008
refuse("energy * factor", "factor", lambda v: WELL * v, NUMBER, energy=WELL)
refuse("factor * energy", "factor", lambda v: v * WELL, NUMBER)
refuse("factor * energy", "factor", lambda v: v * (1e308 * WELL), overflow=1e308)
refuse("energy + other", "operand", lambda v: WELL + v, OBJECT)
refuse("energy - other", "operand", lambda v: WELL - v, OBJECT)
refuse("other + energy", "operand", lambda v: v + WELL, OBJECT,
       skip=("array", "objects", "string", "bytes", "strings", "empty", "ragged"))

# games
refuse("Game", "energies", lambda v: g.Game(v), ANYTHING, one=WELL, skip=("ragged", "strings"))
refuse("Game", "energies[0]", lambda v: g.Game([v]), OBJECT, skip=("function", "type"))
refuse("Game", "energies[1]", lambda v: g.Game([WELL, v]), OBJECT, skip=("function", "type"))
refuse("ZeroSum", "payoff", lambda v: g.ZeroSum(v), FUNCTION)
refuse("Bilinear", "C", lambda v: g.Bilinear(v), ARRAY, nan=NAN, bool=True, row=[1.0, 2.0])
refuse("LinearQuadratic", "P", lambda v: g.LinearQuadratic(v, np.eye(2), 1.0), ARRAY, nan=NAN, row=[1.0, 2.0],
       too_large=np.eye(3), skew=[[1.0, 2.0], [0.0, 1.0]])
refuse("LinearQuadratic", "C", lambda v: g.LinearQuadratic(1.0, v, 1.0), ARRAY, nan=NAN, bool=True, row=[1.0, 2.0])
refuse("LinearQuadratic", "Q", lambda v: g.LinearQuadratic(1.0, np.eye(2), v), ARRAY, nan=NAN, row=[1.0, 2.0],
       too_large=np.eye(3), skew=[[1.0, 2.0], [0.0, 1.0]])
refuse("QuadraticGame", "P", lambda v: g.QuadraticGame(v, np.eye(2), 1.0, np.eye(2)), ARRAY, nan=NAN, row=[1.0, 2.0],
       too_large=np.eye(3), skew=[[1.0, 2.0], [0.0, 1.0]])
refuse("QuadraticGame", "C", lambda v: g.QuadraticGame(1.0, v, 1.0, 1.0), ARRAY, nan=NAN, bool=True, row=[1.0, 2.0])
refuse("QuadraticGame", "Q", lambda v: g.QuadraticGame(1.0, np.eye(2), v, np.eye(2)), ARRAY, nan=NAN, row=[1.0, 2.0],
       too_large=np.eye(3), skew=[[1.0, 2.0], [0.0, 1.0]])
refuse("QuadraticGame", "D", lambda v: g.QuadraticGame(1.0, [[1.0, 2.0]], 1.0, v), ARRAY, nan=NAN, bool=True, number=1.0,
       row=[1.0, 2.0], as_C=[[1.0, 2.0]])
refuse("Noisy", "game", lambda v: g.Noisy(v, (1.0, 1.0)), OBJECT)
refuse("Noisy", "deviations", lambda v: g.Noisy(SADDLE, v), OBJECT, skip=("array", "objects", "ragged", "strings"),
       three=(1.0, 1.0, 1.0))
refuse("Noisy", "deviations[1]", lambda v: g.Noisy(SADDLE, (1.0, v)), ARRAY, nan=NAN, bool=True, negative=-1.0,
       negative_in=[1.0, -1.0], matrix=np.eye(2))
refuse("solve of a noisy game", "initial[0]", lambda v: play(problem=g.Noisy(SADDLE, (1.0, 1.0)), initial=(v, PAIR[0])),
       too_long=VECTOR, plane=PLANE)
refuse("Pursuit", "cooperative", lambda v: g.Pursuit(v), FLAG)
refuse("solve of a pursuit", "initial[1]", lambda v: play(problem=g.Pursuit(), initial=(QUANTILES, v)), OBJECT, vector=VECTOR,
       histogram=HISTOGRAM, normal=NORMAL, particles=LINE, shorter=mf.Quantiles([0.0, 1.0]))
refuse("Unrolled", "game", lambda v: g.Unrolled(v, 1, 0.1), OBJECT, not_zero_sum=g.Game([WELL, WELL]))
refuse("Unrolled", "steps", lambda v: g.Unrolled(SADDLE, v, 0.1), COUNT)
refuse("Unrolled", "size", lambda v: g.Unrolled(SADDLE, 1, v), POSITIVE)
refuse("Unrolled", "metric", lambda v: g.Unrolled(SADDLE, 1, 0.1, v), OBJECT, skip=(OPTIONAL,), name="euclidean")
refuse("Consensus", "game", lambda v: g.Consensus(v, 0.1), OBJECT, one_player=g.Game([WELL]))
refuse("Consensus", "gamma", lambda v: g.Consensus(SADDLE, v), NUMBER, negative=-1.0)
refuse("solve of unrolled quantiles", "initial[1]", lambda v: play(problem=g.Unrolled(SADDLE, 1, 0.1), initial=(PAIR[0], v)),
       quantiles=QUANTILES, normal=NORMAL)
refuse("solve of a consensus game", "initial[0]", lambda v: play(problem=g.Consensus(SADDLE, 1.0), initial=(v, PAIR[0])),
       quantiles=QUANTILES, normal=NORMAL)
refuse("solve of a large consensus game", "game",
       lambda v: play(problem=g.Consensus(g.Game([WELL, WELL]), 1.0), initial=(v, VECTOR)), many=mf.Vector(np.ones(200)))
refuse("KernelGame", "translation_invariant", lambda v: kernel_game(translation_invariant=v), FLAG)
refuse("KernelGame", "k", lambda v: kernel_game(k=v), FUNCTION)
refuse("KernelGame", "grad_x", lambda v: kernel_game(grad_x=v), FUNCTION)
refuse("KernelGame", "grad_y", lambda v: kernel_game(grad_y=v), FUNCTION)
refuse("KernelGame", "clip", lambda v: kernel_game(clip=v), OBJECT, skip=("array", "objects", "ragged", "strings"),
       three=(1.0, 1.0, 1.0))
refuse("KernelGame", "clip[0]", lambda v: kernel_game(clip=(v, None)), POSITIVE, skip=(OPTIONAL,))
refuse("KernelGame", "clip[1]", lambda v: kernel_game(clip=(1.0, v)), POSITIVE, skip=(OPTIONAL,))
refuse("Regularised", "game", lambda v: g.Regularised(v, [None, None]), OBJECT, energy=WELL)
refuse("Regularised", "energies", lambda v: g.Regularised(SADDLE, v), OBJECT, skip=("array", "objects", "strings", "ragged"),
       one=[WELL], three=[None] * 3)
refuse("Regularised", "energies[1]", lambda v: g.Regularised(SADDLE, [None, v]), OBJECT, skip=(OPTIONAL,), game=SADDLE)
refuse("MatrixGame", "A", lambda v: g.MatrixGame(v), ARRAY, NUMBER, row=[1.0, 2.0])
refuse("ModeWeights", "target", lambda v: g.ModeWeights(v), OBJECT, particles=LINE, vector=VECTOR)
refuse("ModeWeights", "beta", lambda v: g.ModeWeights(HISTOGRAM, v), NUMBER, negative=-1.0)
refuse("DiracGAN", "variant", lambda v: g.DiracGAN(v), CHOICE)
for name in ("clip", "r1", "instance_noise", "consensus"):
    refuse("DiracGAN", name, lambda v, name=name: g.DiracGAN("gan", **{name: v}), POSITIVE, skip=(OPTIONAL,))
refuse("DiracGAN", "gradient_penalty", lambda v: g.DiracGAN(gradient_penalty=v), OBJECT,
       skip=(OPTIONAL, "array", "objects", "strings", "ragged"), three=(1.0, 1.0, 1.0))
refuse("DiracGAN", "gradient_penalty[0]", lambda v: g.DiracGAN(gradient_penalty=(v, 1.0)), POSITIVE)
refuse("DiracGAN", "gradient_penalty[1]", lambda v: g.DiracGAN(gradient_penalty=(1.0, v)), NUMBER, negative=-1.0)
refuse("DiracGAN", "gradient_penalty", lambda v: g.DiracGAN(gradient_penalty=(1.0, 1.0), **v), clipped={"clip": 1.0},
       with_consensus={"consensus": 1.0})
refuse("GAN", "target", lambda v: gan(target=v), OBJECT, vector=VECTOR)
refuse("GAN", "loss", lambda v: gan(loss=v), CHOICE)
refuse("GAN", "critic", lambda v: gan(critic=v), OBJECT)
refuse("GAN", "penalty", lambda v: gan(penalty=v), OBJECT, skip=(OPTIONAL, "empty"))
refuse("Ridge", "beta", lambda v: g.Ridge(v), NUMBER, negative=-1.0)
refuse("GAN", "generator", lambda v: gan(generator=v), OBJECT, skip=(OPTIONAL,))
refuse("GAN", "penalty[1]", lambda v: gan(penalty=[g.Ridge(1.0), v]), OBJECT)
refuse("GAN", "pack", lambda v: gan(pack=v), COUNT)
refuse("GAN", "instance_noise", lambda v: gan(instance_noise=v), NUMBER, negative=-1.0)
for penalty in (g.R1, g.R2):
    refuse(penalty.__name__, "gamma", lambda v, kind=penalty: kind(v), NUMBER, negative=-1.0)
for penalty in (g.Clip, g.SpectralBound):
    refuse(penalty.__name__, "bound", lambda v, kind=penalty: kind(v), POSITIVE)
refuse("GradientPenalty", "weight", lambda v: g.GradientPenalty(v), NUMBER, negative=-1.0)
refuse("GradientPenalty", "slope", lambda v: g.GradientPenalty(1.0, v), NUMBER, negative=-1.0)
refuse("GradientPenalty", "one_sided", lambda v: g.GradientPenalty(1.0, one_sided=v), FLAG)
refuse("GradientPenalty", "where", lambda v: g.GradientPenalty(1.0, where=v), CHOICE)
for network in (g.MLPCritic, lambda *rest, **named: g.MLPGenerator(LINE, 1, *rest, **named)):
    name = "MLPCritic" if network is g.MLPCritic else "MLPGenerator"
    refuse(name, "widths", lambda v, network=network: network(v), OBJECT, skip=("empty",), zero=(0,), float=(2.0,))
    refuse(name, "activation", lambda v, network=network: network((2,), v), CHOICE)
    refuse(name, "dtype", lambda v, network=network: network((2,), dtype=v), CHOICE)
refuse("MLPGenerator", "latent", lambda v: g.MLPGenerator(v, 1), OBJECT, normal=NORMAL, vector=VECTOR)
refuse("MLPGenerator", "dim", lambda v: g.MLPGenerator(LINE, v), COUNT)
refuse("MLPCritic.initial", "dim", lambda v: g.MLPCritic().initial(v), COUNT)
for made in (lambda *rest: g.MLPCritic().initial(2, *rest), g.MLPGenerator(LINE, 1).initial):
    refuse("initial", "seed", lambda v, made=made: made(v), SEED, none=None)
    refuse("initial", "scale", lambda v, made=made: made(0, v), POSITIVE)
refuse("RKHSCritic", "kernel", lambda v: g.RKHSCritic(v, [[0.0]]), CHOICE, skip=("type",), energy="energy")
refuse("RKHSCritic", "centres", lambda v: g.RKHSCritic("gaussian", v), ARRAY, row=[1.0, 2.0], number=1.0)
refuse("RKHSCritic", "bandwidth", lambda v: g.RKHSCritic("gaussian", [[0.0]], v), POSITIVE)
refuse("FieldCritic", "grid", lambda v: g.FieldCritic(v), OBJECT, field=FIELD)
refuse("FieldCritic", "order", lambda v: g.FieldCritic(GRID, v), NUMBER)
refuse("Generated", "energy", lambda v: g.Generated(v, g.MLPGenerator(LINE, 1)), OBJECT, saddle=SADDLE)
refuse("Generated", "generator", lambda v: g.Generated(WELL, v), OBJECT, law=LINE)
refuse("FastCritic", "game", lambda v: g.FastCritic(v, 1), OBJECT, saddle=SADDLE)
refuse("FastCritic", "size", lambda v: g.FastCritic(gan(), v), COUNT)
refuse("NeuronCritic", "dtype", lambda v: g.NeuronCritic(dtype=v), CHOICE)
refuse("ensemble", "game", lambda v: crowd(game=v), OBJECT, one=(3,))
refuse("ensemble", "initial", lambda v: crowd(initial=v), OBJECT, one=(LINE,))
refuse("ensemble", "steps", lambda v: crowd(steps=v), COUNT)
refuse("ensemble", "tau", lambda v: crowd(tau=v), POSITIVE, skip=("list", "array"), negative_in=[-0.1])
refuse("ensemble", "speeds", lambda v: crowd(speeds=v), OBJECT, skip=(OPTIONAL, "array"), three=(1.0, 1.0, 1.0), zero=(0.0, 1.0))
refuse("ensemble", "coupling", lambda v: crowd(coupling=v), CHOICE, implicit="implicit")
refuse("ensemble", "critic_steps", lambda v: crowd(critic_steps=v), COUNT)
refuse("ensemble", "unrolled", lambda v: crowd(unrolled=v), INTEGER)
refuse("ensemble", "anew", lambda v: crowd(anew=v), FLAG, skip=(OPTIONAL,))
refuse("ensemble", "batch", lambda v: crowd(batch=v), COUNT, skip=(OPTIONAL,))
refuse("ensemble", "seeds", lambda v: crowd(seeds=v), SEED, skip=("array",), none=None)
refuse("ensemble", "save_at", lambda v: crowd(save_at=v), COUNT, skip=(OPTIONAL,))
refuse("ensemble", "progress", lambda v: crowd(progress=v), FLAG)
refuse("FeatureCritic", "features", lambda v: g.FeatureCritic(v, first), FUNCTION)
refuse("FeatureCritic", "gradient", lambda v: g.FeatureCritic(first, v), FUNCTION)
refuse("NeuronCritic", "activation", lambda v: g.NeuronCritic(v), CHOICE)
for critic, weights in ((CRITIC, mf.Vector(1.0)), (g.NeuronCritic(), NEURONS)):
    kind = type(critic).__name__
    for method in ("values", "values_and_slopes"):
        f = getattr(critic, method)
        refuse(f"{kind}.{method}", "state", lambda v, f=f: f(v, np.ones((2, 1))), OBJECT, quantiles=QUANTILES)
        refuse(f"{kind}.{method}", "points", lambda v, f=f, c=weights: f(c, v), ARRAY, NUMBER, row=[1.0])
for game, players in ((SADDLE, PAIR), (g.DiracGAN(), PAIR), (gan(), (LINE, mf.Vector(1.0))), (kernel_game(), (LINE, LINE)),
                      (g.QuadraticGame(1.0, 1.0, 1.0, 1.0), PAIR), (g.Noisy(SADDLE, (1.0, 1.0)), PAIR),
                      (g.Pursuit(), (QUANTILES, QUANTILES))):
    kind = type(game).__name__
    refuse(f"{kind}.energy", "player", lambda v, game=game, x=players: game.energy(v, x), INTEGER, two=2)
    refuse(f"{kind}.energy", "states", lambda v, game=game: game.energy(0, v), OBJECT, one=PAIR[:1],
           three=PAIR + PAIR[:1], skip=("array",))
    refuse(f"{kind}.energy", "states[1]", lambda v, game=game, x=players: game.energy(0, (x[0], v)), OBJECT)
    refuse(f"{kind}.energy", "states[0]", lambda v, game=game, x=players: game.energy(1, (v, x[1])), OBJECT,
           field=FIELD)
refuse("Bilinear.energy", "states[0]", lambda v: SADDLE.energy(1, (v, PAIR[1])), too_long=VECTOR)
refuse("DiracGAN.energy", "states[0]", lambda v: g.DiracGAN().energy(1, (v, PAIR[1])), too_long=VECTOR, law=LINE)
for game, players in ((g.MatrixGame(np.eye(4)), (HISTOGRAM, HISTOGRAM)), (g.ModeWeights(HISTOGRAM), (HISTOGRAM, LONG)),
                      (g.Regularised(SADDLE, [None, None]), PAIR)):
    refuse(f"{type(game).__name__}.energy", "states[0]", lambda v, game=game, x=players: game.energy(1, (v, x[1])), OBJECT,
           field=FIELD)
refuse("GAN.energy", "states[0]", lambda v: gan().energy(1, (v, PAIR[1])), plane=PLANE, vector=VECTOR)

# proximal, gradient check
refuse("proximal", "energy", lambda v: mf.proximal(v, mf.Euclidean(), VECTOR, 1.0), OBJECT, game=SADDLE)
refuse("proximal", "metric", lambda v: mf.proximal(WELL, v, VECTOR, 1.0), OBJECT, name="euclidean")
refuse("proximal", "x", lambda v: mf.proximal(WELL, mf.Euclidean(), v, 1.0), OBJECT)
refuse("proximal", "tau", lambda v: mf.proximal(WELL, mf.Euclidean(), VECTOR, v), POSITIVE)
refuse("check_gradient", "energy", lambda v: mf.check_gradient(v, VECTOR), OBJECT, game=SADDLE)
refuse("check_gradient", "state", lambda v: mf.check_gradient(WELL, v), OBJECT)
refuse("check_gradient", "seed", lambda v: mf.check_gradient(WELL, VECTOR, v), SEED, none=None)
refuse("check_gradient", "energy", lambda v: mf.check_gradient(e.Entropy(), v), infinite=mf.Quantiles([0.0, 0.0, 1.0]))
refuse("check_gradient", "energy", lambda v: mf.check_gradient(v, VECTOR), infinite=e.Box(0.0, 1.5))

# phase portraits
refuse("phase_portrait", "game", lambda v: mf.phase_portrait(v), OBJECT, three=g.Game([WELL] * 3))
refuse("phase_portrait", "orbits", lambda v: mf.phase_portrait(SADDLE, v), OBJECT, skip=("none", "dict"))
refuse("phase_portrait", "orbits['a']", lambda v: mf.phase_portrait(SADDLE, {"a": v}), OBJECT, single=FLOW)
refuse("phase_portrait", "box", lambda v: mf.phase_portrait(SADDLE, box=v), POSITIVE, skip=("array", "list"),
       three=(1.0, 2.0, 3.0))
refuse("phase_portrait", "box[1]", lambda v: mf.phase_portrait(SADDLE, box=((0.0, 1.0), v)), POSITIVE, reversed=(1.0, 0.0))
refuse("phase_portrait", "speeds", lambda v: mf.phase_portrait(SADDLE, speeds=v), POSITIVE, skip=(OPTIONAL, "array"),
       zero_in=(1.0, 0.0))
refuse("phase_portrait", "axes", lambda v: mf.phase_portrait(SADDLE, axes=v), OBJECT, skip=(OPTIONAL,))

# schemes
for scheme in (mf.JKO, mf.VIM, mf.ExtrapolatedVIM, mf.Explicit, mf.ThreeStage, mf.Richardson):
    refuse(scheme.__name__, "coupling", lambda v, scheme=scheme: scheme(v), CHOICE)
    refuse(scheme.__name__, "inner_steps", lambda v, scheme=scheme: scheme(inner_steps=v), OBJECT, skip=(OPTIONAL,),
           zero=(1, 0), negative=(-1,), float=(1.0,), string_in=("1",), bool_in=(True,), huge_in=(10**400,))
for scheme in (mf.JKO, mf.VIM, mf.ExtrapolatedVIM, mf.BDF2, mf.ExtrapolatedBDF2, mf.ThreeStage, mf.Richardson,
               mf.ForwardBackward):
    refuse(scheme.__name__, "tolerance", lambda v, scheme=scheme: scheme(tolerance=v), POSITIVE)
    refuse(scheme.__name__, "max_iterations", lambda v, scheme=scheme: scheme(max_iterations=v), COUNT)
for scheme in (mf.JKO, mf.Explicit):
    refuse(scheme.__name__, "unrolled", lambda v, scheme=scheme: scheme(unrolled=v), INTEGER)
    refuse("solve of one flow", "unrolled", lambda v, scheme=scheme: solve(scheme=scheme(unrolled=v)), one_player=2)
    refuse("solve of three players", "unrolled",
           lambda v, scheme=scheme: solve(problem=g.Game([WELL] * 3), initial=(VECTOR,) * 3, scheme=scheme(unrolled=v)), three=2)
    refuse("solve of a game", "game", lambda v, scheme=scheme: play(problem=v, scheme=scheme(unrolled=2)),
           not_zero_sum=g.Game([WELL] * 2))
for scheme in (mf.JKO, mf.VIM, mf.ExtrapolatedVIM, mf.Explicit, mf.Mirror):
    refuse(scheme.__name__, "turns", lambda v, scheme=scheme: scheme("alternating", turns=v), OBJECT, skip=(OPTIONAL,),
           twice=(0, 0), negative=(0, -1), float=(0.0, 1.0), gap=(0, 2))
    refuse(scheme.__name__, "turns", lambda v, scheme=scheme: scheme("simultaneous", turns=v), together=(1, 0))
refuse("solve of a game", "turns", lambda v: play(scheme=mf.JKO("alternating", turns=v)), three=(0, 1, 2))
refuse("VIM", "inner_steps", lambda v: mf.VIM("implicit", v), two=(1, 2))
for scheme in (mf.ThreeStage, mf.Richardson):
    refuse(scheme.__name__, "coupling", lambda v, scheme=scheme: scheme(v), implicit="implicit", optimistic="optimistic")
    refuse(scheme.__name__, "turns", lambda v, scheme=scheme: scheme("alternating", turns=v), gap=(0, 2))
refuse("ForwardBackward", "explicit", lambda v: mf.ForwardBackward(v), OBJECT, skip=(OPTIONAL,),
       unknown=("MMD", "Nonsense"), sum=("Sum",), type_in=(e.MMD,), class_name="MMD")
refuse("ForwardBackward", "coupling", lambda v: mf.ForwardBackward(None, v), CHOICE, adjoint="adjoint")
refuse("ForwardBackward", "inner_steps", lambda v: mf.ForwardBackward(inner_steps=v), zero=(1, 0))
refuse("ForwardBackward", "turns", lambda v: mf.ForwardBackward(None, "alternating", turns=v), gap=(0, 2))
refuse("JKO", "inner", lambda v: mf.JKO(inner=v), CHOICE)
for scheme in (mf.BDF2, mf.ExtrapolatedBDF2):
    refuse(scheme.__name__, "coupling", lambda v, scheme=scheme: scheme(v), CHOICE, symmetric="symmetric", adjoint="adjoint")
refuse("Explicit", "coupling", lambda v: mf.Explicit(v), adjoint="adjoint")
refuse("Langevin", "temperature", lambda v: mf.Langevin(v), NUMBER, skip=("list",), negative=-1.0, negative_in=(1.0, -1.0),
       nan_in=(NAN, 1.0))
refuse("Langevin", "coupling", lambda v: mf.Langevin(1.0, v), CHOICE, implicit="implicit")
refuse("Langevin", "seed", lambda v: mf.Langevin(1.0, seed=v), SEED, none=None)
refuse("Projected", "law", lambda v: mf.Projected(v), CHOICE, bdf2="bdf2")
for name in ("passes", "rows"):
    refuse("Projected", name, lambda v, name=name: mf.Projected(**{name: v}), COUNT)
refuse("Projected", "damping", lambda v: mf.Projected(damping=v), POSITIVE)
refuse("Projected", "relaxation", lambda v: mf.Projected(relaxation=v), POSITIVE, above=1.5)
refuse("Projected", "memory", lambda v: mf.Projected(memory=v), NUMBER, negative=-0.1, one=1.0)
refuse("Projected", "coupling", lambda v: mf.Projected(coupling=v), CHOICE, implicit="implicit")
refuse("Projected", "seed", lambda v: mf.Projected(seed=v), SEED, none=None)
refuse("solve with a network", "tau", lambda v: solve(tau=v, scheme=mf.Projected()), auto="auto")
refuse("solve of a game", "temperature", lambda v: play(scheme=mf.Langevin(v)), one=(1.0,), three=(1.0, 1.0, 1.0))
refuse("solve with noise", "tau", lambda v: solve(tau=v, scheme=mf.Langevin(1.0)), auto="auto")
refuse("solve with noise", "initial[0]", lambda v: solve(initial=v, scheme=mf.Langevin(1.0)), quantiles=QUANTILES, normal=NORMAL)

refuse("Splitting", "transport", lambda v: mf.Splitting(v), CHOICE, mirror="mirror")
refuse("Splitting", "reaction", lambda v: mf.Splitting(reaction=v), CHOICE, bdf2="bdf2")
refuse("Splitting", "symmetric", lambda v: mf.Splitting(symmetric=v), FLAG)
refuse("Splitting", "coupling", lambda v: mf.Splitting(coupling=v), CHOICE)
refuse("Splitting", "turns", lambda v: mf.Splitting(coupling="alternating", turns=v), OBJECT, skip=(OPTIONAL,), twice=(0, 0))
refuse("Mirror", "coupling", lambda v: mf.Mirror(v), CHOICE)
refuse("Mirror", "inner_steps", lambda v: mf.Mirror(inner_steps=v), OBJECT, skip=(OPTIONAL,), zero=(1, 0), float=(1.0,))
refuse("Mirror", "implicit", lambda v: mf.Mirror(implicit=v), FLAG)
refuse("Mirror", "tolerance", lambda v: mf.Mirror(tolerance=v), POSITIVE)
refuse("Mirror", "max_iterations", lambda v: mf.Mirror(max_iterations=v), COUNT)

# solve
refuse("solve", "problem", lambda v: solve(problem=v), OBJECT, state=VECTOR)
refuse("solve", "initial", lambda v: solve(initial=v), OBJECT, pair=PAIR)
refuse("solve of a game", "initial", lambda v: play(initial=v), OBJECT, skip=("array", "strings", "ragged", "objects"),
       one=PAIR[:1], alone=PAIR[0], three=PAIR + PAIR[:1])
refuse("solve of a game", "initial[1]", lambda v: play(initial=(PAIR[0], v)), OBJECT, too_long=VECTOR, field=FIELD)
refuse("solve of a kernel game", "initial[0]",
       lambda v: play(problem=kernel_game(clip=(0.5, None)), initial=(v, LINE)), OBJECT, outside=LINE,
       histogram=HISTOGRAM, vector=VECTOR, normal=NORMAL)
refuse("solve of a Dirac-GAN", "initial[0]", lambda v: play(problem=g.DiracGAN(), initial=(v, PAIR[1])), OBJECT,
       law=LINE, long=VECTOR)
refuse("solve of a Dirac-GAN", "initial[1]", lambda v: play(problem=g.DiracGAN(clip=0.5), initial=(PAIR[0], v)), OBJECT,
       law=LINE, long=VECTOR, outside=mf.Vector(0.6))
refuse("solve of a GAN", "initial[0]", lambda v: play(problem=gan(), initial=(v, PAIR[1])), OBJECT, vector=VECTOR,
       plane=PLANE)
refuse("solve of a GAN", "initial[1]", lambda v: play(problem=gan(), initial=(LINE, v)), OBJECT, law=LINE)
refuse("solve of a GAN", "initial[1]", lambda v: play(problem=gan(critic=g.NeuronCritic()), initial=(LINE, v)), OBJECT,
       plane=PLANE)
refuse("solve", "t_span", lambda v: solve(t_span=v), POSITIVE, skip=("objects", "strings", "array", "ragged"),
       three=(0.0, 1.0, 2.0), matrix=np.ones((2, 2)), overflow=(-1e308, 1e308))
refuse("solve", "t_span[0]", lambda v: solve(t_span=(v, 1.0)), NUMBER)
refuse("solve", "t_span[1]", lambda v: solve(t_span=(0.0, v)), POSITIVE)
refuse("solve", "t_span[1]", lambda v: solve(t_span=v), reversed=(1.0, 0.0), equal=[1.0, 1.0])
refuse("solve", "tau", lambda v: solve(tau=v), POSITIVE, tiny=1e-300, subnormal=5e-324)
refuse("solve", "tau", lambda v: solve(t_span=(1e16, 1e16 + 4.0), tau=v), below_rounding=0.1)
refuse("solve", "scheme", lambda v: solve(scheme=v), CHOICE, skip=("type",), a_type=mf.JKO)
refuse("solve", "metric", lambda v: solve(metric=v), OBJECT, skip=(OPTIONAL,), name="euclidean", a_type=mf.Euclidean)
refuse("solve of a game", "metric", lambda v: play(metric=v), OBJECT,
       skip=(OPTIONAL, "array", "strings", "ragged", "objects"), one=[mf.Euclidean()], three=[None] * 3)
refuse("solve of a game", "metric[1]", lambda v: play(metric=(None, v)), OBJECT, skip=(OPTIONAL,))
refuse("solve", "speeds", lambda v: solve(speeds=v), POSITIVE, skip=(OPTIONAL, "list"), two=(1.0, 1.0), zero_in=[0.0])
refuse("solve of a game", "speeds", lambda v: play(speeds=v), POSITIVE, skip=(OPTIONAL, "array"), one=[1.0],
       number=1.0, zero_in=(1.0, 0.0), negative_in=(1.0, -1.0), nan_in=(NAN, 1.0), string_in=("1", "1"),
       bool_in=(True, 1.0), none_in=(None, 1.0), matrix=np.ones((2, 2)))
refuse("solve", "batch", lambda v: learn(batch=v), COUNT, skip=(OPTIONAL,), too_many=3)
refuse("solve", "batch", lambda v: solve(batch=v, seed=0), no_target=1)
refuse("solve", "seed", lambda v: learn(seed=v), SEED, none=None)
refuse("solve", "seed", lambda v: solve(seed=v), SEED)
refuse("solve", "save_at", lambda v: solve(save_at=v), COUNT, skip=(OPTIONAL, "array"), decreasing=[0.5, 0.2],
       repeated=[0.5, 0.5], before=[-0.1, 0.5], after=[0.5, 1.5], nan_in=[NAN], matrix=np.eye(2), bool_in=[True])
refuse("solve", "events", lambda v: solve(events=v), OBJECT,
       skip=("empty", "array", "objects", "strings", "ragged", "function", "type", "bytes", "string"), string="f",
       bytes=b"f")
refuse("solve", "events[0]", lambda v: solve(events=[v]), OBJECT, skip=("function", "type"))
refuse("solve", "progress", lambda v: solve(progress=v), FLAG)
refuse("solve", "throw", lambda v: solve(throw=v), FLAG)
refuse("solve", "rtol", lambda v: solve(rtol=v), NUMBER, negative=-1e-3)
refuse("solve", "rtol", lambda v: solve(tau="auto", rtol=v), NUMBER, negative=-1e-3)
refuse("solve", "atol", lambda v: solve(tau="auto", atol=v), NUMBER, negative=-1e-3)
refuse("solve", "rtol", lambda v: solve(tau="auto", rtol=v, atol=v), both_zero=0.0)
refuse("solve", "tau", lambda v: solve(tau=v), capital="Auto", empty="", numpy=np.array("auto"))
refuse("solve", "store", lambda v: solve(store=v), PATH, skip=(OPTIONAL, "string"), file=Path(__file__),
       full=Path(__file__).parent)
refuse("resume", "path", lambda v: mf.resume(v), PATH, file=Path(__file__), no_run=Path(__file__).parent)
refuse("resume", "problem", lambda v: again(problem=v), OBJECT, skip=(OPTIONAL,))
refuse("resume", "problem", lambda v: again(problem=v), other=2.0 * WELL)
refuse("resume", "events", lambda v: again(events=v), OBJECT, skip=("empty", "array", "objects", "strings", "ragged", "function",
       "type", "bytes", "string"), string="f", more=lambda t, x: 1.0)
refuse("resume", "progress", lambda v: again(progress=v), FLAG)
refuse("resume", "throw", lambda v: again(throw=v), FLAG)
refuse("solve of a game", "inner_steps", lambda v: play(scheme=mf.JKO(inner_steps=v)), one=(1,), three=(1, 1, 1))


class Marked:
    """An event with attributes."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __call__(self, t: float, state: Any) -> float:
        return 1.0


refuse("solve", "events[0].terminal", lambda v: solve(events=Marked(terminal=v)), FLAG)
refuse("solve", "events[0].direction", lambda v: solve(events=Marked(direction=v)), NUMBER)

# solution
refuse("Solution()", "t", lambda v: FLOW(v), NUMBER, before=-0.1, after=1.1)
refuse("Solution()", "interpolation", lambda v: FLOW(0.25, v), CHOICE)
refuse("residuals", "test_states", lambda v: FLOW.residuals(v), OBJECT,
       skip=(OPTIONAL, "objects", "strings", "ragged"), alone=VECTOR)
refuse("residuals", "test_states[0]", lambda v: FLOW.residuals([v]), OBJECT, pair=PAIR, law=LINE, short=PAIR[0])
refuse("residuals of a game", "test_states[0]", lambda v: DUEL.residuals([v]), OBJECT, one=PAIR[:1], alone=PAIR[0],
       long=(VECTOR, VECTOR))
refuse("residuals", "convexity", lambda v: FLOW.residuals(convexity=v), NUMBER, skip=(OPTIONAL, "list"), nan_in=[NAN],
       two=[1.0, 1.0])
refuse("residuals of a game", "convexity", lambda v: DUEL.residuals(convexity=v), NUMBER, skip=(OPTIONAL, "array"),
       one=[1.0], nan_in=[NAN, 1.0])
refuse("balance", "exact", lambda v: FLOW.balance(v), FLAG)
refuse("cumulative", "name", lambda v: FLOW.balance().cumulative(v), CHOICE)
refuse("duality_gap", "averaged", lambda v: DUEL.duality_gap(v, lambda i, z: z[i]), FLAG)
refuse("duality_gap", "best_response", lambda v: DUEL.duality_gap(best_response=v), FUNCTION, skip=(OPTIONAL,))
refuse("duality_gap", "best_response", lambda v: DUEL.duality_gap(best_response=lambda i, z: v), OBJECT)
refuse("regrets", "best_response", lambda v: DUEL.regrets(best_response=v), FUNCTION, skip=(OPTIONAL,))
refuse("linearisation", "at", lambda v: FLOW.linearisation(v), OBJECT, skip=(OPTIONAL,), pair=PAIR, law=LINE)
refuse("linearisation of a game", "at", lambda v: DUEL.linearisation(v), OBJECT, skip=(OPTIONAL,), one=PAIR[:1], alone=PAIR[0],
       law=(PAIR[0], LINE))
refuse("linearisation", "step", lambda v: FLOW.linearisation(step=v), FLAG)
refuse("linearisation", "tau", lambda v: FLOW.linearisation(step=True, tau=v), POSITIVE, skip=(OPTIONAL,))
refuse("linearisation", "tau", lambda v: FLOW.linearisation(tau=v), number=0.1)
refuse("linearisation", "difference", lambda v: FLOW.linearisation(difference=v), POSITIVE, large=0.2)
refuse("averages", "observables", lambda v: FLOW.averages(v), OBJECT, skip=(OPTIONAL, "dict"), numbers={"a": 1.0}, names={1: len},
       taken={"values": len})
refuse("invariants", "drift", lambda v: DUEL.invariants(v), FLAG)
refuse("save", "path", lambda v: FLOW.save(v), PATH, skip=("string",), suffix="flow.csv")
refuse("load", "path", lambda v: mf.load(v), PATH, skip=("string",), source=Path(__file__))
refuse("animate", "path", lambda v: FLOW.animate(v), PATH, skip=("string",), suffix="flow.csv")
refuse("animate", "frames", lambda v: FLOW.animate("flow.gif", v), COUNT)

# fmt: on


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile the kernels once, so that the clock of `no_hang` sees no compiler."""
    e.MMD(LINE, "gaussian").value(LINE)
    e.MMD(LINE, "laplace").value(LINE)
    gan(critic=g.NeuronCritic()).energy(0, (LINE, NEURONS)).value(LINE)
    gan(critic=g.NeuronCritic()).energy(1, (LINE, NEURONS)).value(NEURONS)


@pytest.fixture(autouse=True)
def no_hang(compiled: None) -> Iterator[None]:
    """Interrupt a test, the few calls for one argument, after `SECONDS`."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"did not end within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, before)


def complaint(call: Call, name: str, value: Any) -> str | None:
    """Return what is wrong with the way a call refuses a value; None if it names the argument in a proper error."""
    try:
        result = call(value)
    except TimeoutError:
        raise
    except (np.linalg.LinAlgError, UnicodeError) as error:
        return f"leaks {error!r}"
    except (ValueError, TypeError) as error:
        text = str(error)
        if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text):
            return f"does not name the argument: {text}"
        return None if "\n" not in text and len(text) < 400 else f"is not one short line: {text}"
    except Exception as error:
        return f"leaks {error!r}"
    return f"accepted, returned {result!r}"


@pytest.mark.parametrize(
    ("name", "call", "values"), [row[1:] for row in TABLE], ids=[f"{label}({name})" for label, name, *_ in TABLE]
)
def test_bad_arguments_are_named(
    name: str, call: Call, values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    complaints = {what: text for what, value in values.items() if (text := complaint(call, name, value)) is not None}
    assert not complaints
    assert not list(tmp_path.iterdir()), "a refused call left a file"


def test_the_table_is_long() -> None:
    assert sum(len(values) for *_, values in TABLE) >= 4000


# --- values that are unusual but right ------------------------------------------------------------

UNUSUAL: dict[str, Callable[[], Any]] = {
    "integers as numbers": lambda: mf.Vector([1, 2]),
    "float32": lambda: mf.Particles(np.ones((2, 1), np.float32)),
    "not contiguous": lambda: mf.Particles(np.ones((4, 6))[::2, ::3]),
    "read-only": lambda: mf.Vector(VECTOR.values),
    "a state as an array": lambda: mf.Vector(VECTOR),
    "0-d array": lambda: mf.Gaussian(np.array(1.0), np.array(2.0)),
    "0-d number": lambda: solve(tau=np.array(0.5), t_span=np.float32(1.0)),
    "NumPy integers": lambda: LINE.sample(np.int64(3), np.uint8(4)),
    "a seed of 128 bits": lambda: LINE.sample(3, 2**127),
    "a large seed of a flow": lambda: learn(seed=10**30),
    "huge points": lambda: mf.Particles([[1e308], [1e308]]),
    "huge covariance": lambda: mf.Gaussian(0.0, 1e308),
    "huge vector": lambda: mf.Vector([1e308, -1e308]),
    "huge step": lambda: mf.proximal(WELL, mf.Euclidean(), VECTOR, 1e300),
    "tiny step": lambda: mf.proximal(WELL, mf.Euclidean(), VECTOR, 1e-300),
    "subnormal numbers": lambda: mf.distance(mf.Vector([5e-324]), mf.Vector([0.0])),
    "huge distance on the line": lambda: mf.distance(mf.Quantiles([1e300]), mf.Quantiles([-1e300])),
    "huge bandwidth": lambda: e.MMD(LINE, "gaussian", 1e300).value(LINE),
    "tiny bandwidth": lambda: e.MMD(LINE, "laplace", 1e-300).value(LINE),
    "far apart": lambda: e.MMD(mf.Particles([[1e150]]), "gaussian").value(LINE),
    "NumPy number times energy": lambda: np.float64(2.0) * WELL,
    "0-d array times energy": lambda: np.array(2.0) * WELL,
    "NumPy shape of a grid": lambda: mf.Grid(np.array([[0.0, 1.0]]), np.array([3]), np.array([True])),
    "speeds as an array": lambda: play(speeds=np.array([1.0, 2.0])),
    "list of states": lambda: play(initial=list(PAIR)),
    "time span as an array": lambda: solve(t_span=np.array([0.0, 1.0])),
    "step longer than the span": lambda: solve(tau=1e300),
    "one saved time": lambda: solve(save_at=[1.0]),
    "every hundredth step": lambda: solve(save_at=100),
    "weights that sum to 1 within rounding": lambda: mf.Particles(np.zeros((3, 1)), [0.1 + 0.2, 0.3, 0.4]),
    "one atom, one level, one cell": lambda: (
        mf.Particles([[0.0]]),
        mf.Quantiles([0.0]),
        mf.Histogram([1.0], mf.Grid([(0, 1)], 1)),
    ),
}


@pytest.mark.parametrize("call", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_unusual_argument_is_taken(call: Callable[[], Any]) -> None:
    call()


# --- what users' functions return -----------------------------------------------------------------

RESULTS: dict[str, Callable[[np.ndarray], Any]] = {
    "None": lambda good: None,
    "a string": lambda good: "1.0",
    "strings": lambda good: np.full(good.shape, "1.0"),
    "nan": lambda good: np.full(good.shape, NAN),
    "infinity": lambda good: np.full(good.shape, INF),
    "complex": lambda good: good + 1j,
    "objects": lambda good: np.full(good.shape, None),
    "ragged": lambda good: [[1.0], [1.0, 2.0]],
    "longer": lambda good: np.append(good, 1.0),
    "nested": lambda good: np.stack([good, good]),
    "nothing": lambda good: [],
    "a dict": lambda good: {},
    "a function": lambda good: len,
    "huge": lambda good: 10**400,
}

Bad = Callable[[Any], Any]
CALLBACKS: dict[str, tuple[str, Callable[[Bad], Any]]] = {
    "from_density": ("f", lambda bad: mf.Histogram.from_density(lambda x: bad(first(x) + 1.0), GRID)),
    "Potential.V": ("V", lambda bad: e.Potential(lambda x: bad(first(x))).value(PLANE)),
    "Potential.V on a Gaussian": ("V", lambda bad: e.Potential(lambda x: bad(first(x))).value(NORMAL)),
    "Potential.V on a Histogram": ("V", lambda bad: e.Potential(lambda x: bad(first(x))).value(HISTOGRAM)),
    "Potential.grad": ("grad", lambda bad: e.Potential(first, lambda x: bad(x * 1.0)).gradient(PLANE)),
    "Potential.prox": (
        "prox",
        lambda bad: mf.proximal(e.Potential(first, lambda x: x, prox=lambda x, tau: bad(x * 1.0)), W2, PLANE, 0.1),
    ),
    "Interaction.W": ("W", lambda bad: e.Interaction(lambda z: bad(first(z) ** 2)).value(PLANE)),
    "Interaction.grad": ("grad", lambda bad: e.Interaction(lambda z: first(z) ** 2, lambda z: bad(z * 1.0)).value(PLANE)),
    "Function.f": ("f", lambda bad: e.Function(lambda x: bad(np.array(1.0)), lambda x: x).value(VECTOR)),
    "Function.grad": ("grad", lambda bad: e.Function(lambda x: 1.0, lambda x: bad(x * 1.0)).gradient(VECTOR)),
    "Function.grad on a Gaussian": (
        "grad",
        lambda bad: e.Function(lambda x: 1.0, lambda x: bad(np.zeros((2, 1)))).gradient(NORMAL),
    ),
    "UserKernel.k": ("kernel", lambda bad: e.MMD(PLANE, e.UserKernel(lambda x, y: bad(dot(x, y)))).value(PLANE)),
    "UserKernel.grad_x": ("grad_x", lambda bad: e.MMD(LINE, e.UserKernel(dot, lambda x, y: bad(np.ones((2, 2, 1))))).value(LINE)),
    "MMD.kernel": ("kernel", lambda bad: e.MMD(PLANE, lambda x, y: bad(dot(x, y))).value(PLANE)),
    "Game": ("energies[0]", lambda bad: g.Game([lambda x, o: bad(np.ones(3))]).energy(0, (LONG,)).value(LONG)),
    "Game, value": ("energies[0]", lambda bad: g.Game([lambda x, o: (bad(np.array(1.0)), x)]).energy(0, (VECTOR,)).value(VECTOR)),
    "Game, gradient": ("energies[0]", lambda bad: g.Game([lambda x, o: (1.0, bad(x * 1.0))]).energy(0, (VECTOR,)).value(VECTOR)),
    "ZeroSum": ("payoff", lambda bad: g.ZeroSum(lambda x, y: bad(np.ones(2))).energy(0, PAIR).value(PAIR[0])),
    "ZeroSum, value": ("payoff", lambda bad: g.ZeroSum(lambda x, y: (bad(np.array(1.0)), x, y)).energy(1, PAIR).value(PAIR[1])),
    "ZeroSum, gradient in x": (
        "payoff",
        lambda bad: g.ZeroSum(lambda x, y: (1.0, bad(x * 1.0), y)).energy(0, PAIR).value(PAIR[0]),
    ),
    "ZeroSum, gradient in y": (
        "payoff",
        lambda bad: g.ZeroSum(lambda x, y: (1.0, x, bad(y * 1.0))).energy(1, PAIR).value(PAIR[1]),
    ),
    "KernelGame.k": ("k", lambda bad: kernel_game(k=lambda x, y: bad(dot(x, y))).energy(0, (LINE, LINE)).value(LINE)),
    "KernelGame.grad_x": (
        "grad_x",
        lambda bad: kernel_game(grad_x=lambda x, y: bad(np.ones((2, 2, 1)))).energy(0, (LINE, LINE)).value(LINE),
    ),
    "KernelGame.grad_y": (
        "grad_y",
        lambda bad: kernel_game(grad_y=lambda x, y: bad(np.ones((2, 2, 1)))).energy(1, (LINE, LINE)).value(LINE),
    ),
    "FeatureCritic.features": ("features", lambda bad: feature_critic(bad, None).values(mf.Vector(1.0), np.ones((2, 1)))),
    "FeatureCritic.gradient": (
        "gradient",
        lambda bad: feature_critic(None, bad).values_and_slopes(mf.Vector(1.0), np.ones((2, 1))),
    ),
    "GAN features": ("features", lambda bad: gan(critic=feature_critic(bad, None)).energy(0, (LINE, PAIR[0])).value(LINE)),
    "events": ("events", lambda bad: solve(events=lambda t, x: bad(np.array(1.0)))),
    "solve": ("V", lambda bad: solve(problem=e.Potential(lambda x: bad(first(x))))),
}


def feature_critic(bad_features: Bad | None, bad_gradient: Bad | None) -> g.FeatureCritic:
    keep: Bad = lambda good: good  # noqa: E731
    return g.FeatureCritic(lambda x: (bad_features or keep)(x * 1.0), lambda x: (bad_gradient or keep)(np.ones((len(x), 1, 1))))


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS.keys())
@pytest.mark.parametrize(("name", "call"), CALLBACKS.values(), ids=CALLBACKS.keys())
def test_callback_error_names_the_function(name: str, call: Callable[[Bad], Any], result: Callable[[np.ndarray], Any]) -> None:
    with pytest.raises(mf.CallbackError) as caught:
        call(lambda good: result(np.asarray(good)))
    assert re.search(rf"(?<!\w){re.escape(name)}(?!\w)", str(caught.value))


def test_a_callback_that_fails_within_a_flow_keeps_the_flow() -> None:
    def slope(x: Any) -> np.ndarray:
        return np.full(2, NAN) if x[0] < 0.5 else x * 1.0

    with pytest.raises(mf.CallbackError, match="grad must return finite values") as caught:
        solve(problem=e.Function(lambda x: 0.5 * np.sum(x**2), slope), scheme="explicit", t_span=10.0)
    assert caught.value.solution.states[-1][0] >= 0.25
    assert len(caught.value.solution.t) >= 2


def test_an_exception_of_a_users_function_is_visible() -> None:
    def broken(x: Any) -> Any:
        raise RuntimeError("the user's own error")

    with pytest.raises(RuntimeError, match="the user's own error"):
        solve(problem=e.Potential(broken))


def test_evenness_of_interactions_is_checked() -> None:
    with pytest.raises(mf.CallbackError, match="W must be even"):
        e.Interaction(first).value(PLANE)


def test_singular_interactions_name_the_remedy() -> None:
    with np.errstate(divide="ignore"), pytest.raises(mf.CallbackError, match="singular=True"):
        e.Interaction(lambda z: -np.log(np.abs(first(z)))).value(PLANE)


def test_objects_that_cannot_show_themselves_are_refused_in_words() -> None:
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError("no words")

    with pytest.raises(TypeError, match="tau must be .* an object of type Mute"):
        solve(tau=Mute())


def test_a_flow_that_fails_before_its_first_saved_time_is_empty_but_usable() -> None:
    broken = e.Function(lambda x: 1.0, lambda x: np.full(2, NAN) if x[0] < 1.0 else x * 1.0)
    with pytest.raises(mf.MeasureflowError) as caught:
        solve(problem=broken, scheme="explicit", save_at=[1.0], tau=0.25)
    flow = caught.value.solution
    assert len(flow) == 0
    assert flow.slopes.shape == flow.energies.shape == (0,)
    assert "no states" in repr(flow)
    with pytest.raises(ValueError, match="none was saved"):
        flow(0.5)
    with pytest.raises(ValueError, match="one row"):
        flow.save("empty.npz")


# --- files that are not solutions -----------------------------------------------------------------


def test_a_flipped_bit_or_a_short_file_is_refused_by_name(tmp_path: Path) -> None:
    path = FLOW.save(tmp_path / "flow.npz")
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for trial in range(150):
        broken = bytearray(content)
        if trial % 5 == 0:
            broken = broken[: rng.integers(0, len(content))]
        else:
            broken[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"^path must be a file that Solution\.save wrote"):
            mf.load(path)
