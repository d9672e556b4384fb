"""Options are read as llama-server reads them, and bad ones are refused in one clear line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_llama import options
from tiergarten_llama.options import OPTIONS, BadOption, Option, Switch

FORMS = pytest.mark.parametrize(
    "option", [o for o in OPTIONS if not isinstance(o, Switch)], ids=lambda option: option.dest
)
SWITCHES = pytest.mark.parametrize(
    "switch", [o for o in OPTIONS if isinstance(o, Switch)], ids=lambda switch: switch.dest
)
WORDS = ("1", "0.5", "f16", "mean", "auto", "draft-simple", "none", "on")


def parse(*arguments: str, **environ: str) -> dict[str, options.Value]:
    return options.parse(["--model", "m.gguf", *arguments], environ)


def good(option: Option) -> str:
    """Return some text that the option takes."""
    for word in WORDS:
        try:
            option.kind(word)
        except ValueError:
            continue
        return word
    raise AssertionError(option)


@FORMS
def test_an_option_is_known_by_all_its_names_and_its_variable(option: Option) -> None:
    text = good(option)
    value = option.kind(text)

    assert [parse(name, text)[option.dest] for name in option.names] == [value] * len(option.names)
    if option.variable:
        environ = {"LLAMA_ARG_MODEL": "m.gguf", option.variable: text}
        assert options.parse([], environ)[option.dest] == value


@SWITCHES
def test_a_switch_is_turned_on_and_off(switch: Switch) -> None:
    assert [parse(name)[switch.dest] for name in switch.names] == [True] * len(switch.names)
    assert [parse(name)[switch.dest] for name in switch.off] == [False] * len(switch.off)
    if switch.variable:
        for text, value in (("1", True), ("Enabled", True), ("off", False), ("0", False)):
            assert parse(**{switch.variable: text})[switch.dest] is value


def test_names_and_variables_belong_to_one_option_each() -> None:
    names = [name for option in OPTIONS for name in (*option.names, *getattr(option, "off", ()))]
    variables = [option.variable for option in OPTIONS if option.variable]

    assert len(set(names)) == len(names)
    assert len(set(variables)) == len(variables)


def test_what_is_not_given_is_not_there() -> None:
    assert parse() == {"model": "m.gguf"}


def test_an_argument_wins_over_a_variable() -> None:
    assert parse("-c", "1024", LLAMA_ARG_CTX_SIZE="2048")["ctx_size"] == 1024
    assert parse("--no-slots", LLAMA_ARG_ENDPOINT_SLOTS="1")["slots"] is False
    assert options.parse([], {"LLAMA_ARG_MODEL": "v.gguf"}) == {"model": "v.gguf"}


def test_the_last_argument_wins_and_underscores_are_dashes() -> None:
    got = parse("--ctx_size", "512", "--ctx-size=1024", "--model", "my_model.gguf")

    assert (got["ctx_size"], got["model"]) == (1024, "my_model.gguf")


@given(st.integers(-1, (1 << 31) - 1))
def test_numbers_are_read_as_they_are_written(number: int) -> None:
    assert parse("--cache-ram", str(number))["cache_ram"] == number


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--mlock"], "invalid argument: --mlock", id="unknown"),
        pytest.param(["--ctx", "8"], "invalid argument: --ctx", id="abbreviated"),
        pytest.param(["stray"], "invalid argument: stray", id="no option"),
        pytest.param(["-fa"], "-fa/--flash-attn: expected one argument", id="no value"),
        pytest.param(["-fa", "yes"], "'yes' is not one of on, off, auto", id="word"),
        pytest.param(["-c", "many"], "'many' is not a whole number from 0 to", id="no number"),
        pytest.param(["-c", "-1"], "'-1' is not a whole number from 0", id="too low"),
        pytest.param(["--port", "65536"], "not a whole number from 0 to 65535", id="too high"),
        pytest.param(["--temp", "hot"], "--temp/--temperature: 'hot' is not a number", id="float"),
        pytest.param(["-ngl", "few"], "'few' is not a whole number", id="layers"),
        pytest.param(["-ctk", "q9"], "'q9' is not one of f32, f16", id="cache type"),
        pytest.param(["--model", ""], "give -m FILE or set LLAMA_ARG_MODEL", id="no model"),
    ],
)
def test_a_bad_argument_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(BadOption, match=message):
        parse(*arguments)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("LLAMA_ARG_PORT", "high", "LLAMA_ARG_PORT: 'high' is not a whole number from 0 to 65535"),
        ("LLAMA_ARG_ENDPOINT_METRICS", "maybe", "METRICS: 'maybe' is neither on nor off"),
    ],
)
def test_a_bad_variable_is_refused_by_its_name(name: str, text: str, message: str) -> None:
    with pytest.raises(BadOption, match=message):
        parse(**{name: text})


def test_an_unknown_variable_means_nothing() -> None:
    assert parse(LLAMA_ARG_METRICS="1", LLAMA_ARG_NEXT_YEAR="x") == {"model": "m.gguf"}


def test_the_options_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options.parse(["--help"], {})

    assert ended.value.code == 0
    listed = capsys.readouterr().out
    assert "--ctx-size" in listed
    assert "LLAMA_ARG_CTX_SIZE" in listed
