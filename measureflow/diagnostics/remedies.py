"""What the theory says against rotation, collapse and bias, with the values to set (theory, 4.2, 5.2, 6, 8 and 9.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from measureflow.diagnostics.paths import gan_of
from measureflow.diagnostics.strength import coupling
from measureflow.diagnostics.suggestion import Suggestion, ridge_of, with_penalties, with_ridge
from measureflow.energies import MMD, EnergyDistance
from measureflow.errors import UnsupportedError
from measureflow.games import GAN, DiracGAN, Game, NeuronCritic, Ridge, Unrolled
from measureflow.metrics import FisherRao, WassersteinFisherRao
from measureflow.schemes import JKO, VIM, Explicit, Projected
from measureflow.states import Law, Particles, Vector, atoms

if TYPE_CHECKING:
    from measureflow.solution import Solution

SLOWEST = 100.0


def against_rotation(sol: Solution, frequency: float, growth_of_flow: float | None, growth_of_step: float) -> list[Suggestion]:
    """Return what damps a rotation of this frequency: linear in the deviation, it obeys l^2 + eta beta l + omega^2 = 0."""
    problem, speeds = sol.players.game, sol.players.speeds
    if growth_of_flow is not None and growth_of_flow < -1e-3 * frequency and growth_of_step > 0.0:
        return [_smaller_steps(frequency, growth_of_flow), _implicit(sol, frequency)]
    found: list[Suggestion] = []
    eta = speeds[1] if len(speeds) == 2 else 1.0
    beta0 = ridge_of(problem)
    natural = float(np.hypot(frequency, 0.5 * eta * beta0))
    beta = 2.0 * natural / eta
    game = with_ridge(problem, beta) if isinstance(sol.row(-1)[-1], (Vector, Particles)) else None
    if game is not None:
        found.append(
            Suggestion(
                "ridge",
                f"A ridge beta >= 2 omega/eta = {beta:.4g} on the critic (omega = {natural:.4g}, eta = {eta:.4g}) damps the "
                "rotation critically (theory, 7.1, 8).",
                _ridge_call(problem, beta),
                beta,
                {"problem": game},
            )
        )
    if problem.zero_sum and len(speeds) == 2 and isinstance(sol.row(-1)[1], (Vector, Particles)):
        size = eta / natural
        found.append(
            Suggestion(
                "unrolled",
                f"A generator that foresees K = 1 step of the critic of size eta/omega = {size:.4g} is damped critically "
                "(theory, 4.2).",
                f"mf.games.Unrolled(game, 1, {size:.4g})",
                float(size),
                {"problem": Unrolled(problem, 1, float(size))},
            )
        )
    found.append(_implicit(sol, frequency))
    words = "Time averages of a rotating flow of a convex-concave game converge at the rate 1/t (theory, D3, D10)."
    return [*found, Suggestion("average", words, "sol.averages()")]


def _ridge_call(problem: Any, beta: float) -> str:
    if isinstance(problem, DiracGAN):
        return f"mf.games.DiracGAN({problem.variant!r}, r1={beta:.4g})"
    if isinstance(problem, GAN):
        return f"mf.games.GAN(..., penalty=mf.games.Ridge({beta:.4g}))"
    return f"mf.games.Regularised(game, [None, mf.energies.Quadratic({beta:.4g})])"


def _step(sol: Solution) -> float:
    return float(np.median(np.diff(sol.t))) * max((len(sol) - 1) / max(sol.outcome.steps, 1), 1e-300)


def _implicit(sol: Solution, frequency: float) -> Suggestion:
    damping = 0.5 * frequency**2 * _step(sol)
    return Suggestion(
        "scheme",
        f"The implicit coupling adds the damping omega^2 tau/2 = {damping:.4g}; it is made by the step and vanishes with it "
        "(theory, 6, D8).",
        'scheme=mf.JKO("implicit")',
        damping,
        {"scheme": JKO("implicit")},
    )


def _smaller_steps(frequency: float, flow: float) -> Suggestion:
    """Return half of the largest stable step where the flow is damped and its steps are not: tau < 2 l/(l^2 + c^2) (D7)."""
    tau = -flow / (flow**2 + frequency**2)
    words = (
        f"The flow itself is damped at the rate {-flow:.4g}; steps with an explicit coupling are stable for "
        f"tau < 2 l/(l^2 + c^2) = {2.0 * tau:.4g} only (theory, D7)."
    )
    return Suggestion("tau", words, f"tau={tau:.4g}", float(tau), {"tau": float(tau)})


def exact_amplitude() -> Suggestion:
    """Return the scheme that keeps the amplitude of rotations."""
    words = "The amplitude's growth is made by the step; the implicit midpoint keeps amplitudes for every tau (theory, 6)."
    return Suggestion("midpoint", words, 'scheme=mf.VIM("implicit")', None, {"scheme": VIM("implicit")})


def law_generator(modes: int) -> Suggestion:
    """Return the advice to generate with a law."""
    words = f"The generator has fewer atoms than the target has {modes} modes; a law spreads over them (theory, M2)."
    return Suggestion("generator", words, "initial=(mf.Particles(points of shape (n, d), n >> modes), critic)")


def wider_kernel(problem: Any, gap: float) -> list[Suggestion]:
    """Return a kernel that pulls over the distance to the target, for flows of an MMD whose kernel is too narrow for it."""
    energy = problem.energies[0] if isinstance(problem, Game) and problem.players == 1 else None
    if not isinstance(energy, MMD):
        return []
    words = f"The kernel is flat over the distance {gap:.4g} to the target; -|x - y| has no scale to be set (theory, S9, 7.2)."
    target = energy.target
    return [Suggestion("kernel", words, "mf.energies.EnergyDistance(target)", gap, {"problem": EnergyDistance(target)})]


def other_critic(sol: Solution) -> list[Suggestion]:
    """Return a critic or a kernel that sees every difference."""
    if sol.scheme is None:
        return []
    gan = gan_of(sol.players.game)
    if gan is not None and not gan.critic.linear:
        return [_damped(sol, gan)]
    words = (
        "Features that vanish on the difference, or are flat where the atoms are, do not pull; a characteristic kernel of long "
        "range or a critic of neurons does (theory, 7.2)."
    )
    call = "critic=mf.games.NeuronCritic() or mf.energies.EnergyDistance(target)"
    return [Suggestion("features", words, call)]


def sharper_kernel(problem: Any, sol: Solution) -> list[Suggestion]:
    """Return a kernel that sees fine differences, for flows of an MMD whose kernel is too wide for the modes."""
    energy = problem.energies[0] if isinstance(problem, Game) and problem.players == 1 else None
    if not isinstance(energy, MMD):
        return []
    tau = min(_step(sol), 0.1 * float(np.sqrt(_square(energy.target) / energy.target.dim)))
    words = (
        "The kernel is too wide for the modes, or too narrow to pull from one to the next; -|x - y| has no scale, and takes "
        f"steps of a tenth of the spread, {tau:.4g} (theory, S9)."
    )
    cure = {"problem": EnergyDistance(energy.target), "tau": tau}
    return [Suggestion("kernel", words, f"mf.energies.EnergyDistance(target), tau={tau:.4g}", tau, cure)]


def with_transport(sol: Solution) -> list[Suggestion]:
    """Return the metric in which mass moves, for flows in which it only grows and shrinks where it is (theory, 8)."""
    if sol.scheme is None or not isinstance(sol.players.metrics[0], FisherRao) or not isinstance(sol.row(-1)[0], Particles):
        return []
    words = "Masses that only grow and shrink cannot revive a mode without mass; with transport atoms move there (theory, 8)."
    call = "metric=mf.WassersteinFisherRao()"
    change: dict[str, Any] = {"metric": WassersteinFisherRao()}
    energy = sol.players.game.energies[0] if isinstance(sol.players.game, Game) else None
    if isinstance(energy, MMD) and not isinstance(energy, EnergyDistance):
        call += ", problem=mf.energies.EnergyDistance(target)"
        change |= {"problem": EnergyDistance(energy.target)}
    return [Suggestion("metric", words, call, None, change)]


def longer(sol: Solution) -> Suggestion:
    """Return twice the time."""
    end = float(sol.t[0]) + 2.0 * float(sol.t[-1] - sol.t[0])
    words = f"The run is too short to tell: go on to t = {end:.4g}."
    return Suggestion("time", words, f"t_span={end:.4g}", end, {"t_span": (float(sol.t[0]), end)})


def smaller_step(sol: Solution) -> Suggestion:
    """Return a quarter of the step, which tells a flow that blows up from steps that do."""
    tau = 0.25 * _step(sol)
    words = "A smaller step tells whether the flow itself ends there, or its steps are unstable (theory, D7)."
    return Suggestion("tau", words, f"tau={tau:.4g}", tau, {"tau": tau})


def stable_step(sol: Solution, evidence: dict[str, float]) -> list[Suggestion]:
    """Return a step that is small beside the time 1/(L sqrt(eta)) in which the players turn, L as at the start."""
    if sol.scheme is None:
        return []
    strength, speeds = _coupling_or_none(sol, 0), sol.players.speeds
    if not strength or len(speeds) != 2:
        return [smaller_step(sol)]
    turn = 1.0 / (strength * float(np.sqrt(speeds[0] * speeds[1])))
    tau = min(0.2 * turn, 0.25 * _step(sol))
    evidence["coupling L"] = strength
    words = (
        f"The players turn about each other in a time of 1/(L sqrt(eta)) = {turn:.4g} (L = {strength:.4g} the coupling at the "
        "start); take a step well below it (theory, D7)."
    )
    return [Suggestion("tau", words, f"tau={tau:.4g}", tau, {"tau": tau})]


def _coupling_or_none(sol: Solution, row: int) -> float | None:
    try:
        found = coupling(sol, row)
    except (ValueError, UnsupportedError):
        return None
    return found if found is not None and np.isfinite(found) else None


def against_collapse(sol: Solution, evidence: dict[str, float], few_atoms: bool, modes: int) -> list[Suggestion]:
    """Return what keeps a generator from collapse: a law, a loss that damps, a ridge, a fast enough critic (theory, 8, D9)."""
    found = [law_generator(modes)] if few_atoms else []
    gan, speeds = gan_of(sol.players.game), sol.players.speeds
    if gan is None or len(speeds) != 2:
        return found
    if not gan.critic.linear:
        return [*found, _damped(sol, gan)]
    strength, beta, ratio = _coupling_or_none(sol, -1), ridge_of(gan), speeds[1] / speeds[0]
    if not strength:
        return found
    needed = 2.0 * strength / np.sqrt(ratio)
    evidence |= {"coupling L": strength, "critic speed eta": ratio, "ridge beta": beta, "ridge without rotation": needed}
    if beta < needed:
        words = (
            f"The critic swings as beta sqrt(eta) < 2 L = {2.0 * strength:.4g} (L the coupling): take beta = {needed:.4g} "
            "(theory, 8, D9)."
        )
        game = with_ridge(sol.players.game, needed)
        change = {} if game is None else {"problem": game}
        found.append(Suggestion("ridge", words, _ridge_call(sol.players.game, needed), needed, change))
    eta = 4.0 * (strength / beta) ** 2 if beta > 0.0 else np.inf
    if ratio < eta <= SLOWEST * ratio:
        evidence["critic speed without rotation"] = eta
        found.append(_faster_critic(sol, strength, beta, eta))
    return found


def _damped(sol: Solution, gan: GAN) -> Suggestion:
    """Return the least-squares loss with players in turn and a critic that answers in a step, for critics of neurons."""
    if not isinstance(gan.critic, NeuronCritic):
        words = (
            'A law of neurons as critic, with the loss "least squares", damps the game; networks with weights in R^p need not.'
        )
        call = 'mf.games.GAN(target, "least squares", critic=mf.games.NeuronCritic()), as mf.modes.train_dual_network does'
        return Suggestion("critic", words, call)
    tau = 0.03 * _square(gan.target)
    span = (float(sol.t[0]), float(sol.t[0]) + 700.0 * tau)
    words = (
        'The loss "least squares" damps a critic of neurons, whose ridge would let them die; let players move in turn, the '
        f"generator by steps of 0.03 E|y - Ey|^2 = {tau:.4g} and the critic by steps of 1 (theory, 7.2, 8)."
    )
    game = with_penalties(gan, "least squares", [p for p in gan.penalties if not isinstance(p, Ridge)])
    law = gan.generator is None
    scheme = Explicit("alternating") if law else Projected("explicit", 10, rows=128, coupling="alternating", seed=0)
    name = 'mf.Explicit("alternating")' if law else 'mf.Projected("explicit", 10, rows=128, coupling="alternating", seed=0)'
    speeds = (1.0, 1.0 / tau)
    call = f'mf.games.GAN(target, "least squares", ...), tau={tau:.4g}, speeds=(1, {speeds[1]:.4g}), scheme={name}'
    change = {"problem": game, "tau": tau, "speeds": speeds, "t_span": span, "scheme": scheme}
    return Suggestion("loss", words, call, tau, change)


def _square(law: Law) -> float:
    """Return E|y - Ey|^2 of a law of atoms."""
    points, weights = atoms(law)
    return float(weights @ np.sum((points - weights @ points) ** 2, axis=1))


def _faster_critic(sol: Solution, strength: float, beta: float, eta: float) -> Suggestion:
    """Return a slower generator rather than a faster critic, for whose steps tau is made."""
    speeds, t = sol.players.speeds, sol.t
    slow = speeds[1] / eta
    longer = float(t[-1] - t[0]) * speeds[0] / slow
    words = (
        f"The critic swings as long as eta < 4 L^2/beta^2 = {eta:.4g} (L = {strength:.4g} the coupling, beta = {beta:.4g}): a "
        f"generator of speed {slow:.4g} sees a critic at its best reply (theory, D9: eps < beta^2/4)."
    )
    call = f"speeds=({slow:.4g}, {speeds[1]:.4g}), t_span={longer:.4g}"
    return Suggestion("critic speed", words, call, eta, {"speeds": (slow, speeds[1]), "t_span": longer})


def batch_for(points: np.ndarray, shrink: float, wanted: float = 0.99) -> tuple[float, int]:
    """Return the batch size at which transport to random batches of these points shrinks deviations to `shrink`, and to `wanted`.

    To batches of B atoms the deviation tends to sqrt(rho_B) of the target's, rho_B = E <x, T x> of two batches (theory, N4).
    """
    sizes = np.unique(np.geomspace(1, max(min(len(points), 400), 2), 24).round().astype(int))
    factors = np.maximum.accumulate([np.sqrt(max(_rho(points, int(n)), 0.0)) for n in sizes])
    seen = float(np.interp(shrink, factors, sizes))
    if factors[-1] >= wanted:
        return seen, int(sizes[np.argmax(factors >= wanted)])
    lost = (1.0 - factors[-1]) * sizes[-1]  # 1 - rho_B falls about like 1/B
    return seen, int(np.ceil(lost / (1.0 - wanted)))


def _rho(points: np.ndarray, n: int) -> float:
    """Return the correlation of optimally matched batches of n of these points."""
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng(n)
    centred = points - points.mean(axis=0)
    total = square = 0.0
    for _ in range(max(20, 4000 // n)):
        a, b = (centred[rng.choice(len(centred), size=n, replace=n > len(centred))] for _ in range(2))
        square += 0.5 * float(np.sum(a**2) + np.sum(b**2)) / n
        if a.shape[1] == 1:
            total += float(np.sort(a[:, 0]) @ np.sort(b[:, 0])) / n
        else:
            products = a @ b.T
            total += float(products[linear_sum_assignment(-products)].mean())
    return total / max(square, 1e-300)
