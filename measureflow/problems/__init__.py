"""Problems with exact solutions, as data: the single source of exact flows for tests, theorem checks and benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from measureflow import _validate as check
from measureflow.problems import games, gaussian, line, potentials
from measureflow.problems.base import SCHEMES as SCHEMES
from measureflow.problems.base import Printed as Printed
from measureflow.problems.base import Problem as Problem
from measureflow.problems.base import distance_between as distance_between

PROBLEMS: Mapping[str, Callable[..., Problem]] = MappingProxyType(
    {
        "E1": potentials.quadratic,
        "E2": potentials.absolute_value,
        "E3": potentials.quartic,
        "E4": potentials.double_well,
        "S1": gaussian.ornstein_uhlenbeck,
        "S2": gaussian.ornstein_uhlenbeck_matrix,
        "S3": gaussian.heat,
        "S6": line.quadratic_interaction,
        "S9": line.energy_distance_to_dirac,
        "S10": line.energy_distance_to_uniform,
        "S12": line.lipschitz_critic,
        "S13": line.squared_wasserstein,
        "G1": games.bilinear,
        "G2": games.linear_quadratic,
        "G3": games.dirac_gan,
        "G4": games.nonsaturating_dirac_gan,
        "G15": games.ring_gan,
    }
)


def names() -> tuple[str, ...]:
    """Return the labels of all problems.

    Examples
    --------
    >>> names()[:4]
    ('E1', 'E2', 'E3', 'E4')
    """
    return tuple(PROBLEMS)


def get(label: str, **parameters: Any) -> Problem:
    """Return a problem by its label in theory.md.

    Parameters
    ----------
    label : str
        One of `names()`.
    **parameters
        Parameters of that problem, as its function in `PROBLEMS` documents them.

    Returns
    -------
    Problem

    Raises
    ------
    TypeError, ValueError
        If the label is unknown, or a parameter is not one of that problem.

    Examples
    --------
    >>> get("S1", alpha=2.0)
    Problem(S1: Ornstein-Uhlenbeck on the line, alpha = 2)
    """
    return PROBLEMS[check.choice("label", label, names())](**parameters)
