"""measureflow: flows on probability measures, single and dual, by minimizing movements."""

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from measureflow import energies as energies
from measureflow import games as games
from measureflow import problems as problems
from measureflow._version import __version__ as __version__
from measureflow.ensembles import Ensemble as Ensemble
from measureflow.ensembles import ensemble as ensemble
from measureflow.errors import CallbackError as CallbackError
from measureflow.errors import ConvergenceError as ConvergenceError
from measureflow.errors import FlowInterrupt as FlowInterrupt
from measureflow.errors import MeasureflowError as MeasureflowError
from measureflow.errors import RunLockedError as RunLockedError
from measureflow.errors import UnsupportedError as UnsupportedError
from measureflow.metrics import Euclidean as Euclidean
from measureflow.metrics import FisherRao as FisherRao
from measureflow.metrics import Metric as Metric
from measureflow.metrics import Sobolev as Sobolev
from measureflow.metrics import Wasserstein as Wasserstein
from measureflow.metrics import WassersteinFisherRao as WassersteinFisherRao
from measureflow.metrics import distance as distance
from measureflow.portraits import phase_portrait as phase_portrait
from measureflow.proximal import proximal as proximal
from measureflow.schemes import BDF2 as BDF2
from measureflow.schemes import JKO as JKO
from measureflow.schemes import RK2 as RK2
from measureflow.schemes import RK4 as RK4
from measureflow.schemes import VIM as VIM
from measureflow.schemes import Explicit as Explicit
from measureflow.schemes import ExtrapolatedBDF2 as ExtrapolatedBDF2
from measureflow.schemes import ExtrapolatedVIM as ExtrapolatedVIM
from measureflow.schemes import ForwardBackward as ForwardBackward
from measureflow.schemes import Langevin as Langevin
from measureflow.schemes import Mirror as Mirror
from measureflow.schemes import Projected as Projected
from measureflow.schemes import Richardson as Richardson
from measureflow.schemes import Scheme as Scheme
from measureflow.schemes import Splitting as Splitting
from measureflow.schemes import ThreeStage as ThreeStage
from measureflow.solution import Solution as Solution
from measureflow.solution import load as load
from measureflow.solve import resume as resume
from measureflow.solve import solve as solve
from measureflow.states import Field as Field
from measureflow.states import Gaussian as Gaussian
from measureflow.states import Grid as Grid
from measureflow.states import Histogram as Histogram
from measureflow.states import Law as Law
from measureflow.states import Particles as Particles
from measureflow.states import Quantiles as Quantiles
from measureflow.states import State as State
from measureflow.states import Vector as Vector
from measureflow.status import Status as Status
from measureflow.taylor import TaylorCheck as TaylorCheck
from measureflow.taylor import check_gradient as check_gradient

if _TYPE_CHECKING:
    from measureflow import modes as modes
    from measureflow import theorems as theorems

__all__ = [
    "BDF2",
    "JKO",
    "RK2",
    "RK4",
    "VIM",
    "CallbackError",
    "ConvergenceError",
    "Ensemble",
    "Euclidean",
    "Explicit",
    "ExtrapolatedBDF2",
    "ExtrapolatedVIM",
    "Field",
    "FisherRao",
    "FlowInterrupt",
    "ForwardBackward",
    "Gaussian",
    "Grid",
    "Histogram",
    "Langevin",
    "Law",
    "MeasureflowError",
    "Metric",
    "Mirror",
    "Particles",
    "Projected",
    "Quantiles",
    "Richardson",
    "RunLockedError",
    "Scheme",
    "Sobolev",
    "Solution",
    "Splitting",
    "State",
    "Status",
    "TaylorCheck",
    "ThreeStage",
    "UnsupportedError",
    "Vector",
    "Wasserstein",
    "WassersteinFisherRao",
    "check_gradient",
    "distance",
    "energies",
    "ensemble",
    "games",
    "load",
    "modes",
    "phase_portrait",
    "problems",
    "proximal",
    "resume",
    "solve",
    "theorems",
]


def __getattr__(name: str) -> _Any:
    """Return the rooms `modes` and `theorems`, which are loaded when they are first asked for."""
    if name == "modes":
        import measureflow.modes as room

        return room
    if name == "theorems":
        import measureflow.theorems as chapter

        return chapter
    raise AttributeError(f"module 'measureflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), "modes", "theorems"]
