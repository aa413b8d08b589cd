"""`solve` and `resume`: one solver for gradient flows and for games."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow._threads import one_blas_thread
from measureflow.energies import Energy
from measureflow.errors import CallbackError, UnsupportedError
from measureflow.events import checked_events
from measureflow.games import AbstractGame, Game
from measureflow.job import Job, arguments, describe
from measureflow.loop import Loop
from measureflow.metrics import Metric, natural
from measureflow.progress import Bar
from measureflow.recipes import has_python
from measureflow.rundir import folder, read_about
from measureflow.schemes import SCHEMES, Players, Scheme, States
from measureflow.sink import Memory
from measureflow.solution import Solution, load
from measureflow.states import State
from measureflow.stepping import AdaptiveSteps, FixedSteps, Position, stepping
from measureflow.store import Store


def solve(
    problem: Energy | AbstractGame,
    initial: State | Sequence[State],
    t_span: float | tuple[float, float],
    tau: float | str,
    *,
    scheme: str | Scheme = "jko",
    metric: Metric | Sequence[Metric] | None = None,
    speeds: Sequence[float] | float | None = None,
    rtol: float = 1e-3,
    atol: float = 1e-6,
    batch: Any = None,
    seed: int | None = None,
    save_at: Any = None,
    events: Any = (),
    progress: bool = False,
    store: str | Path | None = None,
    throw: bool = True,
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
    tau : float or "auto"
        Step, positive. If it does not divide the time span, the last step is shorter. "auto" chooses steps by step doubling: two
        half steps are kept if a whole step ends near them.
    scheme : {"jko", "vim", "bdf2", "explicit", "rk2", "rk4", ...} or Scheme
        Also "extrapolated-vim", "extrapolated-bdf2", "three-stage", "richardson", "forward-backward" and "mirror". An object sets
        the coupling of the players and other options, as in ``JKO("alternating")``.
    metric : Metric or sequence of Metric, optional
        For each player; None is the states' own: W2 for laws, Euclidean for `Vector`, L2 for `Field`.
    speeds : sequence of float, optional
        Learning-rate ratios, positive: player i takes steps of size speeds[i] * tau. Default 1.
    rtol, atol : float
        For tau="auto": the error of a step of size tau may be ``atol * tau + rtol * distance``, with the distance that the step
        moves, in the product metric sqrt(sum d_i^2 / speed_i). Errors of all steps so add up to at most atol times the time span
        plus rtol times the length of the curve.
    batch : int or (int or None, int or None), optional
        Draw this many atoms of the target, anew in each step and without replacement; a pair (target, own) also lets every player
        see only so many random atoms of the other players' `Particles`, or of the latent law of an `MLPGenerator`.
    seed : int, optional
        Makes the mini-batches reproducible; needed with `batch`.
    save_at : int or array_like, optional
        None keeps every step, an int k every k-th step (and the ends), an increasing array these times, interpolated along
        the geodesic of the step (of a `Histogram` under W2 by mixing masses, see `Solution.__call__`).
    events : callable or sequence of callables
        event(t, state) -> float (state: tuple for games); zeros are reported in ``sol.info["events"]``. An attribute ``terminal =
        True`` ends the flow there, ``direction`` (+1, -1) selects rising or falling crossings, as in SciPy.
    progress : bool
        Show a progress bar on standard error.
    store : str or Path, optional
        Folder to write the flow to while it is computed: new, empty, or the run of the same problem, which then goes on from its
        last checkpoint, or is returned if it is finished. Rows are then read from there when they are asked for.
    throw : bool
        Whether a flow that stops early raises (see below) or is returned, with its `status` saying why.

    Returns
    -------
    Solution

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, before any work starts, or `store` holds another problem.
    ConvergenceError
        If an inner solver fails or a state stops being finite, even in a step halved 20 times, or the error control stalls; its
        attributes `solution`, `status`, `time` and `player` hold the flow up to there and say what stopped it.
    CallbackError
        If a function of the user returns something wrong; it carries the flow too.
    FlowInterrupt
        After Ctrl-C, which ends the flow behind the current step; it carries the flow too.
    RunLockedError
        If another process writes to `store`.
    OSError
        If `store` cannot be written; it carries the flow too.

    Notes
    -----
    A step that fails, or that gives energies that are not finite, is tried again at half its size, up to 20 times; behind the
    trouble steps grow back to tau. Any other exception of the user's functions passes unchanged, with the flow so far in its
    attribute `solution`.

    Linear algebra runs on one BLAS thread meanwhile, so that the same inputs and seed give the same bits on any number of
    threads.

    Examples
    --------
    >>> import measureflow as mf
    >>> sol = mf.solve(mf.energies.Quadratic(), mf.Vector(1.0), 1.0, 0.1)
    >>> sol.states[-1].values.round(6)
    array([0.385543])
    >>> flow = mf.solve(mf.games.DiracGAN("wgan"), (mf.Vector(1.0), mf.Vector(0.0)), 1.0, "auto", rtol=1e-2)
    >>> flow.info["steps"] < 600, flow.status == "done"
    (True, True)
    """
    players, states, single = _players(problem, initial, metric, speeds)
    method = _scheme(scheme)
    if method.inner_steps is not None and len(method.inner_steps) != len(players):
        raise ValueError(f"inner_steps must have {len(players)} entries, one for each player, got {method.inner_steps}")
    steps = stepping(*_span(t_span), tau, rtol, atol, players, method.order_for(len(players)))
    method.check_steps(isinstance(steps, AdaptiveSteps))
    seed = None if seed is None else check.seed("seed", seed)
    batches = _batches(players.game, batch, seed)
    job = Job(players, method, single, states, steps, _save_at(save_at, steps), checked_events(events), batches)
    check.flag("progress", progress)
    check.flag("throw", throw)
    method.check(players, states)
    _require_between(job)
    # the checks of states and results find what is not finite, so that NumPy need not warn
    with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
        start = _start(job)
        if store is None:
            with Bar(progress, steps) as bar:
                return Loop(job, Memory(len(players)), bar).run(None, throw)
        arrays: dict[str, np.ndarray] = {}
        about = describe(job, problem, start, {"batch": batch, "seed": seed}, arrays)
        with closing(Store(store, about, arrays, states)) as run:
            ending = run.ending()
            if ending is not None and ending.status.success:
                return Solution(run.rows(), players, method, single, ending)
            with Bar(progress, steps) as bar:
                return Loop(job, run, bar).run(_checked(run.resumed(), steps), throw)


def resume(path: str | Path, problem: Any = None, *, events: Any = (), progress: bool = False, throw: bool = True) -> Solution:
    """Go on with a run that `solve` wrote to a folder, from its last checkpoint, to the same bits as if it had not been ended.

    Parameters
    ----------
    path : str or Path
        The run directory.
    problem : Energy or game, optional
        Needed if the problem holds functions of the user's, which files do not keep: the same as in `solve`.
    events, progress, throw
        As in `solve`; events must be given if the run watches any.

    Returns
    -------
    Solution
        As `solve` with ``store=path`` returns it; a finished run is returned as it is.

    Raises
    ------
    TypeError, ValueError, ConvergenceError, CallbackError, FlowInterrupt, RunLockedError, OSError
        As `solve`; ValueError also if there is no run at `path`, or it needs `problem` or `events`.

    Examples
    --------
    >>> import tempfile, measureflow as mf
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     flow = mf.solve(mf.energies.Quadratic(), mf.Vector(1.0), 1.0, 0.25, store=folder)
    ...     mf.resume(folder).states[-1]
    Vector([0.4096])
    """
    home = folder(path, "path")
    if not home.run.exists():
        raise ValueError(f"path must be a run directory that solve(..., store=path) wrote, got {home.path} without run.json")
    try:
        about, arrays = read_about(home)
        lacks = problem is None and (has_python(about["problem"]) or (about["events"] and not events))
        ended = load(home.path) if home.done.exists() and lacks else None
        found = arguments(about, arrays, problem, events) if ended is None or not ended.success else {}
    except (OSError, ValueError, TypeError):
        raise
    except Exception as error:  # whatever a crafted file may provoke
        raise ValueError(f"path must be a run directory, got {home.path}: {error!r}") from error
    if not found:
        assert ended is not None
        return ended  # finished, without its problem, which it does not need any more
    return solve(**found, store=home.path, progress=progress, throw=throw)


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


def _batches(game: AbstractGame, batch: Any, seed: int | None) -> Any:
    """Return the function step -> game against a random part of the target, or None."""
    if batch is None:
        return None
    pair = batch if isinstance(batch, (tuple, list)) else (batch, None)
    pair = check.entries("batch", pair, 2, "atoms of the target and of the players, integers or None")
    target, own = (None if size is None else check.integer("batch", size, least=1) for size in pair)
    if seed is None:
        raise ValueError("seed must be given with batch, so that the run can be repeated")
    if own is not None and game.players == 1:
        raise ValueError(f"batch must be one number for a problem of one player, who sees no other, got {check.show(batch)}")

    def draw(k: int) -> AbstractGame | None:
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(k,)))
        drawn = game if target is None else game.minibatch(target, rng)
        return drawn if drawn is None or own is None else drawn.thinned(own, rng)

    if draw(0) is None:
        raise ValueError(f"batch must be None for a problem without a target of atoms, got {check.show(batch)}")
    return draw


def _save_at(save_at: Any, steps: FixedSteps | AdaptiveSteps) -> int | np.ndarray:
    """Return the stride of saved steps, or the array of saved times."""
    if save_at is None:
        return 1
    if isinstance(save_at, numbers.Number):
        return check.integer("save_at", save_at, least=1)
    wanted = check.array("save_at", save_at, ndim=1)
    if np.any(np.diff(wanted) <= 0.0):
        raise ValueError("save_at must be increasing")
    if wanted[0] < steps.t0 or wanted[-1] > steps.t1:
        raise ValueError(f"save_at must lie in t_span [{steps.t0:g}, {steps.t1:g}], got [{wanted[0]:g}, {wanted[-1]:g}]")
    return wanted


def _require_between(job: Job) -> None:
    """Raise UnsupportedError if `save_at` holds times between steps and a metric knows no states there."""
    if isinstance(job.keep, int) or all(job.steps.meets(float(t)) for t in job.keep):
        return
    for metric, x in zip(job.players.metrics, job.initial, strict=True):
        try:
            metric.between(x, x, 0.5)
        except UnsupportedError as error:
            raise UnsupportedError(
                "save_at must be None, an integer or hold times at which steps end: "
                f"between them {metric!r} knows no {type(x).__name__}, got {check.show(job.keep)}"
            ) from error


def _checked(position: Position | None, steps: FixedSteps | AdaptiveSteps) -> Position | None:
    """Return the position of a checkpoint, after checking that it lies on the way of the steps."""
    if position is not None and not position.stopped and not steps.reaches(position):
        raise ValueError(f"store must hold a checkpoint of these steps, got one at t = {position.t!r}")
    return position


def _start(job: Job) -> dict[str, Any]:
    """Evaluate everything at the initial states, so that what does not fit fails before the first step; return the numbers."""
    try:
        energies, slopes = job.players.energies_and_slopes(job.initial)
    except CallbackError as error:
        raise type(error)(f"at the initial state: {error}") from error
    events = [event(job.steps.t0, job.shown(job.initial)) for event in job.events]
    return {"energies": energies, "slopes": slopes, "events": np.array(events)}
