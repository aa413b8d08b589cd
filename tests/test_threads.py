"""The same bits on one and on two threads of BLAS and numba, in processes of their own."""

import os
import subprocess
import sys

PROGRAM = """
import hashlib
import numpy as np
import measureflow as mf

rng = np.random.default_rng(0)
g, e = mf.games, mf.energies
target, law = mf.Particles(rng.normal(size=(1200, 64))), mf.Particles(rng.normal(size=(300, 64)))
neurons = mf.Particles(0.5 * rng.normal(size=(300, 66)))
gan = g.GAN(target, critic=g.NeuronCritic(), penalty=g.Ridge(0.01))
flows = [mf.solve(gan, (law, neurons), 0.04, 0.02, scheme="explicit")]
cloud = mf.Particles(rng.normal(size=(20000, 2)))
slopes = lambda x: -np.sin(x @ np.ones((2, 50)))[:, :, None] * np.ones((1, 1, 2))
critic = g.FeatureCritic(lambda x: np.cos(x @ np.ones((2, 50))), slopes)
flows.append(mf.solve(g.GAN(target=cloud, critic=critic), (cloud, mf.Vector(np.ones(50))), 0.02, 0.01, scheme="explicit"))
pair = (mf.Vector(np.ones(200)), mf.Vector(np.ones(200)))
flows.append(mf.solve(g.Bilinear(rng.normal(size=(200, 200)) / 20), pair, 0.1, 0.1, scheme=mf.JKO("implicit")))
digest = hashlib.sha256()
for sol in flows:
    digest.update(sol.energies.tobytes())
    for state in sol.states[-1]:
        digest.update(state.coordinates.tobytes())
print(digest.hexdigest())
"""


def bits(threads: int) -> str:
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(threads))}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_same_bits_on_one_and_two_threads() -> None:
    """Catches a racing sum or a threaded BLAS product, which would make runs unrepeatable on another machine."""
    assert bits(1) == bits(2)
