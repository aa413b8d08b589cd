"""Every benchmark runs at a tiny size and prints a ratio to a peer."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("script", sorted(path.name for path in FOLDER.glob("bench_*.py")))
def test_tiny_run(script: str) -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), "--size", "50", "--repeats", "1"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "ours" in done.stdout or "fused" in done.stdout
