"""What a slice is called: `token=bsc:0x2338.../res=5m/from=2025-11-06T08:40:00Z/to=...`.

The only place that takes a slice's logical key apart or puts one together. The grammar of the text
is declared with the type (`domain/artifacts/seed_types.py`); which windows there are to name
belongs to `plan` and `windows`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.artifacts.type import INTERVALS
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.tokens.token import Token, is_evm

INTERVAL_NAMES: Final = {seconds: name for name, seconds in INTERVALS.items()}


@dataclass(frozen=True, slots=True)
class SliceKey:
    """A slice by its token, its interval in seconds and its window `[start, end)`, in UTC.

    A Solana token's network is `solana`, which its key does not say; an EVM token's is what the key
    says, None if nothing.
    """

    token: Token
    interval_s: int
    start: datetime
    end: datetime

    @classmethod
    def parse(cls, key: str) -> "SliceKey":
        """Take a logical key apart. Raises `ValidationFailed` for a key that is no slice's."""
        fields = OHLCV_SLICE.parse_key(key)
        network, _, address = fields["token"].rpartition(":")
        return cls(
            token=Token("evm", address, network or None)
            if is_evm(address)
            else Token("solana", address, "solana"),
            interval_s=INTERVALS[fields["res"]],
            start=datetime.fromisoformat(fields["from"]),
            end=datetime.fromisoformat(fields["to"]),
        )

    def format(self) -> str:
        """The logical key. Raises `ValidationFailed` for what no key can name."""
        name = INTERVAL_NAMES.get(self.interval_s)
        if name is None:
            raise ValidationFailed(
                f"no slice of {self.interval_s} s candles: intervals are {', '.join(INTERVALS)}"
            )
        return OHLCV_SLICE.key(
            token=self.token.key,
            res=name,
            **{"from": iso_utc(self.start), "to": iso_utc(self.end)},
        )


def iso_utc(ts: datetime) -> str:
    """`2025-11-06T13:40:00Z`; a fraction of a second only where there is one."""
    utc = ts.astimezone(UTC).replace(tzinfo=None)
    text = utc.isoformat(timespec="microseconds" if utc.microsecond else "seconds")
    return f"{text}Z"
