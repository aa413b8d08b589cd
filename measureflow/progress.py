"""The progress bar of a flow."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, final

from measureflow.stepping import AdaptiveSteps, FixedSteps


@final
class Bar(AbstractContextManager["Bar"]):
    """A bar on standard error, in steps of fixed size or in time; none if not wanted."""

    def __init__(self, wanted: bool, steps: FixedSteps | AdaptiveSteps) -> None:
        self.bar: Any = None
        if wanted:
            from tqdm.auto import tqdm

            whole = isinstance(steps, FixedSteps)
            form = None if whole else "{l_bar}{bar}| t = {n:.4g}/{total:.4g} [{elapsed}<{remaining}]"
            self.bar = tqdm(total=steps.total, unit=steps.unit, mininterval=0.2, bar_format=form)

    def show(self, done: float) -> None:
        """Show how much is done."""
        if self.bar is not None:
            self.bar.update(done - self.bar.n)

    def __exit__(self, *reason: object) -> None:
        if self.bar is not None:
            self.bar.close()
