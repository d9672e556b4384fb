"""Reads llama-server's command line and its `LLAMA_ARG_*` variables, without llama.cpp.

`parameters` turns the result into llama.cpp's own parameters. The table holds what a tier may need;
an option that is not in it ends the program, as an unknown one does in llama-server. A line takes
an option's names (the last one names it in the result), its variable, how its text is read, and
the parameter that gets it; an option that needs more than that has a function in `parameters`.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

Value = str | int | float | bool
Kind = Callable[[str], Value]

PREFIX: Final = "LLAMA_ARG_"
YES: Final = frozenset({"1", "true", "on", "enabled"})
NO: Final = frozenset({"0", "false", "off", "disabled"})
CACHE_TYPES: Final = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")


class BadOption(ValueError):
    """A command line or variable that llama-server would refuse; the message says why."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option with a value.

    Attributes:
        names: What it is called; the last one names it in the result.
        env: Its variable, without `LLAMA_ARG_` unless it is one of the few that have another name.
        kind: Reads its text; raises ValueError.
        target: The parameter that takes the value as it is, or empty.
    """

    names: tuple[str, ...]
    env: str
    kind: Kind
    target: str = ""

    @property
    def dest(self) -> str:
        """Its name in the result: `ctx_size`."""
        return _dest(self.names[-1])

    @property
    def variable(self) -> str:
        """Its variable's whole name, or empty."""
        own = not self.env or self.env.startswith("LLAMA_")
        return self.env if own else PREFIX + self.env


@dataclass(frozen=True, slots=True)
class Switch(Option):
    """An option that is on or off.

    Attributes:
        off: Names that turn it off.
    """

    off: tuple[str, ...] = ()


def whole(low: int = -1, high: int = (1 << 31) - 1) -> Kind:
    """Return a reader of whole numbers between two bounds."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise ValueError(f"{text!r} is not a whole number from {low} to {high}")
        return number

    return read


def one_of(*words: str) -> Kind:
    """Return a reader of one of some words."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text!r} is not one of {', '.join(words)}")
        return text

    return read


def decimal(text: str) -> float:
    """Return a number with a fraction."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None


def layers(text: str) -> str:
    """Return a number of layers, `auto` or `all`."""
    return text if text in {"auto", "all"} else str(whole(-2)(text))


def boolean(text: str) -> bool:
    """Return what a switch's variable says."""
    if text.lower() in YES | NO:
        return text.lower() in YES
    raise ValueError(f"{text!r} is neither on nor off")


OPTIONS: Final[tuple[Option, ...]] = (
    # model
    Option(("-m", "--model"), "MODEL", str, "model.path"),
    Option(("-a", "--alias"), "ALIAS", str),
    Option(("--tags",), "TAGS", str),
    Option(("-mm", "--mmproj"), "MMPROJ", str, "mmproj.path"),
    Option(("--lora",), "", str),
    Option(("-md", "--model-draft", "--spec-draft-model"), "SPEC_DRAFT_MODEL", str),
    Option(("--spec-type",), "SPEC_TYPE", one_of("none", "draft-simple")),
    Option(("--spec-draft-n-max",), "SPEC_DRAFT_N_MAX", whole(0), "speculative.draft.n_max"),
    Option(("--spec-draft-n-min",), "SPEC_DRAFT_N_MIN", whole(0), "speculative.draft.n_min"),
    Option(("--spec-draft-p-min",), "SPEC_DRAFT_P_MIN", decimal, "speculative.draft.p_min"),
    Option(
        ("-lm", "--load-mode"),
        "LOAD_MODE",
        one_of("auto", "none", "mmap", "mlock", "mmap+mlock", "dio"),
    ),
    Switch(("--check-tensors",), "", boolean, "check_tensors"),
    Switch(("--warmup",), "", boolean, "warmup", ("--no-warmup",)),
    # context and speed
    Option(("-c", "--ctx-size"), "CTX_SIZE", whole(0), "n_ctx"),
    Option(("-np", "--parallel"), "N_PARALLEL", whole()),
    Switch(("-kvu", "--kv-unified"), "KV_UNIFIED", boolean, off=("-no-kvu", "--no-kv-unified")),
    Option(("-n", "--predict", "--n-predict"), "N_PREDICT", whole(-2), "n_predict"),
    Option(("--keep",), "", whole(), "n_keep"),
    Option(("-b", "--batch-size"), "BATCH", whole(1), "n_batch"),
    Option(("-ub", "--ubatch-size"), "UBATCH", whole(1), "n_ubatch"),
    Option(("-t", "--threads"), "THREADS", whole()),
    Option(("-tb", "--threads-batch"), "", whole()),
    Option(("-ngl", "--gpu-layers", "--n-gpu-layers"), "N_GPU_LAYERS", layers),
    Option(("-fa", "--flash-attn"), "FLASH_ATTN", one_of("on", "off", "auto")),
    Option(("-ctk", "--cache-type-k"), "CACHE_TYPE_K", one_of(*CACHE_TYPES)),
    Option(("-ctv", "--cache-type-v"), "CACHE_TYPE_V", one_of(*CACHE_TYPES)),
    Option(("-cram", "--cache-ram"), "CACHE_RAM", whole(), "cache_ram_mib"),
    Option(("--cache-reuse",), "CACHE_REUSE", whole(0), "n_cache_reuse"),
    Switch(("--cache-prompt",), "CACHE_PROMPT", boolean, "cache_prompt", ("--no-cache-prompt",)),
    Switch(
        ("--cache-idle-slots",),
        "CACHE_IDLE_SLOTS",
        boolean,
        "cache_idle_slots",
        ("--no-cache-idle-slots",),
    ),
    Option(("-sps", "--slot-prompt-similarity"), "", decimal, "slot_prompt_similarity"),
    Option(("--slot-save-path",), "", str),
    Option(("-ctxcp", "--ctx-checkpoints"), "CTX_CHECKPOINTS", whole(0), "n_ctx_checkpoints"),
    Switch(("--swa-full",), "SWA_FULL", boolean, "swa_full"),
    Switch(("--context-shift",), "CONTEXT_SHIFT", boolean, "ctx_shift", ("--no-context-shift",)),
    Option(("--rope-freq-base",), "ROPE_FREQ_BASE", decimal, "rope_freq_base"),
    Option(("--rope-freq-scale",), "ROPE_FREQ_SCALE", decimal, "rope_freq_scale"),
    # embeddings
    Switch(("--embedding", "--embeddings"), "EMBEDDINGS", boolean, "embedding"),
    Option(("--pooling",), "POOLING", one_of("none", "mean", "cls", "last", "rank")),
    Option(("--embd-normalize",), "", whole(), "embd_normalize"),
    # chat
    Switch(("--jinja",), "JINJA", boolean, "use_jinja", ("--no-jinja",)),
    Option(("--chat-template",), "CHAT_TEMPLATE", str, "chat_template"),
    Option(("--chat-template-kwargs",), "CHAT_TEMPLATE_KWARGS", str),
    Option(("--reasoning-format",), "THINK", one_of("none", "auto", "deepseek", "deepseek-legacy")),
    Option(("-rea", "--reasoning"), "REASONING", one_of("on", "off", "auto")),
    Option(("--reasoning-budget",), "THINK_BUDGET", whole(), "sampling.reasoning_budget_tokens"),
    # sampling, where a request does not say
    Option(("-s", "--seed"), "", whole(), "sampling.seed"),
    Option(("--temp", "--temperature"), "", decimal, "sampling.temp"),
    Option(("--top-k",), "", whole(), "sampling.top_k"),
    Option(("--top-p",), "", decimal, "sampling.top_p"),
    Option(("--min-p",), "", decimal, "sampling.min_p"),
    Option(("--repeat-last-n",), "", whole(), "sampling.penalty_last_n"),
    Option(("--repeat-penalty",), "", decimal, "sampling.penalty_repeat"),
    Option(("--presence-penalty",), "", decimal, "sampling.penalty_present"),
    Option(("--frequency-penalty",), "", decimal, "sampling.penalty_freq"),
    # HTTP
    Option(("--host",), "HOST", str),
    Option(("--port",), "PORT", whole(0, 65535), "port"),
    Switch(("--reuse-port",), "REUSE_PORT", boolean, "reuse_port"),
    Option(("--api-prefix",), "API_PREFIX", str, "api_prefix"),
    Option(("--api-key",), "LLAMA_API_KEY", str),
    Option(("--api-key-file",), "API_KEY_FILE", str),
    Option(("--threads-http",), "THREADS_HTTP", whole(), "n_threads_http"),
    Option(("-to", "--timeout"), "TIMEOUT", whole(1)),
    Option(("--sse-ping-interval",), "SSE_PING_INTERVAL", whole(), "sse_ping_interval"),
    Option(("--sleep-idle-seconds",), "", whole(), "sleep_idle_seconds"),
    Option(("--cors-origins",), "CORS_ORIGINS", str),
    Option(("--cors-methods",), "CORS_METHODS", str, "cors_methods"),
    Option(("--cors-headers",), "CORS_HEADERS", str, "cors_headers"),
    Switch(("--metrics",), "ENDPOINT_METRICS", boolean, "endpoint_metrics"),
    Switch(("--props",), "ENDPOINT_PROPS", boolean, "endpoint_props"),
    Switch(("--slots",), "ENDPOINT_SLOTS", boolean, "endpoint_slots", ("--no-slots",)),
    Switch(("--webui", "--ui"), "UI", boolean, "", ("--no-webui", "--no-ui")),
    # log
    Option(("-lv", "--verbosity", "--log-verbosity"), "LOG_VERBOSITY", whole(0), "verbosity"),
    Switch(("--log-jsonl",), "LOG_JSONL", boolean, "log_json", ("--no-log-jsonl",)),
)


class _Parser(argparse.ArgumentParser):
    """A parser that raises where argparse would end the program with status 2."""

    def error(self, message: str) -> NoReturn:
        raise BadOption(message)


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> dict[str, Value]:
    """Return the options that were given, by name; an argument wins over a variable.

    Args:
        arguments: The command line, without the program's name.
        environ: The environment.

    Raises:
        BadOption: An option is unknown, has a bad value, or the model is missing.
    """
    parser = _parser(environ)
    given, unknown = parser.parse_known_args([_dashed(argument) for argument in arguments])
    if unknown:
        raise BadOption(f"invalid argument: {unknown[0]}")
    options = vars(given)
    if not options.get("model"):
        raise BadOption("no model: give -m FILE or set LLAMA_ARG_MODEL")
    return options


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tiergarten-llama-server",
        description="llama.cpp's own HTTP server, with llama-server's options and variables.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    for option in OPTIONS:
        if not isinstance(option, Switch):
            parser.add_argument(
                *option.names, dest=option.dest, type=_reader(option.kind), help=option.variable
            )
            continue
        for names, value in ((option.names, True), (option.off, False)):
            if names:
                parser.add_argument(
                    *names,
                    dest=option.dest,
                    action="store_const",
                    const=value,
                    help=option.variable,
                )
    parser.set_defaults(**dict(_from_variables(environ)))
    return parser


def _reader(kind: Kind) -> Kind:
    """Return a reader whose refusals argparse shows in its own words."""

    def read(text: str) -> Value:
        try:
            return kind(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def _from_variables(environ: Mapping[str, str]) -> Iterable[tuple[str, Value]]:
    for option in OPTIONS:
        text = environ.get(option.variable) if option.variable else None
        if text is None:
            continue
        try:
            yield option.dest, option.kind(text)
        except ValueError as error:
            raise BadOption(f"{option.variable}: {error}") from error


def _dest(name: str) -> str:
    return name.lstrip("-").replace("-", "_")


def _dashed(argument: str) -> str:
    """Return an argument with the dashes that llama-server reads into `--ctx_size`."""
    flag, equals, value = argument.partition("=")
    return flag.replace("_", "-") + equals + value if flag.startswith("--") else argument
