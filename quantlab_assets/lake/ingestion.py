"""What comes into a lake from outside: Telegram exports and candles, and how they are read.

Plumbing of the command line and of the graph. It opens the adapters by the lake's settings; what is
done with what they read is in `handlers`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.lake.sources import CandleSetup, candle_setup
from quantlab_assets.settings import TIMEZONE_VARIABLE, Settings

if TYPE_CHECKING:
    import polars as pl

    from quantlab_assets.adapters.artifact_store import ParquetStore
    from quantlab_assets.adapters.telegram.export_folder import ExportFiles, ReadingOptions
    from quantlab_assets.adapters.telegram.given import GivenExport, GivenFiles
    from quantlab_assets.adapters.telegram.intake import Intake
    from quantlab_assets.adapters.telegram.retry import Retried
    from quantlab_assets.domain.telegram.pseudonyms import Pseudonyms
    from quantlab_assets.domain.telegram.rules import Rules
    from quantlab_assets.ports.alert_source import AlertSource
    from quantlab_assets.ports.candle_source import CandleSource
    from quantlab_assets.ports.inbox import FileQuarantine


class Ingestion:
    """The inboxes of one lake. `store` is called once the lake itself is needed."""

    def __init__(self, settings: Settings, store: "Callable[[], ParquetStore]") -> None:
        self._settings = settings
        self._store = store

    @cached_property
    def candles(self) -> CandleSetup:
        """Where candles come from, unopened. Raises `ValidationFailed` for an unknown source."""
        return candle_setup(self._settings)

    @cached_property
    def candle_source(self) -> "CandleSource":
        """The candle source, opened: what it has is looked at once."""
        return self.candles.open()

    @cached_property
    def alert_source(self) -> "AlertSource":
        """The Telegram exports in the inbox; a file there that is none is an error."""
        return self.exports()

    @cached_property
    def readable_exports(self) -> "AlertSource":
        """The Telegram exports in the inbox, without the files there that are none."""
        return self.exports(skip_refused=True)

    def exports(
        self, *, skip_refused: bool = False, only: Collection[str] | None = None
    ) -> "AlertSource":
        """The Telegram inbox, or the files of it that `only` names by their path below it."""
        return self.exports_in(
            self._settings.telegram_inbox,
            self._settings.telegram_spool,
            skip_refused=skip_refused,
            only=only,
        )

    def exports_in(
        self,
        folder: Path,
        spool: Path,
        *,
        skip_refused: bool = False,
        only: Collection[str] | None = None,
        exact: "ExportFiles | None" = None,
        override: "ReadingOptions | None" = None,
    ) -> "AlertSource":
        """The exports in any folder, read by this lake's rules, pseudonyms and time zone.

        `exact` is the one export that counts; `override` how it is read, whatever else is told.
        """
        from quantlab_assets.adapters.telegram.export_folder import ReadingOptions
        from quantlab_assets.adapters.telegram.inbox import TelegramInbox

        return TelegramInbox(
            folder,
            spool,
            rules=self.rules,
            pseudonyms=self.pseudonyms,
            skip_refused=skip_refused,
            only=only,
            exact=exact,
            options=ReadingOptions(self.timezone),
            override=override,
        )

    def given_exports(self, paths: Iterable[Path]) -> "list[GivenFiles]":
        """The exports in files and folders that a user names. Raises `NotFound`."""
        from quantlab_assets.adapters.telegram.given import given_exports

        return given_exports(paths)

    def read_given(
        self, given: "GivenFiles", spool: Path, *, timezone: str | None, chat_id: int | None
    ) -> "GivenExport":
        """Read a named export as it would be read from the inbox; what is asked for wins."""
        from quantlab_assets.adapters.telegram.export_folder import ReadingOptions
        from quantlab_assets.adapters.telegram.given import read_given

        return read_given(
            given,
            self.telegram_intake,
            lambda files, options: self.exports_in(
                given.folder.absolute(), spool, exact=files, override=options
            ),
            default=ReadingOptions(self.timezone),
            timezone=timezone,
            chat_id=chat_id,
        )

    @property
    def timezone(self) -> str:
        """The clock of exports of which nothing else is told: `auto`, `label` or an IANA zone.

        Raises `ValidationFailed` for anything else.
        """
        from quantlab_assets.domain.telegram.clock.times import check_timezone

        try:
            return check_timezone(self._settings.timezone)
        except ValidationFailed as error:
            raise ValidationFailed(f"{TIMEZONE_VARIABLE}: {error}") from error

    @property
    def telegram_intake(self) -> "Intake":
        """The way of exports into the Telegram inbox."""
        from quantlab_assets.adapters.telegram.intake import Intake

        return Intake(self._settings.telegram_inbox)

    def original_bytes(self, row: Mapping[str, Any]) -> bytes | None:
        """The bytes of an unreadable record in quarantine; None if they are not kept."""
        from quantlab_assets.adapters.telegram.retry import original_bytes

        return original_bytes(row)

    def read_again(self, rows: "pl.DataFrame") -> "list[Retried]":
        """Try unreadable records in quarantine by today's rules. Changes nothing."""
        from quantlab_assets.adapters.telegram.retry import read_again
        from quantlab_assets.handlers.ingest.quarantine import readings_of

        sources = sorted(set(rows["source"].drop_nulls().to_list()))
        return read_again(rows, self.rules, readings_of(self._store(), sources))

    def take_in_again(self, retried: "list[Retried]") -> None:
        """Put the records that can be read now into the inbox, as exports of their own."""
        from quantlab_assets.adapters.telegram.retry import as_exports

        for export in as_exports(retried):
            if export.options is None:
                self.telegram_intake.put("retried", export.content)
            else:
                self.telegram_intake.put_page("retried", export.content, export.options)

    @cached_property
    def rules(self) -> "Rules":
        """What makes an alert: the packaged rules, with the user's own laid over them."""
        from quantlab_assets.domain.telegram.rules import load_rules

        path = self._settings.telegram_rules
        if path is None:
            return load_rules()
        try:
            return load_rules(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ValidationFailed(
                f"QUANTLAB_TELEGRAM_RULES: cannot read {path}: {error}"
            ) from error

    @cached_property
    def pseudonyms(self) -> "Pseudonyms | None":
        """What hides people's names, None if they are not hidden.

        Raises `Conflict` if the lake's messages were stored under another key, or with names.
        """
        from quantlab_assets.domain.telegram.pseudonyms import Pseudonyms
        from quantlab_assets.handlers.ingest.messages import check_pseudonym_key

        path = self._settings.pseudonym_key
        hidden_by = None
        if path is not None:
            try:
                hidden_by = Pseudonyms(path.read_bytes().strip())
            except OSError as error:
                raise ValidationFailed(
                    f"QUANTLAB_PSEUDONYM_KEY: cannot read {path}: {error.strerror}"
                ) from error
        if self._settings.manifest.exists():
            check_pseudonym_key(self._store(), None if hidden_by is None else hidden_by.fingerprint)
        return hidden_by

    @cached_property
    def file_quarantine(self) -> "FileQuarantine":
        """The record of inbox files that were refused as a whole."""
        from quantlab_assets.adapters.manifest.inbox_refusals import ManifestQuarantine

        return ManifestQuarantine(self._store().database)
