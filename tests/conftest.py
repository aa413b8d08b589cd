"""What holds for every test: floating-point errors raise, hypothesis repeats itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from crafting import bad as bad
from crafting import copied as copied
from crafting import lazily as lazily
from crafting import library as library
from hypothesis import settings

settings.register_profile("measureflow", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("measureflow")


@pytest.fixture(autouse=True)
def floating_point_errors_raise() -> Iterator[None]:
    """Turn division by zero, overflow and invalid operations into FloatingPointError; underflow is harmless."""
    with np.errstate(all="raise", under="ignore"):
        yield
