"""The tree of errors is the one that its module draws, and each says what it must."""

import re

import pytest

from tiergarten_router import errors


def drawn() -> list[tuple[str, str]]:
    """Return names and parents as the module's docstring draws them."""
    found, parents = [], {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"([│ ├└─]*)([A-Z]\w+)\b", line)
        if match and hasattr(errors, match[2]):
            depth = len(match[1])
            parents[depth] = match[2]
            found.append((match[2], parents.get(depth - 4, "Exception")))
    return found


def below(kind: type[errors.RouterError]) -> list[type[errors.RouterError]]:
    children = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return [kind, *(deeper for child in children for deeper in below(child))]


def test_the_drawing_is_the_tree() -> None:
    tree = [(kind.__name__, kind.__bases__[0].__name__) for kind in below(errors.RouterError)]

    assert drawn() == tree


@pytest.mark.parametrize("kind", below(errors.RouterError))
def test_the_status_in_the_drawing_is_the_class_s(kind: type[errors.RouterError]) -> None:
    found = re.search(rf"{kind.__name__} +(\d{{3}}) (\w+)(?::|\n)", errors.__doc__ or "")

    if found:
        assert (int(found[1]), found[2]) == (kind.status, kind.code)
    assert 400 <= kind.status < 600


def test_an_error_carries_its_sentence_its_parameter_and_its_time() -> None:
    error = errors.Saturated("Come back.", param="model", retry_after_seconds=3)

    assert (str(error), error.param, error.retry_after_seconds) == ("Come back.", "model", 3)


def test_a_method_that_is_not_taken_names_those_that_are() -> None:
    error = errors.MethodNotAllowed("GET, HEAD")

    assert error.allowed in error.message


def test_what_the_client_did_and_what_a_busy_endpoint_says_break_nothing() -> None:
    kinds = [kind for kind in below(errors.AttemptFailed) if issubclass(kind, errors.AttemptFailed)]

    breaking = {kind.__name__ for kind in kinds if kind.breaks}

    assert breaking == {"AttemptFailed", "ConnectFailed", "FirstTokenTimeout", "StreamBroken"}
