"""Phase diagrams side by side: one for each value of a third setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from numpy.typing import ArrayLike

from measureflow import _validate as check
from measureflow.modes.phase import PhaseDiagram, phase_diagram


@final
@dataclass(frozen=True, eq=False, repr=False)
class PhasePanels:
    """Phase diagrams over the same parameters, by a third.

    Attributes
    ----------
    setting : str
    values : tuple
        Of the setting.
    diagrams : tuple of PhaseDiagram
        One for each value.

    Examples
    --------
    >>> phase_panels("t", [20.0, 40.0], "spreading", [0.5, 2.0], [0.02, 0.5])
    PhasePanels(t = 20.0, 40.0: 2 x 2 each)
    """

    setting: str
    values: tuple[Any, ...]
    diagrams: tuple[PhaseDiagram, ...]

    def plot(self) -> Any:
        """Draw what runs ended as, one panel a value, with the predicted thresholds.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from measureflow.modes.pictures import panels_picture

        return panels_picture(self.setting, self.values, self.diagrams)

    def __getitem__(self, value: Any) -> PhaseDiagram:
        """Return the diagram of a value."""
        return self.diagrams[self.values.index(check.choice("value", value, self.values))]

    def __repr__(self) -> str:
        first = self.diagrams[0]
        return f"PhasePanels({self.setting} = {', '.join(map(str, self.values))}: {len(first.y)} x {len(first.x)} each)"


def phase_panels(
    setting: str,
    values: Sequence[Any],
    name: str = "training",
    x: ArrayLike | None = None,
    y: ArrayLike | None = None,
    *,
    axes: tuple[str, str] | None = None,
    **settings: Any,
) -> PhasePanels:
    """Run a phase diagram for each value of a third setting: schemes, batches, packs ...

    Parameters
    ----------
    setting : str
        Of the model, as "coupling" of "training".
    values : sequence
    name, x, y, axes, **settings
        As in `phase_diagram`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> panels = phase_panels("eta", [1.0, 4.0], "instance-noise", [0.0, 1.0], [0.2, 0.8, 2.0], t=50.0)
    >>> [panels[eta].status[1].tolist() for eta in (1.0, 4.0)]
    [['rotates', 'frozen'], ['frozen', 'frozen']]
    """
    chosen = check.entries("values", values, None, "values of the setting")
    if setting in settings:
        raise TypeError(f"{setting} is what panels differ in and cannot be a setting too")
    diagrams = [phase_diagram(name, x, y, axes=axes, **{setting: value}, **settings) for value in chosen]
    return PhasePanels(setting, tuple(chosen), tuple(diagrams))
