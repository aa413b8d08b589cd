"""Ensembles: many runs of adversarial training at once, compiled from end to end, over seeds or parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.errors import UnsupportedError
from measureflow.games import GAN, R1, MLPCritic, MLPGenerator, NeuronCritic, Ridge
from measureflow.games.inputs import Inputs, rule
from measureflow.progress import Bar
from measureflow.states import Particles, State, Vector
from measureflow.stepping import FixedSteps

LOSSES = {
    "wasserstein": "wasserstein",
    "minimax": "minimax",
    "js": "minimax",
    "non-saturating": "nonsaturating",
    "least squares": "least squares",
    "hinge": "hinge",
}
"""Losses that are compiled, and their names in the kernel."""

PIECE = 1000
"""Steps after which the compiled loop comes back."""


@final
@dataclass(frozen=True, eq=False, repr=False)
class Ensemble:
    """What `ensemble` computed: rows in time, members side by side.

    Attributes
    ----------
    t : ndarray, shape (rows, members)
        Times; members may have steps of their own.
    generator : ndarray, shape (rows, members, n, d) or (rows, members, p)
        Points of particles, or parameters of networks.
    critic : ndarray, shape (rows, members, H, d + 2) or (rows, members, p)
        Neurons, or parameters of networks.

    Examples
    --------
    >>> import measureflow as mf
    >>> game = mf.games.GAN(mf.Particles([[2.0]]), critic=mf.games.MLPCritic(()))
    >>> mf.ensemble(game, (mf.Particles([[0.0]]), mf.Vector([0.0, 0.0])), 10, 0.1, seeds=range(3)).states(-1, 0)[0]
    Particles(n=1, d=1, equal weights)
    """

    t: np.ndarray
    generator: np.ndarray
    critic: np.ndarray

    @property
    def finite(self) -> np.ndarray:
        """Which members are finite at the last row, shape (members,)."""
        ends = (part[-1].reshape(len(self), -1) for part in (self.generator, self.critic))
        return np.all([np.isfinite(end).all(axis=1) for end in ends], axis=0)

    def states(self, row: int, member: int) -> tuple[State, State]:
        """Return generator and critic of a member at a row as states."""
        x, c = (np.asarray(part[row, member], np.float64) for part in (self.generator, self.critic))
        return Particles(x) if x.ndim == 2 else Vector(x), Particles(c) if c.ndim == 2 else Vector(c)

    def __len__(self) -> int:
        return self.t.shape[1]

    def __repr__(self) -> str:
        """Return the numbers of members and rows."""
        rows, members = self.t.shape
        return f"Ensemble({members} members, {rows} rows, {int(np.sum(self.finite))} finite at t = {np.max(self.t):g})"


def ensemble(
    game: GAN | Sequence[GAN],
    initial: Any,
    steps: int,
    tau: Any,
    *,
    speeds: Any = None,
    coupling: str = "simultaneous",
    critic_steps: int = 1,
    unrolled: int = 0,
    anew: bool | None = None,
    ridge_on: str = "all",
    batch: int | None = None,
    seeds: Any = 0,
    save_at: int | None = None,
    progress: bool = False,
) -> Ensemble:
    """Run many dual flows of one kind by explicit steps, compiled from end to end: seeds, speeds, penalties or starts differ.

    With all atoms a member takes the steps of ``solve(..., scheme=Explicit(coupling, unrolled=unrolled))``; mini-batches are
    drawn anew for each step, with replacement, from a stream of their own. Members are spread over threads, and a member's bits
    depend neither on the others nor on the threads.

    Parameters
    ----------
    game : GAN or sequence of GAN
        One for all, or one a member that differ in the strength of penalties and of the instance noise only. Critic `MLPCritic`
        or `NeuronCritic`, generator None (`Particles`) or `MLPGenerator`, of equal atoms; penalties `Ridge` and `R1`; loss
        "wasserstein", "minimax", "js", "non-saturating", "least squares" or "hinge".
    initial : pair of states or sequence of pairs
        (generator, critic), for all or for each member.
    steps : int
        Number of steps.
    tau : float or sequence of float
        Step of the generator.
    speeds : pair of float or sequence of pairs, optional
        Speeds of generator and critic.
    coupling : {"simultaneous", "alternating", "extragradient"}
    critic_steps : int
        Steps of the critic in one step; 1 for "extragradient".
    unrolled : int
        Steps of the critic that the generator foresees and differentiates through, in zero-sum games. By differences, as in
        `games.Unrolled`: a critic of single precision leaves errors of about 1e-4 of the gradients.
    anew : bool, optional
        Whether tuples of packed games and instance noise are drawn anew for each step; else tuples stay and noise is averaged by
        a cubature rule, both as in `solve`. None: with `batch` only.
    ridge_on : {"all", "outputs"}
        What a `Ridge` is on: all parameters of the critic, as in the game; or those of the last layer alone, of a law of neurons
        the weights a, so that a critic whose two laws agree keeps its features: ``Regularised(game, [None, Potential(...)])``.
    batch : int, optional
        Size of mini-batches of the target and of a network's latent points; None: all atoms.
    seeds : int or sequence of int
        Of the mini-batches.
    save_at : int, optional
        Keep every so many steps, and the ends; None: only the ends.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Ensemble

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    UnsupportedError
        If the game is not of a compiled kind.

    Examples
    --------
    >>> import numpy as np
    >>> import measureflow as mf
    >>> game = mf.games.GAN(mf.Particles([[2.0]]), critic=mf.games.MLPCritic(()), penalty=mf.games.Ridge(1.0))
    >>> runs = ensemble(game, (mf.Particles([[0.0]]), mf.Vector([0.0, 0.0])), 400, tau=[0.05, 0.1])
    >>> runs.generator[-1].round(3).ravel()
    array([2., 2.])
    """
    from measureflow.kernels.adversarial import train  # numba is loaded at first use

    games = [check.instance("game", g, GAN, "a GAN") for g in ([game] if isinstance(game, GAN) else _sequence("game", game))]
    pairs = _pairs(initial)
    etas = [(1.0, 1.0)] if speeds is None else _speeds(speeds)
    taus = [check.scalar("tau", t, above=0.0) for t in _listed("tau", tau)]
    draws = [check.seed("seeds", k) for k in _listed("seeds", seeds)]
    members = _members(game=games, initial=pairs, tau=taus, speeds=etas, seeds=draws)
    settings, dtype = _settings(games, pairs)
    settings |= _order(games[0], coupling, critic_steps, unrolled)
    size = None if batch is None else check.integer("batch", batch, least=1)
    drawn = size is not None if anew is None else check.flag("anew", anew)
    if not drawn:
        settings |= _looks(games, settings, pairs[0][0], size)
    steps = check.integer("steps", steps, least=1)
    stride = steps if save_at is None else check.integer("save_at", save_at, least=1)
    x, c = (np.stack([pair[k].coordinates for pair in _spread(pairs, members)]).astype(dtype) for k in (0, 1))
    slow = np.array([t * eta[0] for t, eta in zip(_spread(taus, members), _spread(etas, members), strict=True)])
    ratio = np.array([eta[1] / eta[0] for eta in _spread(etas, members)])
    settings |= {
        "tau": slow,
        "eta": ratio,
        "ridge": np.array([_strength(g, Ridge) for g in _spread(games, members)]),
        "r1": np.array([_strength(g, R1) for g in _spread(games, members)]),
        "noise": np.array([g.instance_noise for g in _spread(games, members)]),
        "batch": size,
        "seeds": np.array(_spread(draws, members)),
        "ridge_on": check.choice("ridge_on", ridge_on, ("all", "outputs")),
    }
    check.flag("progress", progress)
    rows, marks = [(x, c)], [0]
    with Bar(progress, FixedSteps(0.0, float(steps), 1.0)) as bar:
        while marks[-1] < steps:
            end, (x, c) = min(marks[-1] + stride, steps), rows[-1]
            for first in range(marks[-1], end, PIECE):  # so that Ctrl-C and the bar are not left waiting
                x, c = train(x, c, steps=min(PIECE, end - first), first=first, **settings)
                bar.show(min(first + PIECE, end))
            rows.append((x, c))
            marks.append(end)
    t = np.outer(marks, _spread(taus, members))
    return Ensemble(t, np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows]))


def _sequence(name: str, value: Any) -> list[Any]:
    return list(check.entries(name, list(value) if isinstance(value, range) else value, None, "one a member"))


def _listed(name: str, value: Any) -> list[Any]:
    """Return a list of one entry or of one entry a member."""
    return _sequence(name, value) if isinstance(value, (list, tuple, range, np.ndarray)) else [value]


def _pairs(initial: Any) -> list[tuple[State, State]]:
    entries = check.entries("initial", initial, None, "a pair of states, or one a member")
    nested = [entries] if isinstance(entries[0], State) else entries
    pairs = [check.entries("initial", pair, 2, "a generator and a critic") for pair in nested]
    return [tuple(check.instance("initial", x, State, "a state") for x in pair) for pair in pairs]  # type: ignore[misc]


def _speeds(speeds: Any) -> list[tuple[float, float]]:
    entries = check.entries("speeds", speeds, None, "a pair of positive numbers, or one a member")
    nested = entries if np.ndim(entries[0]) else [entries]
    pairs = [check.entries("speeds", pair, 2, "the speeds of generator and critic") for pair in nested]
    return [(check.scalar("speeds", a, above=0.0), check.scalar("speeds", b, above=0.0)) for a, b in pairs]


def _members(**lists: list[Any]) -> int:
    """Return the number of members, after checking that every list has one entry or that many."""
    count = max(len(values) for values in lists.values())
    for name, values in lists.items():
        if len(values) not in (1, count):
            raise ValueError(f"{name} must have one entry or one for each of the {count} members, got {len(values)}")
    return count


def _spread(values: list[Any], count: int) -> list[Any]:
    return values * count if len(values) == 1 else values


def _strength(game: GAN, kind: type) -> float:
    """Return beta or gamma of the penalties of one kind, summed."""
    strengths = [
        p.beta if isinstance(p, Ridge) else p.gamma for p in game.penalties if isinstance(p, kind) and isinstance(p, (Ridge, R1))
    ]
    return float(sum(strengths))


def _settings(games: list[GAN], pairs: list[tuple[State, State]]) -> tuple[dict[str, Any], str]:
    """Return what the kernel needs to know about games of one kind, and the precision; every state is checked."""
    game = games[0]
    for other in games:
        _require_compiled(other)
        if any(getattr(other, name) != getattr(game, name) for name in ("loss", "pack")) or repr(other.critic) != repr(
            game.critic
        ):
            raise ValueError("game must have one loss, one kind of critic and one pack for all members")
        if other.target is not game.target or other.generator is not game.generator:
            raise ValueError("game must have the same target and the same generator for all members")
        for pair in pairs:
            other.check(pair)
    shapes = {tuple(x.coordinates.shape for x in pair) for pair in pairs}
    if len(shapes) > 1:
        raise ValueError(f"initial must have states of one shape for all members, got {sorted(shapes)}")
    critic, generator, dim = game.critic, game.generator, game.target.dim
    settings: dict[str, Any] = {
        "target": np.asarray(game.target.coordinates, critic.dtype).reshape(-1, dim),  # type: ignore[attr-defined]
        "loss": LOSSES[game.loss],
        "critic_activation": critic.activation,  # type: ignore[attr-defined]
        "critic_widths": critic.layers(game.pack * dim) if isinstance(critic, MLPCritic) else None,
        "pack": game.pack,
    }
    if isinstance(generator, MLPGenerator):
        settings |= {
            "generator_widths": generator.layers,
            "generator_activation": generator.activation,
            "latents": np.asarray(generator.latent.coordinates, critic.dtype).reshape(-1, generator.latent.dim),  # type: ignore[attr-defined]
        }
    return settings, critic.dtype  # type: ignore[attr-defined]


def _order(game: GAN, coupling: str, critic_steps: int, unrolled: int) -> dict[str, Any]:
    """Return how players see each other, as the kernel is told."""
    check.choice("coupling", coupling, ("simultaneous", "alternating", "extragradient"))
    ahead = check.integer("unrolled", unrolled, least=0)
    turns = check.integer("critic_steps", critic_steps, least=1)
    if coupling == "extragradient" and turns > 1:
        raise ValueError(f"critic_steps must be 1 for the coupling 'extragradient', got {turns}")
    if ahead and not game.zero_sum:
        raise UnsupportedError(f"unrolled={ahead} needs a zero-sum game, got the loss {game.loss!r}")
    return {
        "alternating": coupling == "alternating",
        "extragradient": coupling == "extragradient",
        "critic_steps": turns,
        "unrolled": ahead,
    }


def _looks(games: list[GAN], settings: dict[str, Any], generator: State, batch: int | None) -> dict[str, Any]:
    """Return the tuples and the rule of the noise that stay from step to step."""
    pack, dim = games[0].pack, games[0].target.dim
    made = len(settings["latents"]) if "latents" in settings else len(generator.coordinates)
    counts = made if batch is None or "latents" not in settings else batch, len(settings["target"]) if batch is None else batch
    orders = [Inputs(pack, 0.0, 0).orders(count)[1:] for count in counts]
    blurred = any(g.instance_noise > 0.0 for g in games)
    return {
        "tuples": tuple(np.array(o, np.int64).reshape(-1, count) for o, count in zip(orders, counts, strict=True)),
        "nodes": rule(pack * dim) if blurred else None,
    }


def _require_compiled(game: GAN) -> None:
    """Raise UnsupportedError unless the kernel knows every part of a game."""
    latent = game.generator.latent if isinstance(game.generator, MLPGenerator) else None
    for name, part, good, allowed in (
        ("loss", game.loss, game.loss in LOSSES, ", ".join(LOSSES)),
        ("critic", game.critic, isinstance(game.critic, (MLPCritic, NeuronCritic)), "MLPCritic or NeuronCritic"),
        ("generator", game.generator, game.generator is None or latent is not None, "an MLPGenerator or None"),
        ("penalty", game.penalty, all(isinstance(p, (Ridge, R1)) for p in game.penalties), "made of Ridge and R1"),
        ("target", game.target, _equal_atoms(game.target), "Particles of equal weights"),
        ("latent", latent, latent is None or _equal_atoms(latent), "Particles of equal weights"),
    ):
        if not good:
            raise UnsupportedError(f"an ensemble needs the {name} to be {allowed}, got {part!r}")


def _equal_atoms(law: Any) -> bool:
    return isinstance(law, Particles) and bool(np.all(law.weights == law.weights[0]))
