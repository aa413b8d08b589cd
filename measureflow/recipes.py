"""Objects of the package as data: from a recipe the same object can be made again, without running code that a file names.

A recipe is JSON data and named arrays. Names of classes and functions are looked up in the tables here, never imported. What is
not in the tables, as a user's function, is only noted by its name: such a recipe says what it lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np

from measureflow import _validate as check
from measureflow import energies as e
from measureflow import games as g
from measureflow.errors import UnsupportedError
from measureflow.games.quadratic_critic import monomial_slopes, monomials
from measureflow.metrics import Euclidean, FisherRao, Sobolev, Wasserstein, WassersteinFisherRao
from measureflow.schemes import (
    BDF2,
    JKO,
    RK2,
    RK4,
    VIM,
    Explicit,
    ExtrapolatedBDF2,
    ExtrapolatedVIM,
    ForwardBackward,
    Langevin,
    Mirror,
    Projected,
    Richardson,
    Splitting,
    ThreeStage,
)
from measureflow.states import Field, Gaussian, Grid, Histogram, Particles, Quantiles, Vector

F = TypeVar("F", bound=Callable[..., Any])
DEEPEST = 60
MATRIX = np.zeros((1, 1))

# class -> arguments of its constructor; "argument=attribute" where the attribute has another name
ARGUMENTS: dict[type, str] = {
    Particles: "points weights",
    Quantiles: "values",
    Histogram: "masses grid",
    Gaussian: "mean cov",
    Vector: "values",
    Field: "values grid",
    Grid: "bounds shape periodic",
    Wasserstein: "p method epsilon projections seed",
    Euclidean: "",
    Sobolev: "order",
    FisherRao: "",
    WassersteinFisherRao: "transport reaction",
    JKO: "coupling inner_steps turns unrolled tolerance=tolerance.residual max_iterations=tolerance.max_iterations "
    "inner=tolerance.inner",
    VIM: "coupling inner_steps turns tolerance=tolerance.residual max_iterations=tolerance.max_iterations",
    BDF2: "coupling tolerance=tolerance.residual max_iterations=tolerance.max_iterations",
    ExtrapolatedBDF2: "coupling tolerance=tolerance.residual max_iterations=tolerance.max_iterations",
    ThreeStage: "coupling inner_steps turns tolerance=tolerance.residual max_iterations=tolerance.max_iterations",
    Richardson: "coupling inner_steps turns tolerance=tolerance.residual max_iterations=tolerance.max_iterations",
    ForwardBackward: ("explicit coupling inner_steps turns tolerance=tolerance.residual max_iterations=tolerance.max_iterations"),
    Explicit: "coupling inner_steps turns unrolled",
    ExtrapolatedVIM: "coupling inner_steps turns tolerance=tolerance.residual max_iterations=tolerance.max_iterations",
    RK2: "",
    RK4: "",
    Langevin: "temperature coupling seed",
    Projected: "law passes rows damping relaxation memory coupling seed",
    Splitting: "transport reaction symmetric coupling turns",
    Mirror: "coupling inner_steps turns implicit tolerance=tolerance.residual max_iterations=tolerance.max_iterations",
    e.BlobEntropy: "bandwidth temperature mollifier",
    e.BlobPowerEntropy: "m bandwidth mollifier",
    e.Box: "lo hi",
    e.CellPotential: "values constant",
    e.Congestion: "density_cap",
    e.MMD: "target kernel squared",
    e.EnergyDistance: "target",
    e.KL: "target",
    e.ChiSquared: "target",
    e.JensenShannon: "target",
    e.NonSaturating: "target",
    e.Entropy: "temperature",
    e.PowerEntropy: "m",
    e.Function: "f grad convexity",
    e.Interaction: "W grad singular convexity",
    e.QuadraticInteraction: "strength",
    e.EnergyKernel: "",
    e.GaussianKernel: "bandwidth",
    e.LaplaceKernel: "bandwidth",
    e.UserKernel: "k grad_x",
    e.Obstacle: "mask",
    e.Potential: "V grad prox convexity",
    e.Quadratic: "matrix centre linear constant",
    e.SinkhornDivergence: "target epsilon tolerance max_iterations",
    e.SlicedEnergyDistance: "target projections seed adapted",
    e.SlicedWasserstein: "target projections seed adapted",
    e.SquaredWasserstein: "target",
    e.Wasserstein1: "target",
    g.Game: "energies",
    g.ZeroSum: "payoff",
    g.FeatureCritic: "features gradient",
    g.NeuronCritic: "activation dtype",
    g.DiracGAN: "variant clip gradient_penalty r1 instance_noise consensus",
    g.GAN: "target loss critic generator penalty pack instance_noise",
    g.Generated: "energy generator",
    g.MLPGenerator: "latent dim widths activation dtype",
    g.MLPCritic: "widths activation dtype",
    g.RKHSCritic: "kernel centres",
    g.FieldCritic: "grid order",
    g.FastCritic: "game size",
    g.LawGenerator: "",
    g.Ridge: "beta",
    g.R1: "gamma",
    g.R2: "gamma",
    g.GradientPenalty: "weight slope one_sided where",
    g.Clip: "bound",
    g.SpectralBound: "bound",
    g.KernelGame: "k grad_x grad_y clip translation_invariant",
    g.Bilinear: "C",
    g.LinearQuadratic: "P C Q",
    g.Unrolled: "game steps size metric",
    g.Consensus: "game gamma",
    g.Regularised: "game energies",
    g.MatrixGame: "A",
    g.ModeWeights: "target beta",
    g.QuadraticGame: "P C Q D",
    g.Noisy: "game deviations",
    g.Pursuit: "cooperative",
}
METRICS = ("Wasserstein", "Euclidean", "Sobolev", "FisherRao", "WassersteinFisherRao")
CLASSES: Mapping[str, type] = {kind.__name__: kind for kind in ARGUMENTS}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "linear and quadratic monomials": monomials,
    "slopes of linear and quadratic monomials": monomial_slopes,
}
"""The package's own functions that energies and critics may hold, by the names they have in files."""


def named(name: str) -> Callable[[F], F]:
    """Give a function of the package the name under which recipes hold it."""

    def enter(function: F) -> F:
        FUNCTIONS[name] = function
        return function

    return enter


def _arguments(kind: type) -> list[tuple[str, str]]:
    """Return (argument, attribute) pairs of a class."""
    pairs = (entry.partition("=") for entry in ARGUMENTS[kind].split())
    return [(argument, attribute or argument) for argument, _, attribute in pairs]


def encode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Return the recipe of a value, JSON data; arrays are put into `arrays` under new names."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return {"float": float(value).hex()}
    if isinstance(value, (tuple, list)):
        return [encode(entry, arrays) for entry in value]
    if isinstance(value, np.ndarray) and value.dtype in (np.float64, np.int64):
        arrays[f"a{len(arrays)}"] = value
        return {"array": f"a{len(arrays) - 1}"}
    if isinstance(value, e.Sum):
        return {"sum": [[encode(factor, arrays), encode(term, arrays)] for factor, term in value.terms()]}
    if type(value) in ARGUMENTS:
        made_of = {argument: encode(attrgetter(attribute)(value), arrays) for argument, attribute in _arguments(type(value))}
        return {"kind": type(value).__name__, "with": made_of}
    for name, function in FUNCTIONS.items():
        if value is function:
            return {"function": name}
    return {"python": getattr(value, "__qualname__", type(value).__qualname__)}


def decode(recipe: Any, arrays: Mapping[str, np.ndarray], depth: int = 0) -> Any:
    """Return the value that a recipe describes.

    Raises
    ------
    UnsupportedError
        If it holds something of the user's that no file keeps.
    TypeError, ValueError, KeyError
        If it is not a recipe.
    """
    if depth > DEEPEST:
        raise ValueError(f"a recipe must be at most {DEEPEST} deep")
    if recipe is None or isinstance(recipe, (bool, str, int)):
        return recipe
    if isinstance(recipe, list):
        return tuple(decode(entry, arrays, depth + 1) for entry in recipe)
    if not isinstance(recipe, dict):
        raise TypeError(f"a recipe must be a text, an integer, a list or a dictionary, got {check.show(recipe)}")
    ((key, content),) = [item for item in recipe.items() if item[0] != "with"]
    if key == "float":
        return _number(content)
    if key == "array":
        return arrays[content]
    if key == "function":
        return FUNCTIONS[content]
    if key == "sum":
        return e.Sum(
            tuple(
                (check.scalar("factor", decode(c, arrays, depth + 1)), _energy(decode(t, arrays, depth + 1))) for c, t in content
            )
        )
    if key == "kind":
        check.instance("with", recipe["with"], dict, "a dictionary of arguments")
        made_of = {argument: decode(entry, arrays, depth + 1) for argument, entry in recipe["with"].items()}
        if any(np.ndim(made_of.get(name, MATRIX)) != 2 for name in ("cov", "C", "P", "Q")):
            raise ValueError(f"matrices of a {content} must be 2-D arrays in a recipe")  # a number would stand for a huge one
        return CLASSES[content](**made_of)
    if key == "python":
        raise UnsupportedError(f"files do not keep functions and classes of the user's, and this one needs {check.show(content)}")
    raise ValueError(f"a recipe must have one of the keys float, array, function, sum, kind, python, got {check.show(key)}")


def require_plain(recipe: Any, kinds: Collection[str]) -> set[str]:
    """Return the arrays that a recipe uses, after checking that it uses each once and makes objects of these kinds only.

    So what is made of a file is not much larger than the file.
    """
    used: list[str] = []
    entries = [recipe]
    while entries:
        entry = entries.pop()
        if isinstance(entry, dict):
            if "sum" in entry or "function" in entry or entry.get("kind", next(iter(kinds))) not in kinds:
                raise ValueError(f"a recipe here must be made of {', '.join(kinds)}, got {check.show(entry)}")
            used += [entry["array"]] if "array" in entry else []
        entries += entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ()
    if len(set(used)) != len(used):
        raise ValueError("a recipe must use every array once")
    return set(used)


def _number(text: Any) -> float:
    try:
        return float.fromhex(text)
    except OverflowError as error:
        raise ValueError(f"a number must be one of double precision, got {check.show(text)}") from error


def _energy(value: Any) -> e.Energy:
    return check.instance("term", value, e.Energy, "an Energy")


def has_python(recipe: Any) -> bool:
    """Return whether a recipe holds something of the user's, so that the object cannot be made from it."""
    if isinstance(recipe, list):
        return any(has_python(entry) for entry in recipe)
    return isinstance(recipe, dict) and ("python" in recipe or any(has_python(entry) for entry in recipe.values()))


def differences(
    name: str, old: Any, new: Any, old_arrays: Mapping[str, np.ndarray], new_arrays: Mapping[str, np.ndarray]
) -> list[str]:
    """Return in words where two recipes differ; what is the user's own counts as equal."""

    def compare(path: str, a: Any, b: Any) -> list[str]:
        if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys() and a.get("kind") == b.get("kind"):
            if "python" in a:
                return []
            if "array" in a:
                x, y = old_arrays[a["array"]], new_arrays[b["array"]]
                same = x.shape == y.shape and x.tobytes() == y.tobytes()
                return [] if same else [f"{path} ({_arrays_differ(x, y)})"]
            keys = a["with"] if "with" in a else a
            first, second = (a["with"], b["with"]) if "with" in a else (a, b)
            if first.keys() == second.keys() and not {"float", "function"} & a.keys():
                inner = path if "sum" in a else f"{path}.{{}}"
                return [line for key in keys for line in compare(inner.format(key), first[key], second[key])]
        if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            return [line for k, pair in enumerate(zip(a, b, strict=True)) for line in compare(f"{path}[{k}]", *pair)]
        return [] if a == b else [f"{path} ({_exact(a)} there, {_exact(b)} here)"]

    return compare(name, old, new)


def _arrays_differ(x: np.ndarray, y: np.ndarray) -> str:
    if x.shape != y.shape:
        return f"shape {x.shape} there, {y.shape} here"
    k = next(k for k in range(x.size) if x.flat[k].tobytes() != y.flat[k].tobytes())
    return f"entry {k} is {x.flat[k].item()!r} there, {y.flat[k].item()!r} here"


def in_words(recipe: Any) -> str:
    """Return a recipe in a few words, as a constructor call without its arrays."""
    if isinstance(recipe, list):
        return "[" + ", ".join(in_words(entry) for entry in recipe) + "]"
    if not isinstance(recipe, dict):
        return repr(recipe)
    if "float" in recipe:
        return f"{float.fromhex(recipe['float']):.6g}"
    if "kind" in recipe:
        given = (f"{name}={in_words(entry)}" for name, entry in recipe.get("with", {}).items() if entry is not None)
        return f"{recipe['kind']}({', '.join(given)})"
    if "sum" in recipe:
        return " + ".join(f"{in_words(factor)} * {in_words(term)}" for factor, term in recipe["sum"])
    if "array" in recipe:
        return "array"
    return str(recipe.get("function", recipe.get("python", "other entries")))


def _exact(recipe: Any) -> str:
    return repr(float.fromhex(recipe["float"])) if isinstance(recipe, dict) and "float" in recipe else in_words(recipe)
