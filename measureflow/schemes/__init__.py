"""Schemes: one time step of a flow."""

from measureflow.schemes.base import Players as Players
from measureflow.schemes.base import Scheme as Scheme
from measureflow.schemes.bdf2 import BDF2 as BDF2
from measureflow.schemes.bdf2 import ExtrapolatedBDF2 as ExtrapolatedBDF2
from measureflow.schemes.couplings import COMMON as COMMON
from measureflow.schemes.couplings import COUPLINGS as COUPLINGS
from measureflow.schemes.explicit import Explicit as Explicit
from measureflow.schemes.extrapolated import Richardson as Richardson
from measureflow.schemes.forward_backward import ForwardBackward as ForwardBackward
from measureflow.schemes.info import States as States
from measureflow.schemes.info import StepInfo as StepInfo
from measureflow.schemes.jko import JKO as JKO
from measureflow.schemes.langevin import Langevin as Langevin
from measureflow.schemes.mirror import Mirror as Mirror
from measureflow.schemes.projected import Projected as Projected
from measureflow.schemes.runge_kutta import RK2 as RK2
from measureflow.schemes.runge_kutta import RK4 as RK4
from measureflow.schemes.splitting import Splitting as Splitting
from measureflow.schemes.three_stage import ThreeStage as ThreeStage
from measureflow.schemes.vim import VIM as VIM
from measureflow.schemes.vim import ExtrapolatedVIM as ExtrapolatedVIM

SCHEMES: dict[str, type[Scheme]] = {
    "jko": JKO,
    "vim": VIM,
    "extrapolated-vim": ExtrapolatedVIM,
    "bdf2": BDF2,
    "extrapolated-bdf2": ExtrapolatedBDF2,
    "three-stage": ThreeStage,
    "richardson": Richardson,
    "forward-backward": ForwardBackward,
    "explicit": Explicit,
    "mirror": Mirror,
    "rk2": RK2,
    "rk4": RK4,
}
