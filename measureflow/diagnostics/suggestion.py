"""A change that the theory suggests, and games with other penalties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from measureflow.diagnostics.paths import gan_of
from measureflow.energies import Quadratic
from measureflow.games import GAN, AbstractGame, DiracGAN, Regularised, Ridge
from measureflow.games.penalties import Penalty


@final
@dataclass(frozen=True, eq=False)
class Suggestion:
    """A change that the theory suggests.

    Attributes
    ----------
    name : str
        "ridge", "critic speed", "unrolled", "scheme", "tau", "generator", "features", "kernel", "midpoint",
        "batch", "time", "average", "loss", "metric", "critic".
    words : str
        Why, in a sentence.
    call : str
        What to write.
    value : float or None
        The number to set.
    change : mapping
        Arguments of `measureflow.solve` that differ from those of the run; empty where only the user can make them.
    """

    name: str
    words: str
    call: str
    value: float | None = None
    change: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"{self.words} {self.call}"


def ridge_of(problem: Any) -> float:
    """Return the strength beta of the ridge that the critic of a game pays."""
    gan = gan_of(problem)
    if gan is not None:
        return sum(p.beta for p in gan.penalties if isinstance(p, Ridge))
    if isinstance(problem, DiracGAN):
        return problem.r1 or 0.0
    own = problem.energies[1] if isinstance(problem, Regularised) and problem.players == 2 else None
    if isinstance(own, Quadratic) and np.size(own.matrix) == 1:
        return float(np.ravel(own.matrix)[0])
    return float(problem.Q[0, 0]) if hasattr(problem, "Q") and np.shape(problem.Q) == (1, 1) else 0.0


def with_ridge(problem: Any, beta: float) -> AbstractGame | None:
    """Return a game in which the critic pays (beta/2)|c|^2 instead of its ridge; None where that is not to be had."""
    if isinstance(problem, GAN):
        others = [p for p in problem.penalties if not isinstance(p, Ridge)]
        return with_penalties(problem, problem.loss, [*others, Ridge(beta)])
    if isinstance(problem, DiracGAN):
        kept = {k: getattr(problem, k) for k in ("clip", "gradient_penalty", "instance_noise", "consensus")}
        kept["gradient_penalty"] = None  # its kink keeps the game turning
        return DiracGAN(problem.variant, **kept, r1=beta)
    if isinstance(problem, AbstractGame) and problem.players == 2:
        return Regularised(problem, [None, Quadratic(beta)])
    return None


def with_penalties(gan: GAN, loss: Any, penalties: list[Penalty]) -> GAN:
    """Return a GAN with another loss and other penalties."""
    return GAN(
        gan.target,
        loss,
        critic=gan.critic,
        generator=gan.generator,
        penalty=penalties,
        pack=gan.pack,
        instance_noise=gan.instance_noise,
    )
