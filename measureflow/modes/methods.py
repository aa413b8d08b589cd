"""The methods of the benchmark by name: dual flows of particles, single flows, and networks as generators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, final

from measureflow import _validate as check
from measureflow.games import R1
from measureflow.modes.kernel_critics import feature_flow, kernel_flow
from measureflow.modes.laws import neuron_flow
from measureflow.modes.networks import train_by_gradients, train_dual_network, train_network
from measureflow.modes.run import AbstractRun
from measureflow.modes.single import energy_distance_flow, noisy_mmd_flow, sliced_flow, transport_flow
from measureflow.modes.targets import Target, ring
from measureflow.schemes import Explicit

PLANE = ("ring", "grid", "uneven-ring", "uneven-grid", "mixed-widths", "spiral", "hundred")
"""Targets in the plane by their names in `TARGETS`."""

SIX = PLANE[:-1]
FIVE = ("ring", "grid", "uneven-ring", "mixed-widths", "spiral")
EASY = ("ring", "uneven-ring", "mixed-widths")
GRIDS = ("ring", "grid", "uneven-ring", "uneven-grid")
SHARP = ("ring", "grid", "uneven-grid", "mixed-widths", "spiral")


@final
@dataclass(frozen=True)
class Method:
    """A flow of a generator to data from a target, with all its choices made; called with a target and a seed.

    Attributes
    ----------
    name, title : str
    flow : callable
        (target, seed, method=..., ...) -> run.
    covers : tuple of str
        Which of the targets in the plane it was seen to cover at its end in each of three runs, seeds 100 to 102, at 95 % of
        high quality; elsewhere it missed that at least once, be it by strays alone, or was not tried.
    short : mapping
        Arguments of the flow for a run of no use, that only loads and compiles.
    """

    name: str
    title: str
    flow: Callable[..., AbstractRun]
    covers: tuple[str, ...] = PLANE
    short: Mapping[str, Any] = field(default_factory=lambda: {"particles": 20, "steps": 2}, compare=False)

    def __call__(self, target: Target, seed: int = 0, *, progress: bool = False) -> AbstractRun:
        """Return the run on a target."""
        check.instance("target", target, Target, "a Target")
        return self.flow(target, check.seed("seed", seed), progress=progress)

    def prepare(self) -> None:
        """Load and compile what it needs, by a short run on a small target."""
        self.flow(ring(2, std=0.1), 0, **self.short)


def _neurons(name: str, title: str, covers: tuple[str, ...], **settings: Any) -> Method:
    return Method(name, title, partial(neuron_flow, method=name, **settings), covers)


def _kernel(name: str, title: str, covers: tuple[str, ...], kernel: str) -> Method:
    return Method(name, title, partial(kernel_flow, method=name, kernel=kernel), covers)


def _network(name: str, title: str, flow: Callable[..., AbstractRun], covers: tuple[str, ...] = (), **short: Any) -> Method:
    return Method(name, title, flow, covers, {"samples": 20, "widths": (4, 4), **short})


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        _neurons("neurons", "dual flow, masses react, critic: law of neurons, least squares, in turn", SIX),
        _neurons("neurons-no-reaction", "the same, particles of equal weights that only move", EASY, reaction=0.0),
        _neurons("neurons-chi-squared", "the same as neurons with the loss chi-squared", SIX, loss="chi-squared"),
        _neurons("neurons-optimistic", "the same, least squares, optimistic steps", FIVE, scheme=Explicit("optimistic")),
        _neurons("neurons-r1", "the same, R1 penalty 0.001 on slopes and no ridge", FIVE, penalty=R1(1e-3)),
        _neurons("neurons-at-once", "the same, both players at once", GRIDS, scheme=Explicit("simultaneous")),
        _neurons("neurons-slow-critic", "the same with a critic 25 times as slow", (), critic_step=0.04),
        _kernel(
            "kernel-laplace",
            "dual flow, critic: kernel exp(-|x|/spread), least squares, ridge 0.05",
            ("ring", "mixed-widths"),
            "laplace",
        ),
        _kernel("kernel-energy", "dual flow, critic: kernel of the energy distance, wasserstein, ridge 1", ("ring",), "energy"),
        _kernel("kernel-gaussian", "dual flow, critic: Gaussian kernel, least squares, ridge 0.05", ("ring",), "gaussian"),
        Method("random-features", "dual flow, critic: 200 neurons of which outer weights move", feature_flow, ()),
        Method("energy-distance", "energy-distance flow", energy_distance_flow, SHARP),
        Method("sliced", "sliced W2 flow", sliced_flow),
        Method("transport", "W2 flow, exact", transport_flow),
        Method("mmd-noise", "MMD flow, Gaussian kernel, with noise", noisy_mmd_flow, ()),
        _network("network", "network (128, 128) follows its law's W2 flow: Gauss-Newton", train_network, t=0.5, passes=2),
        _network("network-dual", "network (128, 128) follows its law's dual flow, critic: neurons", train_dual_network, steps=2),
        _network("network-gradients", "network (64, 64) and critic network, gradient steps", train_by_gradients, steps=2),
    )
}
"""All methods, by name."""


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
