"""Energies of one state: values, gradients, sums and multiples."""

from measureflow.energies.base import Energy as Energy
from measureflow.energies.base import Sum as Sum
from measureflow.energies.box import Box as Box
from measureflow.energies.cells import CellPotential as CellPotential
from measureflow.energies.discrepancy import MMD as MMD
from measureflow.energies.discrepancy import EnergyDistance as EnergyDistance
from measureflow.energies.divergences import ChiSquared as ChiSquared
from measureflow.energies.divergences import JensenShannon as JensenShannon
from measureflow.energies.divergences import NonSaturating as NonSaturating
from measureflow.energies.entropy import KL as KL
from measureflow.energies.entropy import Entropy as Entropy
from measureflow.energies.entropy import PowerEntropy as PowerEntropy
from measureflow.energies.function import Function as Function
from measureflow.energies.interaction import Interaction as Interaction
from measureflow.energies.interaction import QuadraticInteraction as QuadraticInteraction
from measureflow.energies.kernels import EnergyKernel as EnergyKernel
from measureflow.energies.kernels import GaussianKernel as GaussianKernel
from measureflow.energies.kernels import LaplaceKernel as LaplaceKernel
from measureflow.energies.kernels import UserKernel as UserKernel
from measureflow.energies.potential import Potential as Potential
from measureflow.energies.quadratic import Quadratic as Quadratic
from measureflow.energies.transport_distance import SquaredWasserstein as SquaredWasserstein
from measureflow.energies.transport_distance import Wasserstein1 as Wasserstein1
