"""Schemes: one time step of a flow."""

from measureflow.schemes.base import Players as Players
from measureflow.schemes.base import Scheme as Scheme
from measureflow.schemes.couplings import COUPLINGS as COUPLINGS
from measureflow.schemes.explicit import Explicit as Explicit
from measureflow.schemes.info import States as States
from measureflow.schemes.info import StepInfo as StepInfo
from measureflow.schemes.jko import JKO as JKO

SCHEMES: dict[str, type[Scheme]] = {"jko": JKO, "explicit": Explicit}
