"""Any text can be read and written back, and words that were learnt are one token."""

from hypothesis import given
from hypothesis import strategies as st

from tiergarten_llama.models.text import corpus
from tiergarten_llama.models.tokenizer import LETTERS, SPECIAL, TOOLS, Tokenizer

TOKENIZER = Tokenizer(corpus(), 600)


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_decoding_gives_back_what_was_encoded(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_each_byte_has_a_printable_letter_of_its_own() -> None:
    assert len(set(LETTERS)) == 256
    assert all(letter.isprintable() and not letter.isspace() for letter in LETTERS)


def test_special_tokens_are_never_cut() -> None:
    for token in (*SPECIAL, *TOOLS):
        assert TOKENIZER.encode(f"a{token}b") == [
            TOKENIZER.id["a"],
            TOKENIZER.id[token],
            TOKENIZER.id["b"],
        ]


def test_merges_are_learnt_from_the_most_frequent_pair_on_and_stop_when_there_are_none() -> None:
    learnt = Tokenizer("aab aab aab ab", 100)

    space = LETTERS[ord(" ")]
    assert learnt.merges == [("a", "b"), ("a", "ab"), (space, "aab"), (space, "ab")]
    assert learnt.encode(" aab") == [learnt.id[f"{space}aab"]]
    assert Tokenizer("aab aab", 1).merges == [("a", "a")]


def test_equal_pairs_are_merged_in_the_order_of_the_alphabet() -> None:
    assert Tokenizer("ba ab", 1).merges == [("a", "b")]


def test_a_pair_that_overlaps_itself_is_merged_from_the_left() -> None:
    learnt = Tokenizer("aaa aaa", 1)

    assert learnt.encode("aaaaa") == [learnt.id["aa"], learnt.id["aa"], learnt.id["a"]]
