"""Generative adversarial games: a generator against a critic (theory, section 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy, Quadratic
from measureflow.energies.discrepancy import random_atoms
from measureflow.games.base import AbstractGame, States
from measureflow.games.critics import Critic, FeatureCritic, Traversal
from measureflow.games.generators import KINDS, LAWS, Generator, LawGenerator, law_points
from measureflow.games.inputs import Inputs
from measureflow.games.losses import LOSSES, Relativistic, Sample, Separable
from measureflow.games.penalties import Clip, Penalty, Ridge, SpectralBound
from measureflow.games.quadratic_critic import monomials, variance_energy
from measureflow.states import Gaussian, Histogram, Law, Particles, State, Vector

ONE = "one of R1, R2, Ridge, GradientPenalty, Clip, SpectralBound"


@final
class GAN(AbstractGame):
    """A generator (player 0) against a critic D (player 1), which is high on generated points.

    With phi, psi, chi of the loss the critic ascends J = E_mu phi(D) + E_target psi(D) less penalties and the generator mu
    descends E_mu chi(D); where chi = phi it descends J, a zero-sum game. Initial states are the pair (generator, critic);
    ``speeds=(1, eta)`` makes the critic eta times as fast.

    Parameters
    ----------
    target : Particles, Quantiles, Histogram or Gaussian
        The law to reach; its atoms are used (quadrature nodes for a Gaussian), or random ones in each step with `batch`.
    loss : str
        The table in Notes.
    critic : Critic
        `FeatureCritic`, `NeuronCritic`, `MLPCritic`, `RKHSCritic` or `FieldCritic`.
    generator : Generator, optional
        None: the first state is the law itself, `Particles`, `Quantiles`, a `Gaussian`, or a `Histogram` of mode weights (with
        the metric `FisherRao`). `MLPGenerator`: the state is the `Vector` of parameters of a network.
    penalty : penalty or sequence of them, optional
        `Ridge`, `R1`, `R2`, `GradientPenalty`, `Clip`, `SpectralBound`.
    pack : int
        The critic sees tuples of so many independent points (PacGAN), in dimension pack * d; laws of equal atoms only.
    instance_noise : float
        Standard deviation of Gaussian noise on what the critic sees of both laws, averaged by a cubature rule.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or initial states do not fit.

    Notes
    -----
    =============================  ===============================  =====================
    loss                           critic: phi(a), psi(b)           generator: chi
    =============================  ===============================  =====================
    "wasserstein"                  a, -b                            phi
    "minimax"                      log sigma(a), log sigma(-b)      phi
    "non-saturating"               log sigma(a), log sigma(-b)      -log sigma(-a)
    "least squares"                -(1 - a)^2/2, -(1 + b)^2/2       (1 + a)^2/2
    "hinge"                        -max(0, 1 - a), -max(0, 1 + b)   a
    "kl": KL(mu|target)            1 + a, -exp(b)                   phi
    "reverse kl": KL(target|mu)    -exp(-a), 1 - b                  phi
    "chi-squared": chi^2/2         a, -b - b^2/2                    phi
    "js": 2 JS                     minimax + log 2 each             phi
    "relativistic"                 log sigma(a - b) over all pairs  phi
    "relativistic non-saturating"  log sigma(a - b)                 -log sigma(b - a)
    =============================  ===============================  =====================

    The divergences are the maxima of J over all functions D (Nowozin, Cseke and Tomioka 2016; theory, section 7.2). A penalty at
    generated points is the critic's alone. With `pack` the tuples are drawn anew in each step of a run with `batch`.

    Examples
    --------
    >>> import numpy as np
    >>> import measureflow as mf
    >>> critic = mf.games.FeatureCritic(lambda x: x, lambda x: np.ones((len(x), 1, 1)))
    >>> game = mf.games.GAN(mf.Particles([[2.0]]), critic=critic, penalty=mf.games.Ridge(1.0))
    >>> sol = mf.solve(game, (mf.Particles([[0.0]]), mf.Vector([0.0])), 20.0, 0.05)
    >>> float(sol.states[-1][0].points[0, 0]).__round__(2)
    2.0
    """

    def __init__(
        self,
        target: Law,
        loss: str = "wasserstein",
        *,
        critic: Critic,
        generator: Generator | None = None,
        penalty: Penalty | Sequence[Penalty] | None = None,
        pack: int = 1,
        instance_noise: float = 0.0,
    ) -> None:
        self.target = check.instance("target", target, LAWS, KINDS)
        self.loss = check.choice("loss", loss, tuple(LOSSES))
        self.critic = check.instance("critic", critic, Critic, "a FeatureCritic, NeuronCritic or another Critic")
        self.generator = check.instance("generator", generator, (Generator, type(None)), "an MLPGenerator or None")
        self.penalty = _penalties(penalty)
        self.pack = check.integer("pack", pack, least=1)
        self.instance_noise = check.scalar("instance_noise", instance_noise, least=0.0)
        self._prepare(0)

    def _prepare(self, seed: int) -> None:
        """Lay out the target's side; `seed` decides tuples and pairs of points."""
        self._loss = LOSSES[self.loss]
        self._generator = LawGenerator() if self.generator is None else self.generator
        self._seed = seed
        self._inputs = Inputs(self.pack, self.instance_noise, seed)
        points, weights = law_points(self, self.target)
        held = weights > 0.0
        self._real = self._seen("target", points[held], weights[held])
        self._traversals: dict[int, tuple[State, np.ndarray, Traversal]] = {}
        self._fake: tuple[State, int, Sample] | None = None

    def _seen(self, name: str, points: np.ndarray, weights: np.ndarray) -> Sample:
        """Return what the critic sees of a law."""
        if self.pack > 1 and not np.all(weights == weights[0]):
            raise ValueError(
                f"{name} must be a law of equal atoms to be packed, got weights from {weights.min():g} to {weights.max():g}"
            )
        return self._inputs.of(points, weights)

    def _generated(self, name: str, state: State) -> tuple[int, Sample]:
        """Return how many points a generator has, and what the critic sees of them; the last ones are kept for both players."""
        if self._fake is None or self._fake[0] is not state:
            self._generator.check(name, state, self.target.dim)
            points, weights = self._generator.points(state)
            self._fake = state, len(points), self._seen(name, points, weights)
        return self._fake[1:]

    @property
    def penalties(self) -> tuple[Penalty, ...]:
        """The penalties as a tuple."""
        return () if self.penalty is None else self.penalty if isinstance(self.penalty, tuple) else (self.penalty,)

    @property
    def zero_sum(self) -> bool:
        return self._loss.zero_sum and not any(penalty.on_generator for penalty in self.penalties)

    @cached_property
    def _on_target(self) -> Energy:
        """The energy c -> E_target D_c of linear losses and critics."""
        return self.critic.payoff(self._real.points, self._real.weights)

    @cached_property
    def _cost(self) -> Energy | None:
        """The penalties that do not depend on the generator."""
        return self._paid(self._real, False)

    def _paid(self, generated: Sample, on_generator: bool) -> Energy | None:
        """Return the sum of the penalties that do, or do not, depend on the generator."""
        chosen = [p for p in self.penalties if p.on_generator == on_generator]
        energies = [p.energy(self.critic, generated, self._real, self._seed) for p in chosen]
        return sum(energies[1:], start=energies[0]) if energies else None

    def check(self, states: States) -> None:
        self._generated("initial[0]", states[0])
        self.critic.check("initial[1]", states[1], self.pack * self.target.dim)
        if self._cost is not None and not np.isfinite(self._cost.value(states[1])):
            bounds = ", ".join(repr(p) for p in self.penalties if isinstance(p, (Clip, SpectralBound)))
            raise ValueError(
                f"initial[1] must satisfy {bounds}, got {states[1]!r}: `GAN.admissible` gives the nearest critic that does"
            )

    def admissible(self, critic: State) -> State:
        """Return the critic nearest to a given one that satisfies the constraints `Clip` and `SpectralBound`.

        Examples
        --------
        >>> import numpy as np
        >>> import measureflow as mf
        >>> critic = mf.games.FeatureCritic(lambda x: x, lambda x: np.ones((len(x), 1, 1)))
        >>> mf.games.GAN(mf.Particles([[2.0]]), critic=critic, penalty=mf.games.Clip(0.5)).admissible(mf.Vector([3.0]))
        Vector([0.5])
        """
        return critic if self._cost is None else critic.replace(self._cost.project(critic.coordinates))

    def minibatch(self, size: int, rng: np.random.Generator) -> AbstractGame | None:
        if isinstance(self.target, Histogram):
            return None
        gaussian = isinstance(self.target, Gaussian)
        drawn = Particles(self.target.sample(size, rng)) if gaussian else random_atoms(self.target, size, rng)
        return self._like(drawn, self.generator, rng)

    def thinned(self, size: int, rng: np.random.Generator) -> AbstractGame:
        if self.generator is None:
            return super().thinned(size, rng)
        return self._like(self.target, self.generator.thinned(size, rng), rng)

    def _like(self, target: Law, generator: Generator | None, rng: np.random.Generator) -> GAN:
        """Return the same game against another target or generator, with tuples and pairs of its own."""
        game = object.__new__(GAN)
        for name in ("loss", "critic", "penalty", "pack", "instance_noise"):
            setattr(game, name, getattr(self, name))
        game.target, game.generator = target, generator
        game._prepare(int(rng.integers(2**31)))
        return game

    def best_response(self, player: int, states: States) -> State | None:
        """Return the best critic where it is the maximiser of a quadratic form: linear loss and critic, a ridge, R1 or R2."""
        if player == 0 or not (self._loss.linear and self.critic.linear and isinstance(states[1], Vector)):
            return None
        return _quadratic_minimiser(self.energy(1, states), len(states[1]))

    def invariants(self, metrics: Sequence[Any], speeds: Sequence[float]) -> dict[str, Callable[[States], float]]:
        """Return the energy H of the variance game (theory, G12): a centred law on the line and a free quadratic critic."""
        quadratic = isinstance(self.critic, FeatureCritic) and self.critic.features is monomials
        free = all(isinstance(p, Ridge) and p.beta == 0.0 for p in self.penalties)
        bare = self._loss.linear and free and self.generator is None and self.pack == 1
        if not (quadratic and bare and self.target.dim == 1):
            return {}
        return {"H, if centred": lambda states: variance_energy(states, self.target, (speeds[0], speeds[1]))}

    def _frozen(self, player: int, others: States) -> Energy:
        if player == 0:
            return _GeneratorEnergy(self, others[0])
        _, fake = self._generated("states[0]", others[0])
        if self.nested or isinstance(self._loss, Relativistic):
            energy: Energy = _CriticEnergy(self, fake)
        else:
            energy = self.critic.payoff(fake.points, -fake.weights) + self._on_target
        for cost in (self._cost, self._paid(fake, True)):
            energy = energy if cost is None else energy + cost
        return energy

    @property
    def nested(self) -> bool:
        """Whether the critic's gradient comes from traversals that the generator can use: nothing about it has a closed form."""
        return isinstance(self._loss, Separable) and not (self._loss.linear and self.critic.linear)

    def traversed(self, critic: State, sample: Sample, side: int, want_slopes: bool) -> Traversal:
        """Return D, its slopes if wanted, and the gradient of E phi(D) in the critic; the last ones are kept for both players."""
        kept = self._traversals.get(side)
        if kept is not None and kept[0] is critic and kept[1] is sample.points and (kept[2][1] is not None or not want_slopes):
            return kept[2]
        assert isinstance(self._loss, Separable)
        found = self.critic.traverse(critic, sample, self._loss.sides[side], want_slopes)
        self._traversals[side] = (critic, sample.points, found)
        return found


def _penalties(penalty: Any) -> Any:
    """Return None, a penalty, or a tuple of them."""
    if penalty is None or isinstance(penalty, Penalty):
        return penalty
    if not isinstance(penalty, (tuple, list)):
        raise TypeError(f"penalty must be {ONE}, a sequence of them or None, got {check.show(penalty)}")
    return tuple(check.instance(f"penalty[{k}]", p, Penalty, ONE) for k, p in enumerate(penalty))


@final
class _CriticEnergy(Energy):
    """c -> -(E_mu phi(D_c) + E_target psi(D_c)), or its relativistic kin, for a frozen generator."""

    def __init__(self, game: GAN, fake: Sample) -> None:
        self.game = game
        self.fake = fake

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        game, loss, samples = self.game, self.game._loss, (self.fake, self.game._real)
        if isinstance(loss, Separable):
            found = [game.traversed(state, sample, k, False) for k, sample in enumerate(samples)]
            value = sum(float(s.weights @ side.curve(f[0])[0]) for s, side, f in zip(samples, loss.sides, found, strict=True))
            return -value, -(found[0][2] + found[1][2])
        assert isinstance(loss, Relativistic)
        a, b = (game.critic.values(state, sample.points) for sample in samples)
        value, *forces = loss.critic(a, self.fake.weights, b, game._real.weights)
        pulled = [game.critic.pullback(state, sample.points, q) for sample, q in zip(samples, forces, strict=True)]
        return -value, -(pulled[0] + pulled[1])


@final
class _GeneratorEnergy(Energy):
    """The generator's energy for a frozen critic: a potential chi(D) on what the critic sees of the law."""

    def __init__(self, game: GAN, critic: State) -> None:
        self.game = game
        self.critic = critic

    @property
    def generator(self) -> Generator:
        """How the state is a law."""
        return self.game._generator

    def on_law(self) -> Energy:
        """Return the same energy of a law that is the state itself."""
        return _GeneratorEnergy(self.game._like(self.game.target, None, np.random.default_rng(self.game._seed)), self.critic)

    def law(self, state: State) -> Particles:
        """Return the generated law."""
        return Particles(*self.game._generator.points(state))

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        value, first, force = self._forces(state)
        return value, self.game._generator.gradient(state, first, force)

    def _variation(self, law: State) -> np.ndarray:
        return self._forces(law)[1]

    def _forces(self, state: State) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the value, and the first variation and its gradient at the generated points."""
        game = self.game
        count, fake = game._generated("state", state)
        real, loss = game._real, game._loss
        d, slopes = self._values_and_slopes(fake)
        b = self._on_target() if loss.zero_sum or isinstance(loss, Relativistic) else real.weights
        values, q = loss.generator(d, b, real.weights)
        first, force = game._inputs.back(count, values, q[:, None] * slopes)
        value = float(fake.weights @ values) + loss.offset(b, real.weights)
        if loss.zero_sum and game._cost is not None:
            value -= game._cost.value(self.critic)
        return value, first, force

    def _values_and_slopes(self, fake: Sample) -> tuple[np.ndarray, np.ndarray]:
        game = self.game
        if game.nested:
            values, slopes, _ = game.traversed(self.critic, fake, 0, True)
            assert slopes is not None
            return values, slopes
        return game.critic.values_and_slopes(self.critic, fake.points)

    def _on_target(self) -> np.ndarray:
        """Return D at the target's points; the critic's own step from the same state asks for it too, and finds it kept."""
        game = self.game
        return (
            game.traversed(self.critic, game._real, 1, False)[0]
            if game.nested
            else game.critic.values(self.critic, game._real.points)
        )


def _quadratic_minimiser(energy: Energy, dim: int) -> Vector | None:
    """Return the minimiser of a sum of quadratic forms on R^dim if it is unique."""
    matrix, linear = np.zeros((dim, dim)), np.zeros(dim)
    for factor, term in energy.terms():
        if not isinstance(term, Quadratic):
            return None
        a, b, _ = term.normal_form(dim)
        matrix, linear = matrix + factor * a, linear + factor * b
    if np.linalg.eigvalsh(matrix)[0] <= 1e-14 * max(1.0, float(np.abs(matrix).max())):
        return None
    return Vector(-np.linalg.solve(matrix, linear))
