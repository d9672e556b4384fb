"""Bodies as JSON: decoded into the structs of `wire`, and what is wrong with them named."""

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from tiergarten_router import wire
from tiergarten_router.errors import InvalidRequest

T = TypeVar("T")
_PLACE = re.compile(r"^(.*?)(?: - at `\$(?:\.([^`]*)|(\[[^`]*))?`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(\w+)`")


def decoder(kind: type[T]) -> Callable[[bytes], T]:
    """Return a function that decodes bodies of one kind.

    It raises InvalidRequest, with the parameter's name, for what is not JSON or not that kind.
    """
    decode = msgspec.json.Decoder(kind).decode

    def decoded(body: bytes) -> T:
        try:
            if not body.isascii():
                body.decode()  # the decoder looks into known fields only
            return decode(body)
        except msgspec.ValidationError as error:
            raise _invalid(str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"The body is not JSON: {error}.") from error
        except RecursionError as error:
            raise InvalidRequest(
                f"The body is nested deeper than {wire.DEPTH_MAX} levels; send it flatter."
            ) from error

    return decoded


def _invalid(message: str) -> InvalidRequest:
    found = _PLACE.match(message)
    what, param = (found[1], found[2] or found[3]) if found else (message, None)
    missing = _MISSING.search(what)
    if missing:
        param = f"{param}.{missing[1]}" if param else missing[1]
    where = f"{param}: " if param else ""
    return InvalidRequest(f"{where}{what}.", param=param)
