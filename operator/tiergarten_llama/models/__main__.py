"""`python -m tiergarten_llama.models`: writes one model."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tiergarten_llama.models import PRESETS, write_random, write_scripted
from tiergarten_llama.models.writer import CONTEXT_TOKENS, FILE_TYPES


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the model that the arguments ask for, and return 0."""
    parser = argparse.ArgumentParser(
        prog="python -m tiergarten_llama.models",
        description="Write a small GGUF model, without a download.",
    )
    parser.add_argument("-o", "--out", required=True, type=Path, help="the file to write")
    parser.add_argument("--kind", choices=("random", "scripted"), default="random")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="tiny", help="random: its size")
    parser.add_argument("--name", default="small", help="scripted: what it calls itself")
    parser.add_argument("--seed", type=int, default=0, help="random: another one, other weights")
    parser.add_argument(
        "--mean-reply", type=float, default=48, help="random: mean length of replies, in tokens"
    )
    parser.add_argument("--ctx", type=int, default=CONTEXT_TOKENS, help="trained context, tokens")
    parser.add_argument("--type", choices=tuple(FILE_TYPES), default="f16", help="of the weights")
    given = parser.parse_args(arguments)
    if given.kind == "scripted":
        write_scripted(given.out, given.name, context_tokens=given.ctx, file_type=given.type)
    else:
        write_random(
            given.out,
            given.preset,
            seed=given.seed,
            mean_reply_tokens=given.mean_reply,
            context_tokens=given.ctx,
            file_type=given.type,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
