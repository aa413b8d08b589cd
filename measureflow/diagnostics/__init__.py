"""Diagnostics of computed flows: energy balance, duality gap, linearisation, averages, invariants."""

from measureflow.diagnostics.averages import Averages as Averages
from measureflow.diagnostics.balance import Balance as Balance
from measureflow.diagnostics.explain import Explanation as Explanation
from measureflow.diagnostics.explain import Finding as Finding
from measureflow.diagnostics.linearisation import Linearisation as Linearisation
from measureflow.diagnostics.questions import Diagnosed as Diagnosed
