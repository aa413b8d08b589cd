"""What holds for every test: floating-point errors raise, hypothesis repeats itself, files are not synced."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from crafting import bad as bad
from crafting import copied as copied
from crafting import lazily as lazily
from crafting import library as library
from hypothesis import settings

settings.register_profile("measureflow", deadline=None, derandomize=True, max_examples=10)
settings.register_profile("thorough", deadline=None, max_examples=400)  # pytest --hypothesis-profile=thorough
settings.load_profile("measureflow")


@pytest.fixture(autouse=True, scope="session")
def no_power_cuts() -> Iterator[None]:
    """Sync no files, which takes half of the time of tests on files: what a process gave to the system is not lost."""
    synced, os.fsync = os.fsync, lambda descriptor: None
    yield
    os.fsync = synced


@pytest.fixture(autouse=True)
def floating_point_errors_raise() -> Iterator[None]:
    """Turn division by zero, overflow and invalid operations into FloatingPointError; underflow is harmless."""
    with np.errstate(all="raise", under="ignore"):
        yield
