"""By what a lake's candles are measured: how far slices reach, grades, horizons of coverage.

The numbers of the settings as the rules take them, checked when they are needed. The rules
themselves are in `domain.slices` and `domain.coverage`.
"""

from typing import TYPE_CHECKING

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.settings import GRADES_VARIABLE, WINDOW_VARIABLE, Settings

if TYPE_CHECKING:
    from quantlab_assets.domain.slices.grades import Grading
    from quantlab_assets.domain.slices.plan import SliceWindow


class Measures:
    """What the settings of one lake say of slices and coverage."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def slice_window(self) -> "SliceWindow":
        """How far slices reach around calls. Raises `ValidationFailed` for an impossible window."""
        from quantlab_assets.domain.coverage.forward import MAX_HORIZON_H
        from quantlab_assets.domain.slices.plan import SliceWindow

        minutes = self._settings.slice_window_min
        if not minutes:
            return SliceWindow()
        longest = MAX_HORIZON_H * 60
        if len(minutes) != 2 or max(minutes) > longest or minutes[0] < 0 or minutes[1] <= 0:
            raise ValidationFailed(
                f"{WINDOW_VARIABLE}: give the minutes before the first call and those after the"
                f" last, such as 260,2880; at most {longest}"
            )
        return SliceWindow(pre_s=minutes[0] * 60, post_s=minutes[1] * 60)

    @property
    def grading(self) -> "Grading":
        """From which shares of candles on slices and horizons are good, and partial. Raises
        `ValidationFailed` for shares that cannot be."""
        from quantlab_assets.domain.slices.grades import Grading

        shares = self._settings.slice_grades
        if not shares:
            return Grading()
        if len(shares) != 2:
            raise ValidationFailed(
                f"{GRADES_VARIABLE}: give the share from which on a slice is good and that of"
                " partial, such as 0.95,0.8"
            )
        try:
            return Grading(*shares)
        except ValidationFailed as error:
            raise ValidationFailed(f"{GRADES_VARIABLE}: {error}") from error

    @property
    def horizons(self) -> tuple[int, ...]:
        """The horizons of coverage, hours after a call (before it if negative)."""
        from quantlab_assets.domain.coverage.forward import HORIZONS_H

        return self._settings.coverage_horizons_h or HORIZONS_H
