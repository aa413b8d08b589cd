"""Many steps of adversarial training without a return to Python: a generator against a critic, plain explicit steps.

The critic D is high on generated points. It ascends

    E_gen phi(D) + E_target psi(D) - (beta/2) |c|^2 - (gamma/2) E_target |grad D|^2,

and the generator descends E_gen chi(D), with (s the softplus)

    wasserstein    phi = D              psi = -D             chi = D
    minimax        phi = -s(-D)         psi = -s(D)          chi = phi
    nonsaturating  phi = -s(-D)         psi = -s(D)          chi = s(D)
    least squares  phi = -(1 - D)^2/2   psi = -(1 + D)^2/2   chi = (1 + D)^2/2
    hinge          phi = -max(0, 1-D)   psi = -max(0, 1+D)   chi = D

Parameters of networks live in R^p; free particles and a law of neurons live in the space of laws with the Wasserstein
metric, so an atom's velocity has no factor 1/n (theory.md, sections 1, 7.2 and 7.3). A law of neurons
D(x) = mean over atoms (a, w, b) of a act(w . x + b) is a network with one hidden layer, its output divided by the
number H of neurons and its gradient multiplied by H.

A simultaneous update goes through the generated batch once for both players: the critic's sweep back with the seeds 1 ends
in the slopes of D, which the generator needs times chi'(D); times phi'(D) row by row it is the sweep of the critic's own
gradient. Batches are drawn with replacement by a counter: the j-th index of a batch is a hash of the seed, the number of the
update and j, so that a run can be cut anywhere. A member of an ensemble sees nothing of the others.

A critic that sees tuples of m points in dimension m d (packing), or points blurred by noise, looks at points through a view
(`views`): what comes back are forces on points, which move particles or go back through the network.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from measureflow.kernels.mlp import ROWS, Widths, checked
from measureflow.kernels.rounds import ALTERNATING, EXTRAGRADIENT, SIMULTANEOUS, run
from measureflow.kernels.sweeps import LAYER, LEVEL, gather, make_plan, spread, strip_size
from measureflow.kernels.updates import LOSSES

THREADED_WORK = 1.0e9  # multiply-adds from which threads are worth their start

Array = NDArray[Any]


def _atoms_to_packed(atoms: Array) -> Array:
    """Return the parameters of the network of a law of neurons with atoms (H, d + 2), columns a, w, b."""
    return np.concatenate([atoms[:, 1:-1].T.ravel(), atoms[:, -1], atoms[:, 0], np.zeros(1, atoms.dtype)])


def _packed_to_atoms(packed: Array, h: int) -> Array:
    """Return the atoms (H, d + 2) of a law of neurons from the parameters of its network."""
    d = packed.size // h - 2
    return np.column_stack([packed[-h - 1 : -1], packed[: d * h].reshape(d, h).T, packed[d * h : (d + 1) * h]])


def _rows_of(name: str, value: Any, members: int) -> Array:
    """Return numbers, one a member."""
    numbers = np.asarray(value, np.float64)
    if numbers.shape not in ((), (members,)):
        raise ValueError(f"{name} must be a number or have shape {(members,)}, got shape {numbers.shape}")
    return np.broadcast_to(numbers, (members,))


def _network(packed: Array, widths: Widths, activation: str, rows: int) -> tuple[Any, ...]:
    """Return what a sweep needs of a network: parameters, plan, activation, activations, deltas, gradient."""
    vector, code = checked(packed, widths, activation, packed.dtype)
    plan = make_plan(widths, rows, packed.itemsize)
    laid = np.zeros(int(plan[LAYER, -1]), packed.dtype)
    spread(vector, plan, laid)
    levels = int(plan[LEVEL, -1])
    return laid, plan, code, np.zeros(levels, packed.dtype), np.zeros(levels, packed.dtype), np.zeros_like(laid)


def _packed(network: tuple[Any, ...], size: int) -> Array:
    """Return the parameters of a network as one vector."""
    out = np.empty(size, network[0].dtype)
    gather(network[0], network[1], out)
    return out


def train(
    generator: Array,
    critic: Array,
    target: Array,
    latents: Array | None = None,
    *,
    generator_widths: Widths | None = None,
    critic_widths: Widths | None = None,
    generator_activation: str = "tanh",
    critic_activation: str = "tanh",
    loss: str = "wasserstein",
    steps: int,
    tau: Any,
    eta: Any = 1.0,
    ridge: Any = 0.0,
    ridge_on: str = "all",
    r1: Any = 0.0,
    batch: int | None = None,
    seeds: Any = 0,
    first: int = 0,
    alternating: bool = False,
    extragradient: bool = False,
    critic_steps: int = 1,
    unrolled: int = 0,
    pack: int = 1,
    tuples: tuple[Array, Array] | None = None,
    noise: Any = 0.0,
    nodes: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:
    """Do many updates of an ensemble of M generators and critics.

    Parameters
    ----------
    generator : (M, p) with `generator_widths`, parameters of networks (layout: `kernels.mlp`); or (M, n, d), free particles.
        Its dtype, float32 or float64, is that of the work
    critic : (M, p) with `critic_widths`, networks with one output; or (M, H, d + 2), laws of neurons, columns a, w, b
    target : (N, d), atoms of the target law, equal weights
    latents : (K, d_0), points that generator networks push; None for free particles
    generator_activation, critic_activation : "tanh", "relu" or "softplus"
    loss : "wasserstein", "minimax", "nonsaturating", "least squares" or "hinge"
    steps : number of updates
    tau : number or (M,), step of the generator; the critic's is eta times it
    eta, ridge, r1 : numbers or (M,): speed of the critic, beta and gamma
    ridge_on : "all" parameters of the critic, or "outputs": those of the last layer only, |c|^2 is then theirs
    batch : latents and target points a mini-batch, drawn with replacement; None: all of them. Free particles are always all used
    seeds : integer or (M,), of the batches
    first : number of the first update; steps from `first` on after `first` steps give the bits of one run
    alternating : the generator moves first, and the critic sees where it is; otherwise both see the old states
    extragradient : both move by the gradients at where a simultaneous update would bring them
    critic_steps : steps of the critic in one update, each with a batch of its own
    unrolled : steps of the critic that the generator foresees and differentiates through, of zero-sum losses; better in float64
    pack : points that the critic sees at once
    tuples : which ones, permutations (pack - 1, n) of generated and (pack - 1, N) of target points; None: drawn for each update
    noise : number or (M,), standard deviation of Gaussian noise on what the critic sees
    nodes : nodes (k, pack d) and weights (k,) of a rule for averages under N(0, I); None: noise is drawn for each update

    Returns
    -------
    generator, critic : new arrays of the same shapes. The bits of a member depend neither on the others nor on threads

    Raises
    ------
    ValueError
        An unknown loss or activation, or shapes that do not fit.

    Examples
    --------
    A particle and a linear critic turn about each other; the ridge damps them.

    >>> import numpy as np
    >>> particle, critic = np.zeros((1, 1, 1)), np.zeros((1, 2))
    >>> settings = dict(critic_widths=(1, 1), tau=0.05, ridge=1.0, steps=400)
    >>> particle, critic = train(particle, critic, np.array([[2.0]]), **settings)
    >>> print(np.round(particle.ravel(), 2))
    [2.]
    """
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {LOSSES}, got {loss!r}")
    dtype = np.dtype(np.float32 if getattr(generator, "dtype", None) == np.float32 else np.float64)
    old, judges, data = (np.ascontiguousarray(a, dtype) for a in (generator, critic, target))
    free, law, members = generator_widths is None, critic_widths is None, len(old)
    pool = old[0] if free or latents is None else np.ascontiguousarray(latents, dtype)
    widths = generator_widths or (1, 1)
    judge_widths = critic_widths or (judges.shape[-1] - 2, judges.shape[1], 1)
    _fits(old, judges, data, latents, generator_widths, judge_widths, law, pack)
    rates = np.empty((members, 5), dtype)
    for k, column in ((0, ("tau", tau)), (2, ("ridge", ridge)), (3, ("r1", r1)), (4, ("noise", noise))):
        rates[:, k] = _rows_of(*column, members)
    rates[:, 1] = rates[:, 0] * _rows_of("eta", eta, members)
    seeds = np.broadcast_to(np.asarray(seeds, np.int64), (members,))
    counts = (len(pool) if free or batch is None else batch), (len(data) if batch is None else batch)
    blurred = bool(np.any(rates[:, 4] > 0.0))
    rows = min(ROWS, max(counts) * (len(nodes[1]) if blurred and nodes is not None else 1))
    forced = free or pack > 1 or blurred or unrolled > 0
    coupling = EXTRAGRADIENT if extragradient else ALTERNATING if alternating else SIMULTANEOUS
    particles, params = old.copy(), judges.copy()

    def view(i: int, side: int) -> tuple[Any, ...]:
        return _view(counts[side], data.shape[1], pack, tuples and tuples[side], rates[i, 4] if blurred else None, nodes, dtype)

    def member(i: int) -> None:
        gen = _network(np.zeros(2, dtype) if free else old[i], widths, generator_activation, rows)
        judge = _network(_atoms_to_packed(judges[i]) if law else judges[i], judge_widths, critic_activation, rows)
        second, strip = judge[3].size if rates[i, 3] else 0, strip_size((gen[1], judge[1]), rows, dtype.itemsize)
        work = tuple(np.zeros(k, dtype) for k in (second, second, strip, rows, rows))
        batches = np.zeros(counts[0], np.int64), np.arange(counts[0]), np.zeros(counts[1], np.int64)
        points, nothing = particles[i] if free else np.zeros((0, 1), dtype), np.zeros((0, 1), dtype)
        forces = np.zeros((counts[0], data.shape[1]), dtype) if forced else nothing
        laws = points if free else np.zeros_like(forces), nothing if free else pool, data, forces
        path = np.zeros((unrolled + 1, judge[0].size), dtype) if unrolled else None
        ahead = None if path is None else (path, np.zeros_like(judge[0]), np.zeros_like(forces))
        starts = tuple(np.zeros_like(a) for a in (gen[0], judge[0], points))
        free_until = int(judge[1][LAYER, len(judge_widths) - 2]) if ridge_on == "outputs" else 0
        settings = LOSSES.index(loss), law, coupling, critic_steps, steps, first, int(seeds[i]), rows, free_until
        run(gen, judge, points, laws, batches, (view(i, 0), view(i, 1)), work, starts, ahead, settings, rates[i])
        if not free:
            particles[i] = _packed(gen, old[i].size)
        packed = _packed(judge, judges[i].size + law)
        params[i] = _packed_to_atoms(packed, judges.shape[1]) if law else packed

    threads = _threads(members, 6.0 * steps * sum(counts) * (judges[0].size + old[0].size * (not free)))
    if threads == 1:
        for i in range(members):
            member(i)
    else:
        with ThreadPoolExecutor(threads) as executor:
            list(executor.map(member, range(members)))
    return particles, params


def _view(
    count: int, dim: int, pack: int, tuples: Array | None, noise: Any, nodes: tuple[Array, Array] | None, dtype: Any
) -> tuple[Array, Array, Array, bool, bool]:
    """Return the view of so many points in R^dim; noise: None, or its standard deviation."""
    orders = np.zeros((pack - 1, count), np.int64) if tuples is None else np.ascontiguousarray(tuples, np.int64)
    offsets, shares = np.zeros((0, 0), dtype), np.ones(1, dtype)
    if noise is not None and nodes is None:
        offsets = np.zeros((count, pack * dim), dtype)
    elif noise is not None and nodes is not None:
        offsets, shares = (noise * nodes[0]).astype(dtype), nodes[1].astype(dtype)
    return orders, offsets, shares, tuples is None, nodes is None


def _threads(members: int, work: float) -> int:
    """Threads for so many members of so many multiply-adds each."""
    return min(members, int(numba.get_num_threads())) if members * work > THREADED_WORK else 1


def _fits(
    old: Array, judges: Array, data: Array, latents: Array | None, generator: Widths | None, critic: Widths, law: bool, pack: int
) -> None:
    """Raise ValueError unless the shapes fit each other."""
    if generator is None:
        if old.ndim != 3 or latents is not None:
            raise ValueError(f"generator must have shape (M, n, d), free particles without latents, or widths; got {old.shape}")
    elif old.ndim != 2 or latents is None or np.ndim(latents) != 2 or np.shape(latents)[1] != generator[0]:
        seen = None if latents is None else np.shape(latents)
        raise ValueError(f"generator must have shape (M, p) and latents (K, {generator[0]}), got {old.shape} and {seen}")
    if judges.ndim != (3 if law else 2) or len(judges) != len(old):
        raise ValueError(f"critic must have shape (M, p) with widths or (M, H, d + 2), M = {len(old)}, got {judges.shape}")
    d = old.shape[2] if generator is None else generator[-1]
    if data.ndim != 2 or data.shape[1] != d or critic[0] != pack * d or critic[-1] != 1:
        raise ValueError(
            f"target must have shape (N, {d}) and critic_widths be ({pack * d}, ..., 1), got {data.shape} and {critic}"
        )
