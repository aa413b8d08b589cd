"""The time loop: one solver for gradient flows and for games."""

from __future__ import annotations

import numbers
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow._threads import one_blas_thread
from measureflow.energies import Energy
from measureflow.errors import CallbackError, ConvergenceError, MeasureflowError
from measureflow.events import Event, checked_events, zeros
from measureflow.games import AbstractGame, Game
from measureflow.metrics import Metric, natural
from measureflow.recorder import FAILURES, Recorder
from measureflow.schemes import SCHEMES, Players, Scheme
from measureflow.solution import Solution
from measureflow.states import State

States = tuple[State, ...]


def solve(
    problem: Energy | AbstractGame,
    initial: State | Sequence[State],
    t_span: float | tuple[float, float],
    tau: float,
    *,
    scheme: str | Scheme = "jko",
    metric: Metric | Sequence[Metric] | None = None,
    speeds: Sequence[float] | float | None = None,
    batch: int | None = None,
    seed: int | None = None,
    save_at: Any = None,
    events: Any = (),
    progress: bool = False,
) -> Solution:
    """Solve the gradient flow of an energy, or the dual flow of a game.

    Parameters
    ----------
    problem : Energy or game
        An energy is the game of one player.
    initial : State or sequence of State
        The state at the first time; for games one a player.
    t_span : float or (float, float)
        Last time, or first and last time, first < last.
    tau : float
        Step, positive. If it does not divide the time span, the last step is shorter.
    scheme : {"jko", "explicit"} or Scheme
        An object sets the coupling of the players and other options, as in ``JKO("alternating")``.
    metric : Metric or sequence of Metric, optional
        For each player; None is the states' own: W2 for laws, Euclidean for `Vector`, L2 for `Field`.
    speeds : sequence of float, optional
        Learning-rate ratios, positive: player i takes steps of size speeds[i] * tau. Default 1.
    batch : int, optional
        Draw this many atoms of the target, anew in each step and without replacement.
    seed : int, optional
        Makes the mini-batches reproducible; needed with `batch`.
    save_at : int or array_like, optional
        None keeps every step, an int k every k-th step (and the ends), an increasing array these times, interpolated along
        the geodesic of the step.
    events : callable or sequence of callables
        event(t, state) -> float (state: tuple for games); zeros are reported in ``sol.info["events"]``. An attribute ``terminal =
        True`` ends the flow there, ``direction`` (+1, -1) selects rising or falling crossings, as in SciPy.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    Solution

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, before any work starts.
    ConvergenceError
        If an inner solver fails or a state stops being finite; its attribute `solution` holds the flow up to there.
    CallbackError
        If a function of the user returns something wrong; it carries `solution` too.

    Notes
    -----
    Linear algebra runs on one BLAS thread meanwhile, so that the same inputs and seed give the same bits on any number of
    threads.

    Examples
    --------
    >>> import measureflow as mf
    >>> sol = mf.solve(mf.energies.Quadratic(), mf.Vector(1.0), 1.0, 0.1)
    >>> sol.states[-1].values.round(6)
    array([0.385543])
    """
    players, states, single = _players(problem, initial, metric, speeds)
    method = _scheme(scheme)
    if method.inner_steps is not None and len(method.inner_steps) != len(players):
        raise ValueError(f"inner_steps must have {len(players)} entries, one for each player, got {method.inner_steps}")
    t0, t1 = _span(t_span)
    tau = check.scalar("tau", tau, above=0.0)
    times, taus = _times(t0, t1, tau)
    batches = _batches(players.game, batch, seed)
    keep = _save_at(save_at, times)
    watched = checked_events(events)
    recorder = Recorder(players, method, single, keep)
    check.flag("progress", progress)
    method.check(players, states)
    # the checks of states and results find what is not finite, so that NumPy need not warn
    with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
        _check_defined(players, states)
        recorder.start(t0, states)
        return _loop(players, method, states, times, taus, recorder, batches, watched, progress)


def _loop(
    players: Players,
    scheme: Scheme,
    states: States,
    times: np.ndarray,
    taus: np.ndarray,
    recorder: Recorder,
    batches: Any,
    events: tuple[Event, ...],
    progress: bool,
) -> Solution:
    """Step through the times; whatever fails leaves the flow so far in the error's `solution`."""
    started = time.process_time()
    memory = scheme.init(players, states)
    watch = _Watch(events, recorder, times[0], states)
    k = 0
    try:
        for k in _bar(len(times) - 1, progress):
            seen = players if batches is None else Players(batches(k), players.metrics, players.speeds)
            new, memory, infos = scheme.step(seen, states, memory, float(taus[k]))
            stop = watch.step(times[k], times[k + 1], states, new)
            if stop is not None:
                recorder.stop(times[k], times[k + 1], states, new, infos, stop)
                break
            recorder.step(k, times[k], times[k + 1], states, new, infos)
            states = new
        return recorder.finish(time.process_time() - started)
    except FAILURES as error:
        flow = recorder.finish(time.process_time() - started, failed=True)
        raise _with_solution(error, flow, times[k], times[k + 1]) from error


def _with_solution(error: Exception, solution: Solution, t0: float, t1: float) -> MeasureflowError:
    """Return the error of a failed step, with what was computed before it."""
    where = f"in the step from t = {t0:.6g} to {t1:.6g}: {error}"
    if isinstance(error, ConvergenceError):
        failure: MeasureflowError = ConvergenceError(where, error.residual, error.tolerance)
    elif isinstance(error, MeasureflowError):
        failure = type(error)(where)
    else:
        failure = ConvergenceError(where if "tau" in str(error) else f"{where} (try a smaller tau)")
    failure.solution = solution
    return failure


class _Watch:
    """Looks for zeros of events along the geodesic of each step."""

    def __init__(self, events: tuple[Event, ...], recorder: Recorder, t0: float, states: States) -> None:
        self.events = events
        self.recorder = recorder
        self.values = [event(t0, recorder.shown(states)) for event in events]

    def step(self, t0: float, t1: float, old: States, new: States) -> float | None:
        """Record the zeros in (t0, t1]; return the time of the first terminal one."""
        if not self.events:
            return None

        def path(t: float) -> Any:
            return self.recorder.shown(self.recorder.between(t0, t1, old, new, t))

        found = []
        for k, event in enumerate(self.events):
            times, self.values[k] = zeros(event, path, t0, t1, self.values[k])
            found += [(t, k) for t in times]
        stop = min((zero for zero, k in found if self.events[k].terminal), default=None)
        for zero, k in sorted(found):
            if stop is None or zero <= stop:
                self.recorder.event(k, zero)
        return stop


def _players(problem: Any, initial: Any, metric: Any, speeds: Any) -> tuple[Players, States, bool]:
    check.instance("problem", problem, (Energy, AbstractGame), "an Energy or a game")
    single = isinstance(problem, Energy)
    game = Game([problem]) if single else problem
    if single:
        states: States = (check.instance("initial", initial, State, "a state"),)
    else:
        states = tuple(_sequence("initial", initial, game.players, "a state", State))
    game.check(states)
    metrics = _metrics(metric, states)
    if speeds is None:
        speeds = (1.0,) * game.players
    elif game.players == 1 and isinstance(speeds, numbers.Real):
        speeds = (speeds,)
    ratios = check.entries("speeds", speeds, game.players, "one positive number a player")
    return Players(game, metrics, tuple(check.scalar("speeds", eta, above=0.0) for eta in ratios)), states, single


def _metrics(metric: Any, states: States) -> tuple[Metric, ...]:
    if metric is None:
        return tuple(natural(x) for x in states)
    if isinstance(metric, Metric):
        return (metric,) * len(states)
    chosen = _sequence("metric", metric, len(states), "a Metric or None", (Metric, type(None)))
    return tuple(m or natural(x) for m, x in zip(chosen, states, strict=True))


def _sequence(name: str, value: Any, count: int, allowed: str, kind: Any) -> list[Any]:
    items = check.entries(name, value, count, f"{allowed} for each player")
    return [check.instance(f"{name}[{k}]", item, kind, allowed) for k, item in enumerate(items)]


def _scheme(scheme: Any) -> Scheme:
    if isinstance(scheme, Scheme):
        return scheme
    if not isinstance(scheme, str):
        raise TypeError(f"scheme must be a Scheme or one of {', '.join(map(repr, SCHEMES))}, got {check.show(scheme)}")
    return SCHEMES[check.choice("scheme", scheme, tuple(SCHEMES))]()


def _span(t_span: Any) -> tuple[float, float]:
    if isinstance(t_span, numbers.Real):
        return 0.0, check.scalar("t_span", t_span, above=0.0)
    first, last = check.entries("t_span", t_span, 2, "the first and the last time (or be the last time)")
    t0 = check.scalar("t_span[0]", first)
    t1 = check.scalar("t_span[1]", last, above=t0)
    check.scalar("the length of t_span", t1 - t0)
    return t0, t1


def _times(t0: float, t1: float, tau: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the times between steps (steps + 1,), multiples of tau and the end, and the sizes of the steps (steps,)."""
    ratio = (t1 - t0) / tau
    if ratio > 1e8:
        raise ValueError(f"tau must be at least 1e-8 of the time span, got {tau!r} for a span of {t1 - t0:g}")
    steps = max(1, int(np.ceil(ratio * (1.0 - 1e-9))))
    times = t0 + tau * np.arange(steps + 1)
    times[-1] = t1
    taus = np.full(steps, tau)
    if abs(ratio - steps) > 1e-9 * steps:
        taus[-1] = t1 - times[-2]
    if not np.all(np.diff(times) > 0.0):
        raise ValueError(f"tau must be above the rounding of the times, got {tau!r} for times up to {t1!r}")
    return times, taus


def _batches(game: AbstractGame, batch: Any, seed: Any) -> Any:
    """Return the function step -> game against a random part of the target, or None."""
    if seed is not None:
        seed = check.seed("seed", seed)
    if batch is None:
        return None
    size = check.integer("batch", batch, least=1)
    if seed is None:
        raise ValueError("seed must be given with batch, so that the run can be repeated")

    def draw(k: int) -> AbstractGame | None:
        return game.minibatch(size, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(k,))))

    if draw(0) is None:
        raise ValueError(f"batch must be None for a problem without a target of atoms, got {size}")
    return draw


def _save_at(save_at: Any, times: np.ndarray) -> Any:
    """Return the stride of saved steps, or the array of saved times."""
    if save_at is None:
        return 1
    if isinstance(save_at, numbers.Number):
        return check.integer("save_at", save_at, least=1)
    wanted = check.array("save_at", save_at, ndim=1)
    if np.any(np.diff(wanted) <= 0.0):
        raise ValueError("save_at must be increasing")
    if wanted[0] < times[0] or wanted[-1] > times[-1]:
        raise ValueError(f"save_at must lie in t_span [{times[0]:g}, {times[-1]:g}], got [{wanted[0]:g}, {wanted[-1]:g}]")
    return wanted


def _check_defined(players: Players, states: States) -> None:
    """Evaluate every energy once, so that a wrong combination of problem and states fails before the first step."""
    try:
        players.energies(states)
    except CallbackError as error:
        raise type(error)(f"at the initial state: {error}") from error


def _bar(steps: int, progress: bool) -> Iterator[int]:
    if not progress:
        yield from range(steps)
        return
    from tqdm.auto import tqdm

    yield from tqdm(range(steps), unit="step", mininterval=0.2)
