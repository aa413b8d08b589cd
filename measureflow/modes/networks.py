"""Small network generators that do not collapse: the law takes the steps, the network follows.

Why it works. (1) Gradient descent in the parameters sees the force on the law through J J^T, whose eigenvalues fall off so fast
that what makes a mode sharp is hardly learnt; damped Gauss-Newton steps (`schemes.Projected`) undo that factor, and the network
moves as the law would. (2) The critic is the Kantorovich potential of the samples in its best response, that is the energy
W2^2/2: its force, the way to the place that optimal transport assigns, is as strong between two modes as anywhere, where the
force of a kernel dies out with the missing mass. And the flow of W2^2/2 keeps its assignment all along (it moves along a
geodesic), so that the network fits one fixed map, the Brenier map of its first law, and no moving target. A critic that lags
behind loses both: with potentials that are kept while the law moves, the network collapses to one mode. (3) The first law is a
Gaussian with the mean and the principal axes of the samples, which a network generates after one least-squares fit of its last
layer. From a law that is squeezed by random layers the cells of the assignment are thin, and the same flow stays at a third of
high quality.

The dual flow proper, against a law of neurons (`train_dual_network`), covers too once (1) and (3) hold: the network does what
the law of particles does against this critic, and that law covers.
"""

from __future__ import annotations

from typing import Any

from measureflow import _validate as check
from measureflow.energies import Energy, EnergyDistance, SlicedWasserstein, SquaredWasserstein
from measureflow.games import GAN, Generated, MLPCritic, NeuronCritic
from measureflow.modes.generators import NetworkRun, prepared
from measureflow.modes.laws import CRITIC_STEP, GENERATOR_STEP, SPREAD, random_neurons, stride
from measureflow.modes.targets import Target
from measureflow.schemes import Explicit, Projected
from measureflow.schemes.projected import OUTPUTS
from measureflow.solve import solve
from measureflow.states import Particles

CRITICS = ("transport", "energy distance", "sliced")


def train_network(
    target: Target,
    seed: int = 0,
    *,
    method: str = "network",
    widths: Any = (128, 128),
    activation: str = "tanh",
    latent: int | None = None,
    samples: int = 2000,
    critic: str = "transport",
    t: float | None = None,
    tau: float = 0.5,
    passes: int | None = None,
    rows: int = 128,
    damping: float | None = None,
    progress: bool = False,
    store: Any = None,
) -> NetworkRun:
    """Train a network generator by the flow of its law, projected on what it can generate.

    Parameters
    ----------
    target : Target
    seed : int
        Of the training samples, the latent points and the first parameters.
    method : str
        The name that the run gets.
    widths : sequence of int
        Hidden layers.
    activation : {"tanh", "relu", "softplus"}
    latent : int, optional
        Dimension of the Gaussian latent law; None: the target's, at most 16.
    samples : int
        Number of training samples, and of latent points that are pushed in training.
    critic : {"transport", "energy distance", "sliced"}
        In its best response: Kantorovich's potential (the energy W2^2/2), the energy distance, the mean over 50 lines.
    t, tau : float
        Time and step of the flow; for "transport" tau must be at most 1, and the distance falls by 1 - tau in a step. t None: 4,
        and 3 for more than four outputs.
    passes, rows : int
        See `Projected`; passes None: 400, and 200 for more than four outputs, where more of both learn the training points by
        heart, and of the stacked digits fewer modes are left.
    damping : float, optional
        See `Projected`; None: 1e-4, and 0.1 for more than four outputs, where smaller ones leave the range of the tangent.
    progress : bool
    store : path, optional
        See `solve`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from measureflow.modes import mixture
    >>> two = mixture([[0.0, 0.0], [3.0, 0.0]], 0.1)
    >>> run = train_network(two, widths=(16, 16), samples=200, t=2.0, passes=100, rows=64)
    >>> run.cover().modes
    2
    """
    check.choice("critic", critic, CRITICS)
    goal, generator, start, mean, scale = prepared(target, seed, widths, activation, latent, samples, 1.0, 1.0)
    few = target.dim <= OUTPUTS
    t = (4.0 if few else 3.0) if t is None else t
    passes = (400 if few else 200) if passes is None else passes
    damping = (1e-4 if few else 0.1) if damping is None else damping
    scheme = Projected("explicit", passes, rows=rows, damping=damping, seed=seed)
    energy = Generated(_energy(critic, goal), generator)
    sol = solve(energy, start, t, tau, scheme=scheme, progress=progress, store=store)
    return NetworkRun(method, target, seed, sol, int(sol.info["steps"]), generator, mean, scale)


def train_dual_network(
    target: Target,
    seed: int = 0,
    *,
    method: str = "network-dual",
    widths: Any = (128, 128),
    activation: str = "tanh",
    latent: int | None = None,
    samples: int = 1000,
    neurons: int = 400,
    loss: str = "least squares",
    steps: int = 400,
    passes: int = 10,
    rows: int = 128,
    save_at: int | None = None,
    progress: bool = False,
    store: Any = None,
) -> NetworkRun:
    """Train a network generator by the dual flow against a law of neurons, with the steps and speeds of `laws.neuron_flow`.

    Players move in turn; the generator's law takes an explicit step, which the network follows.

    Parameters
    ----------
    target, seed, method, widths, activation, latent, samples, rows, progress, store
        As in `train_network`.
    neurons : int
        Atoms of the critic.
    loss : str
        See `games.GAN`.
    steps, passes : int
        Steps of the flow, and Gauss-Newton steps in each.
    save_at : int, optional
        Keep every so many steps; None: a tenth of them.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from measureflow.modes import mixture
    >>> two = mixture([[0.0, 0.0], [3.0, 0.0]], 0.1)
    >>> run = train_dual_network(two, widths=(16, 16), samples=100, neurons=50, steps=60, passes=5, rows=50)
    >>> run.cover().modes
    2
    """
    count, steps = check.integer("neurons", neurons, least=1), check.integer("steps", steps, least=1)
    goal, generator, start, mean, scale = prepared(target, seed, widths, activation, latent, samples, SPREAD, 0.5)
    tau = GENERATOR_STEP * target.dim * SPREAD**2
    sol = solve(
        GAN(goal, loss, critic=NeuronCritic("tanh", dtype="float32"), generator=generator),
        (start, random_neurons(goal.points, count, seed)),
        steps * tau,
        tau,
        scheme=Projected("explicit", passes, rows=rows, coupling="alternating", seed=seed),
        speeds=(1.0, CRITIC_STEP / tau),
        save_at=max(1, steps // 10) if save_at is None else save_at,
        progress=progress,
        store=store,
    )
    return NetworkRun(method, target, seed, sol, int(sol.info["steps"]), generator, mean, scale)


def train_by_gradients(
    target: Target,
    seed: int = 0,
    *,
    method: str = "network-gradients",
    widths: Any = (64, 64),
    activation: str = "tanh",
    latent: int | None = None,
    samples: int = 2000,
    loss: str = "non-saturating",
    batch: int = 256,
    steps: int = 3000,
    step: float = 0.05,
    rows: int = 24,
    progress: bool = False,
    store: Any = None,
) -> NetworkRun:
    """Train a network generator as it is usually done: explicit gradient steps of both networks' parameters, in turn.

    The baseline: generator and critic are networks of the same widths with random first parameters, and see mini-batches.
    On ring and grid it loses modes and finds others again; few points are of high quality.

    Parameters
    ----------
    target, seed, method, widths, activation, latent, samples, progress, store
        As in `train_network`; the critic's hidden layers are those of the generator.
    loss : str
        See `games.GAN`.
    batch : int
        Samples, and latent points, of a step; at most `samples` of them.
    steps, step : int, float
        Steps and their length.
    rows : int
        Number of rows that are kept besides the first.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from measureflow.modes import ring
    >>> train_by_gradients(ring(), widths=(8, 8), samples=100, steps=50).final.fair_modes
    0
    """
    count = check.integer("steps", steps, least=1)
    size = check.scalar("step", step, above=0.0)
    part = min(check.integer("batch", batch, least=1), check.integer("samples", samples, least=2))
    goal, generator, _, mean, scale = prepared(target, seed, widths, activation, latent, samples, SPREAD, 0.5)
    critic = MLPCritic(widths, activation)
    sol = solve(
        GAN(goal, loss, critic=critic, generator=generator),
        (generator.initial(seed), critic.initial(target.dim, seed + 1)),
        count * size,
        size,
        scheme=Explicit("alternating"),
        batch=(part, part),
        seed=seed,
        save_at=stride(count, rows),
        progress=progress,
        store=store,
        throw=False,
    )
    return NetworkRun(method, target, seed, sol, int(sol.info["steps"]), generator, mean, scale)


def _energy(critic: str, goal: Particles) -> Energy:
    if critic == "transport":
        return SquaredWasserstein(goal)
    return EnergyDistance(goal) if critic == "energy distance" else SlicedWasserstein(goal, 50, seed=0)
