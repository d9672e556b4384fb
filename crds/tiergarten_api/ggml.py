"""Sizes and names of ggml's data types, as llama.cpp's files and options use them.

`gguf` reads tensors with them, `memory` counts the KV cache with them. Kept in step with the
`gguf` package by a test, so that the operator's image needs neither that package nor numpy.
"""

from typing import Final, NamedTuple


class Packing(NamedTuple):
    """How many values one block of a type holds, and its size."""

    values: int
    size_bytes: int


PACKINGS: Final[dict[int, Packing]] = {
    0: Packing(1, 4),  # F32
    1: Packing(1, 2),  # F16
    2: Packing(32, 18),  # Q4_0
    3: Packing(32, 20),  # Q4_1
    6: Packing(32, 22),  # Q5_0
    7: Packing(32, 24),  # Q5_1
    8: Packing(32, 34),  # Q8_0
    9: Packing(32, 40),  # Q8_1
    10: Packing(256, 84),  # Q2_K
    11: Packing(256, 110),  # Q3_K
    12: Packing(256, 144),  # Q4_K
    13: Packing(256, 176),  # Q5_K
    14: Packing(256, 210),  # Q6_K
    15: Packing(256, 292),  # Q8_K
    16: Packing(256, 66),  # IQ2_XXS
    17: Packing(256, 74),  # IQ2_XS
    18: Packing(256, 98),  # IQ3_XXS
    19: Packing(256, 50),  # IQ1_S
    20: Packing(32, 18),  # IQ4_NL
    21: Packing(256, 110),  # IQ3_S
    22: Packing(256, 82),  # IQ2_S
    23: Packing(256, 136),  # IQ4_XS
    24: Packing(1, 1),  # I8
    25: Packing(1, 2),  # I16
    26: Packing(1, 4),  # I32
    27: Packing(1, 8),  # I64
    28: Packing(1, 8),  # F64
    29: Packing(256, 56),  # IQ1_M
    30: Packing(1, 2),  # BF16
    34: Packing(256, 54),  # TQ1_0
    35: Packing(256, 66),  # TQ2_0
    39: Packing(32, 17),  # MXFP4
    40: Packing(64, 36),  # NVFP4
    41: Packing(128, 18),  # Q1_0
}

CACHE_PACKINGS: Final[dict[str, Packing]] = {
    "f32": PACKINGS[0],
    "f16": PACKINGS[1],
    "bf16": PACKINGS[30],
    "q8_0": PACKINGS[8],
    "q4_0": PACKINGS[2],
    "q4_1": PACKINGS[3],
    "iq4_nl": PACKINGS[20],
    "q5_0": PACKINGS[6],
    "q5_1": PACKINGS[7],
}
"""Types of `--cache-type-k` and `--cache-type-v`."""

FILE_TYPES: Final[dict[int, str]] = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
}
"""What users call the quantization that `general.file_type` names."""
