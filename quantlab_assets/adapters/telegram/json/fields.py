"""Times and ids of a record.

Which of them a message cannot do without is decided in `rows`.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from quantlab_assets.adapters.telegram.json.decode import RefusedError
from quantlab_assets.domain.telegram.clock.times import AUTO, LABEL, utc_of
from quantlab_assets.domain.time_us import SECOND_US, to_us

_EARLIEST: Final = to_us(datetime(2013, 1, 1, tzinfo=UTC))
_LATEST: Final = to_us(datetime(2100, 1, 1, tzinfo=UTC))
_SECONDS: Final = re.compile(r"-?[0-9]{1,11}")
_INT64: Final = range(-(2**63), 2**63)


def time_of(record: Mapping[str, Any], local: str, unix: str, timezone: str) -> int | None:
    """The time of a record in microseconds since 1970, UTC; None if it has none. Unix seconds win;
    a clock time needs an offset, or the zone of its clock. Old exports write the epoch for "never
    edited"."""
    seconds = record.get(unix)
    if seconds is not None:
        number = int64(seconds)
        if number is None and isinstance(seconds, str) and _SECONDS.fullmatch(seconds):
            number = int(seconds)
        if number is None:
            raise RefusedError("bad_date", f"{unix} is {{}}, not Unix seconds", seconds)
        if number == 0 and local == "edited":
            return None
        return _in_range(number * SECOND_US, unix)
    clock = record.get(local)
    if clock is None:
        return None
    if not isinstance(clock, str):
        raise RefusedError("bad_date", f"{local} is {{}}, not a time", clock)
    try:
        moment = datetime.fromisoformat(clock)
    except ValueError:
        raise RefusedError("bad_date", f"{local} is {{}}, not a time", clock) from None
    if local == "edited" and moment.year <= 1970:
        return None
    if moment.tzinfo is None:
        if timezone in (AUTO, LABEL):
            raise RefusedError("bad_date", f"{local} has no offset and there is no {unix}")
        known = utc_of(moment, timezone)
        if known is None:
            raise RefusedError("bad_date", f"{timezone} never showed {local}: {clock}")
        moment = known
    return _in_range(to_us(moment), local)


def _in_range(moment: int, name: str) -> int:
    if not _EARLIEST <= moment < _LATEST:
        raise RefusedError("bad_date", f"{name} is not between 2013 and 2100")
    return moment


def edited_by_own_clock(record: Mapping[str, Any], posted: int) -> int | None:
    """The time of an edit by the clock that showed the posting too, whose true time is known."""
    try:
        later = datetime.fromisoformat(record["edited"]) - datetime.fromisoformat(record["date"])
    except (KeyError, TypeError, ValueError):
        return None
    edited = posted + later // timedelta(microseconds=1)
    return edited if edited < _LATEST else None


def int64(value: Any) -> int | None:
    """The value if it is a whole number that fits 64 bits; True and False are none."""
    if isinstance(value, int) and not isinstance(value, bool) and value in _INT64:
        return value
    return None
