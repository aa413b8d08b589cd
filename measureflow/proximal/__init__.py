"""Inner solvers of minimizing movements: closed forms first, then iterations with a certificate."""

from measureflow.proximal.base import Solver as Solver
from measureflow.proximal.base import Step as Step
from measureflow.proximal.base import Tolerance as Tolerance
from measureflow.proximal.registry import SOLVERS as SOLVERS
from measureflow.proximal.registry import proximal as proximal
from measureflow.proximal.registry import solve_proximal as solve_proximal
