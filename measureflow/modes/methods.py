"""The methods of the benchmark by name: dual flows with a law of neurons as critic, and single flows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import final

from measureflow import _validate as check
from measureflow.games import R1
from measureflow.modes.laws import neuron_flow
from measureflow.modes.run import Run
from measureflow.modes.single import Flow, energy_distance_flow, noisy_mmd_flow, sliced_flow, transport_flow
from measureflow.modes.targets import Target
from measureflow.schemes import Explicit


@final
@dataclass(frozen=True)
class Method:
    """A flow of particles to data from a target, with all its choices made; called with a target and a seed.

    Attributes
    ----------
    name, title : str
    flow : callable
        (target, seed, method=..., ...) -> Run.
    covers : bool
        Whether it is meant to cover the targets in the plane; the others show what goes wrong.
    """

    name: str
    title: str
    flow: Flow
    covers: bool = True

    def __call__(self, target: Target, seed: int = 0, *, progress: bool = False) -> Run:
        """Return the run on a target."""
        check.instance("target", target, Target, "a Target")
        return self.flow(target, check.seed("seed", seed), progress=progress)


def _neurons(name: str, title: str, covers: bool = True, **settings: object) -> Method:
    return Method(name, title, partial(neuron_flow, method=name, **settings), covers)  # type: ignore[arg-type]


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        _neurons("neurons", "dual flow, critic: law of neurons, least squares, in turn"),
        _neurons("neurons-chi-squared", "the same with the loss chi-squared", loss="chi-squared"),
        _neurons("neurons-optimistic", "the same, least squares, optimistic steps", False, scheme=Explicit("optimistic")),
        _neurons("neurons-r1", "the same with R1 penalty 0.001 on slopes", penalty=R1(1e-3)),
        _neurons("neurons-at-once", "the same, both players at once", False, scheme=Explicit("simultaneous")),
        _neurons("neurons-slow-critic", "the same with a critic 25 times as slow", False, critic_step=0.04),
        Method("energy-distance", "energy-distance flow", energy_distance_flow),
        Method("sliced", "sliced W2 flow", sliced_flow),
        Method("transport", "W2 flow, exact", transport_flow),
        Method("mmd-noise", "MMD flow, Gaussian kernel, with noise", noisy_mmd_flow, False),
    )
}
"""Methods with particles as generators, by name."""


def method(name: str) -> Method:
    """Return a method by its name.

    Raises
    ------
    TypeError, ValueError
        If there is none.

    Examples
    --------
    >>> method("sliced").title
    'sliced W2 flow'
    """
    return METHODS[check.choice("method", name, tuple(METHODS))]
