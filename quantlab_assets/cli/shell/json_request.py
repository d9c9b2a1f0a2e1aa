"""JSON that a program sends, held against a declaration; what is wrong with it in one line.

Here: what texts and numbers a request may have, and the errors. Not here: what can be asked for,
which `cli.ops` declares.
"""

import json
import re
from collections.abc import Mapping
from functools import reduce
from typing import Annotated, Any, Final, TypeVar, get_args, get_type_hints

import msgspec

from quantlab_assets.cli.shell.options import shortened
from quantlab_assets.domain.errors import ValidationFailed

Declaration = TypeVar("Declaration", bound=msgspec.Struct)

LARGEST: Final = (1 << 63) - 1
"""The largest number that a table holds."""
NUL_OR_SURROGATE: Final = re.compile("[\0\ud800-\udfff]")

Text = Annotated[str, msgspec.Meta(pattern=rf"\A[^{NUL_OR_SURROGATE.pattern[1:-1]}]*\Z")]
"""Text that can be stored and asked for: UTF-8 without a NUL."""
Number = Annotated[int, msgspec.Meta(ge=-LARGEST - 1, le=LARGEST)]
"""A whole number that a table holds."""
Count = Annotated[int, msgspec.Meta(ge=1, le=LARGEST)]
"""A whole number of 1 or more."""

KINDS: Final = {
    "str": "text",
    "int": "a whole number",
    "bool": "true or false",
    "array": "a list of texts",
    "object": "an object",
}
"""What a field may be in a declaration, as a person who writes JSON calls it."""


class BadRequest(ValidationFailed):
    """A request that is no request: not JSON, an unknown operation or field, a wrong type."""

    exit_code = 2


def parse_request(text: bytes, limit: int) -> dict[str, Any]:
    """The fields of a JSON object of at most `limit` bytes. Raises `BadRequest`."""
    if len(text) > limit:
        raise BadRequest(f"the request is longer than {limit} bytes; see --max-request-bytes")
    try:
        fields = json.loads(
            text.decode(), parse_constant=_refuse_constant, object_pairs_hook=_without_repeats
        )
    except RecursionError as error:
        raise BadRequest("the request is nested too deeply") from error
    except ValueError as error:
        raise BadRequest(f"the request is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadRequest("the request must be a JSON object")
    return fields


def take_as(fields: Mapping[str, Any], declaration: type[Declaration], title: str) -> Declaration:
    """The fields as a declared request, which `title` names. Raises `BadRequest`, naming the field.

    A null is an absent field.
    """
    try:
        return msgspec.convert(fields, declaration)
    except msgspec.ValidationError as error:
        raise BadRequest(_in_words(str(error), fields, declaration, title)) from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field is given twice")
    if any(map(NUL_OR_SURROGATE.search, fields)):
        raise ValueError("a field's name has a NUL in it or is not UTF-8 text")
    return fields


def _in_words(
    message: str, fields: Mapping[str, Any], declaration: type[msgspec.Struct], title: str
) -> str:
    """What msgspec says of `$.filter.limit`, in the words of who wrote `filter.limit`."""
    what, _, place = message.rpartition(" - at ") if " - at `" in message else (message, "", "")
    path = place.strip("`").removeprefix("$").removeprefix(".")
    if what.startswith("Object missing required field"):
        return f"{'.'.join(filter(None, (path, _quoted(what))))} is missing"
    if what.startswith("Object contains unknown field"):
        return f"{path or title}: unknown field {shortened(_quoted(what))}"
    if what.startswith("Invalid enum value"):
        return f"{path} must be one of {', '.join(_words(declaration, path))}"
    if path.endswith("[...]"):
        path = _first_that_is_no_text(fields, path.removesuffix("[...]"))
    field = shortened(path)[1:-1]
    if " matching regex " in what:
        return f"{field} has a NUL in it or is not UTF-8 text"
    if "got `" in what:
        if what.endswith("got `null`") and path in fields:
            return f"{field} is missing"
        return f"{field} must be {KINDS[_quoted(what).split(' ')[0]]}"
    if what.endswith("1") and abs(_value(fields, path)) <= LARGEST:
        return f"{field} must be 1 or more"
    return f"{field} is too large a number"


def _quoted(what: str) -> str:
    return what.split("`", 1)[1].split("`", 1)[0]


def _value(fields: Mapping[str, Any], path: str) -> Any:
    return reduce(lambda part, name: part[name], path.split("."), fields)


def _first_that_is_no_text(fields: Mapping[str, Any], path: str) -> str:
    """The path to what is wrong in an object of texts, of which msgspec does not tell the name."""
    for name, value in _value(fields, path).items():
        if not isinstance(value, str) or NUL_OR_SURROGATE.search(value):
            return f"{path}.{name}"
    return path


def _words(declaration: Any, path: str) -> tuple[str, ...]:
    """The words that a field may be, by its declaration."""
    for name in path.split("."):
        hint = get_type_hints(declaration)[name]
        declaration = next(kind for kind in get_args(hint) or (hint,) if kind is not type(None))
    return get_args(declaration)
