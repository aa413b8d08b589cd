"""Theorems as experiments: statements that can be refuted, with verdicts, and claims of anyone's."""

from measureflow.theorems.base import Control as Control
from measureflow.theorems.base import Theorem as Theorem
from measureflow.theorems.base import every as every
from measureflow.theorems.catalogue import get as get
from measureflow.theorems.catalogue import names as names
from measureflow.theorems.check import Check as Check
from measureflow.theorems.check import Ruling as Ruling
from measureflow.theorems.check import at_least as at_least
from measureflow.theorems.check import at_most as at_most
from measureflow.theorems.check import equal as equal
from measureflow.theorems.claims import bound as bound
from measureflow.theorems.claims import conserved as conserved
from measureflow.theorems.claims import contraction as contraction
from measureflow.theorems.claims import evi as evi
from measureflow.theorems.claims import order_of_convergence as order_of_convergence
from measureflow.theorems.counterexample import CounterExample as CounterExample
from measureflow.theorems.curves import Curve as Curve
from measureflow.theorems.curves import Panel as Panel
from measureflow.theorems.runner import examine as examine
from measureflow.theorems.runner import verify as verify
from measureflow.theorems.verdict import Verdict as Verdict
