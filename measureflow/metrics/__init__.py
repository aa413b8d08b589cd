"""Metrics: distances, geodesics and charts."""

from __future__ import annotations

from measureflow import _validate as check
from measureflow.metrics.base import Chart as Chart
from measureflow.metrics.base import Metric as Metric
from measureflow.metrics.euclidean import Euclidean as Euclidean
from measureflow.metrics.fisher_rao import FisherRao as FisherRao
from measureflow.metrics.sobolev import Sobolev as Sobolev
from measureflow.metrics.wasserstein import Wasserstein as Wasserstein
from measureflow.metrics.wfr import WassersteinFisherRao as WassersteinFisherRao
from measureflow.states import Law, State


def natural(state: State) -> Metric:
    """Return a state's own metric: W2 for laws, Euclidean for vectors, L2 for fields."""
    return Wasserstein() if isinstance(state, Law) else Euclidean()


def distance(a: State, b: State, metric: Metric | None = None) -> float:
    """Return the distance between two states.

    Parameters
    ----------
    a, b : State
    metric : Metric, optional
        None: the natural metric of `a` (W2 for laws, Euclidean for vectors, L2 for fields).

    Raises
    ------
    TypeError, ValueError
        If the states cannot be compared.

    Examples
    --------
    >>> from measureflow import Particles
    >>> distance(Particles([[0.0], [1.0]]), Particles([[2.0], [5.0]]))
    3.1622776601683795
    """
    check.instance("a", a, State, "a state")
    check.instance("b", b, State, "a state")
    if metric is not None:
        check.instance("metric", metric, Metric, "a Metric or None")
    return (metric or natural(a)).distance(a, b)
