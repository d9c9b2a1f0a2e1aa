"""Text of a record, beside plain text too: parts, links, buttons.

Whose names in it are hidden is decided in `rows`.
"""

from collections.abc import Mapping
from typing import Any, Final

from quantlab_assets.adapters.telegram.json.decode import Entity, RefusedError, clean

OTHER_TEXT: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "poll": ("question", ("answers",)),
    "todo_list": ("title", ("items", "answers", "tasks")),
    "invoice_information": ("title", ("description",)),
}
"""Fields that hold text beside `text`: by field its heading, and what comes below it."""
OTHER_FIELDS: Final = frozenset(OTHER_TEXT)
_LINK_BUTTONS: Final = ("url", "web_view", "simple_web_view", "auth", "login_url")


def text_of(part: Any) -> str:
    """The text of a part of text. Raises `RefusedError` for a part that holds none."""
    text = part.get("text") if type(part) is dict else getattr(part, "text", part)
    if type(text) is not str:
        raise RefusedError("unknown_shape", "a part of text holds no text")
    return text


def text_or_nothing(part: Any) -> str | None:
    """The text of a part, None if it holds none."""
    text = part.get("text") if type(part) is dict else part
    return text if type(text) is str else None


def entities_of(parts: Any) -> tuple[list[Any], bool]:
    """The parts that are more than text, and whether any of them was none, or not all of one."""
    if not isinstance(parts, list):
        return [], True
    entities: list[Any] = []
    odd = False
    for part in parts:
        if type(part) is Entity:
            if part.type != "plain":
                entities.append(part)
            continue
        if type(part) is not dict:
            odd = odd or type(part) is not str
            continue
        kind, text = part.get("type"), part.get("text")
        if type(kind) is not str or type(text) is not str:
            odd = True
        elif kind != "plain":
            href = part.get("href")
            entity = {"type": kind, "text": text}
            if type(href) is str:
                entity["href"] = href
            entities.append(entity)
    return entities, odd


def cells_of(buttons: Any) -> list[dict[str, Any]]:
    """The buttons under a message, row by row; what is none is left out."""
    rows = [row for row in buttons if isinstance(row, list)] if isinstance(buttons, list) else []
    return [cell for row in rows for cell in row if isinstance(cell, dict)]


def links_of(cells: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Buttons that open a link, also one in a window of Telegram's own; of the others `copied_by`
    reads some, and the rest, of whatever shape, are of no interest."""
    return [
        {"type": "button", "text": cell["text"], "href": cell["data"]}
        for cell in cells
        if cell.get("type") in _LINK_BUTTONS
        and isinstance(cell.get("text"), str)
        and isinstance(cell.get("data"), str)
    ]


def copied_by(cells: list[dict[str, Any]]) -> list[str]:
    """What buttons copy when they are pressed: text that the message brings."""
    return [
        clean(cell["data"])
        for cell in cells
        if cell.get("type") == "copy_text" and isinstance(cell.get("data"), str)
    ]
