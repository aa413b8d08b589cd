"""Games: energies of several players."""

from measureflow.games.base import AbstractGame as AbstractGame
from measureflow.games.base import Game as Game
from measureflow.games.base import ZeroSum as ZeroSum
from measureflow.games.critics import Critic as Critic
from measureflow.games.critics import FeatureCritic as FeatureCritic
from measureflow.games.critics import NeuronCritic as NeuronCritic
from measureflow.games.dirac import DiracGAN as DiracGAN
from measureflow.games.gan import GAN as GAN
from measureflow.games.gan import Ridge as Ridge
from measureflow.games.kernel import KernelGame as KernelGame
from measureflow.games.linear import Bilinear as Bilinear
from measureflow.games.linear import LinearQuadratic as LinearQuadratic
