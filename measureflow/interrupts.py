"""Ctrl-C during a flow: the first one ends it after the current step, the second one at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, final


@final
class Interrupts:
    """Holds back Ctrl-C while it is entered; where signals cannot be caught (threads other than the main one) it does nothing.

    Attributes
    ----------
    pending : bool
        Whether Ctrl-C was pressed.
    inside : bool
        Whether a step is being computed, so that a second Ctrl-C may break it off without harm.
    """

    def __init__(self) -> None:
        self.pending = False
        self.inside = False
        self._before: Any = None

    def __enter__(self) -> Interrupts:
        usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if usual and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._pressed)
        return self

    def __exit__(self, *reason: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _pressed(self, number: int, frame: FrameType | None) -> None:
        if self.pending and self.inside:
            raise KeyboardInterrupt
        self.pending = True
