"""States: laws, points and fields, immutable and checked."""

from measureflow.states import draw as draw
from measureflow.states.base import Law as Law
from measureflow.states.base import State as State
from measureflow.states.base import atoms as atoms
from measureflow.states.base import generator as generator
from measureflow.states.base import moments as moments
from measureflow.states.field import Field as Field
from measureflow.states.gaussian import Gaussian as Gaussian
from measureflow.states.grid import Grid as Grid
from measureflow.states.histogram import Histogram as Histogram
from measureflow.states.particles import Particles as Particles
from measureflow.states.quantiles import Quantiles as Quantiles
from measureflow.states.vector import Vector as Vector
