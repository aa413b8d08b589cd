"""Problems with exact solutions, as data: the single source of exact flows for tests, theorem checks and benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from measureflow import _validate as check
from measureflow.problems import (
    aggregation,
    barenblatt,
    batches,
    coupled,
    crowd,
    dirac,
    fast_critic,
    fisher_rao,
    free_boundary,
    games,
    gaussian,
    line,
    mean_field,
    modes,
    moments,
    potentials,
    quadratic_gan,
    repulsion,
    stochastic,
    waves,
    wfr,
)
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
        "E5": potentials.stiff_diagonal,
        "S1": gaussian.ornstein_uhlenbeck,
        "S2": gaussian.ornstein_uhlenbeck_matrix,
        "S3": gaussian.heat,
        "S3 waves": waves.heat,
        "S4": free_boundary.porous_medium,
        "S5": free_boundary.fast_diffusion,
        "S6": line.quadratic_interaction,
        "S7": repulsion.repulsion,
        "S8": repulsion.attraction,
        "S9": line.energy_distance_to_dirac,
        "S10": line.energy_distance_to_uniform,
        "S12": line.lipschitz_critic,
        "S13": line.squared_wasserstein,
        "S14": moments.polynomial_mmd,
        "S17": moments.mean_only,
        "T7": free_boundary.heat_from_a_point,
        "F1": fisher_rao.linear_cost,
        "F2": fisher_rao.relative_entropy,
        "F3": wfr.relative_entropy,
        "F4": fisher_rao.simplex_geometry,
        "G1": games.bilinear,
        "G2": games.linear_quadratic,
        "G3": dirac.dirac_gan,
        "G4": dirac.nonsaturating_dirac_gan,
        "G5": dirac.r1_dirac_gan,
        "G6": dirac.damped_dirac_gan,
        "G7": dirac.clipped_wgan,
        "G8": dirac.gradient_penalty_wgan,
        "G9": dirac.two_time_scales,
        "G10": games.damped_bilinear,
        "G11": mean_field.entropic_linear_quadratic,
        "G12": quadratic_gan.variance_game,
        "G13": fisher_rao.mode_weights,
        "G14": fisher_rao.strategies,
        "G15": games.ring_gan,
        "G17": modes.hopping,
        "G18": coupled.double_well_cycle,
        "G21": coupled.pursuit,
        "G22": coupled.cooperation,
        "G23": coupled.unbounded_coupling,
        "G24": coupled.explicit_coupling,
        "M2": modes.ring_law,
        "D9": modes.fast_critic,
        "N1": stochastic.noisy_descent,
        "N2": stochastic.noisy_rotation,
        "N3": batches.batched_energy_distance,
        "N4": batches.batched_wasserstein,
        "N5": stochastic.noisy_dirac_gan,
        "7.2 chi2": fast_critic.chi_squared,
        "7.2 JS": fast_critic.jensen_shannon,
        "7.2 NS": fast_critic.non_saturating,
        "7.2 MMD": fast_critic.unit_ball,
        "8 WFR": wfr.two_modes,
        "3.7": mean_field.entropy_exchange,
        "C1": crowd.contracting_ball,
        "C2": crowd.drift_against_a_wall,
        "PME-B": barenblatt.porous_medium,
        "AGG-G": aggregation.gaussian,
        "AGG-B": aggregation.porous_medium,
        "AGG-N": aggregation.ball,
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
