"""All theorems, by name: one entry for each statement of theory.md that an experiment could refute."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from measureflow import _validate as check
from measureflow.theorems.base import Theorem
from measureflow.theorems.catalogue import (
    averaging,
    batches,
    bilinear,
    collapse,
    conservation,
    cycles,
    dirac,
    dual_bounds,
    dual_coupling,
    dual_nash,
    dual_orders,
    dual_pursuit,
    dual_stability,
    entropic_steps,
    exactness,
    fast_critic,
    fast_limits,
    flows,
    gradients,
    grids,
    identities,
    laws,
    noise,
    noisy_dirac,
    orbits,
    replicators,
    rotation,
    single_estimates,
    single_evi,
    single_flows,
    single_identities,
    single_orders,
    single_second,
    single_steps,
    spreading,
    stochastic,
    symmetries,
    wgan,
)

ENTRIES: tuple[Theorem, ...] = (
    *single_steps.ENTRIES,
    *single_evi.ENTRIES,
    *single_orders.ENTRIES,
    *single_estimates.ENTRIES,
    *single_flows.ENTRIES,
    *single_second.ENTRIES,
    *single_identities.ENTRIES,
    *dual_stability.ENTRIES,
    *dual_nash.ENTRIES,
    *dual_coupling.ENTRIES,
    *dual_bounds.ENTRIES,
    *dual_orders.ENTRIES,
    *dual_pursuit.ENTRIES,
    *bilinear.ENTRIES,
    *rotation.ENTRIES,
    *dirac.ENTRIES,
    *orbits.ENTRIES,
    *wgan.ENTRIES,
    *collapse.ENTRIES,
    *spreading.ENTRIES,
    *cycles.ENTRIES,
    *replicators.ENTRIES,
    *conservation.ENTRIES,
    *fast_critic.ENTRIES,
    *averaging.ENTRIES,
    *fast_limits.ENTRIES,
    *entropic_steps.ENTRIES,
    *noise.ENTRIES,
    *batches.ENTRIES,
    *noisy_dirac.ENTRIES,
    *stochastic.ENTRIES,
    *identities.ENTRIES,
    *exactness.ENTRIES,
    *flows.ENTRIES,
    *symmetries.ENTRIES,
    *laws.ENTRIES,
    *grids.ENTRIES,
    *gradients.ENTRIES,
)

THEOREMS: Mapping[str, Theorem] = MappingProxyType({entry.name: entry for entry in ENTRIES})
assert len(THEOREMS) == len(ENTRIES), "two theorems have one name"


def names() -> tuple[str, ...]:
    """Return the names of all theorems, in the order of theory.md.

    Examples
    --------
    >>> names()[:2]
    ('one-step', 'discrete-evi')
    """
    return tuple(THEOREMS)


def get(name: str) -> Theorem:
    """Return a theorem by its name, or by its label in theory.md.

    Raises
    ------
    TypeError, ValueError
        If there is none.

    Examples
    --------
    >>> get("T1")
    Theorem(T1 one-step: one step gains twice the trivial dissipation)
    """
    labels = {entry.label: entry for entry in reversed(ENTRIES)}
    if isinstance(name, str) and name in labels:
        return labels[name]
    return THEOREMS[check.choice("name", name, names())]
