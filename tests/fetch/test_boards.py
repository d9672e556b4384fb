"""What a fetch's pod tells of its files."""

from hypothesis import given
from hypothesis import strategies as st

from tiergarten_fetch import boards
from tiergarten_fetch.boards import MOST_FILES, Board
from tiergarten_fetch.results import Doing, Progress

PROGRESS = st.builds(
    Progress,
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.integers(0, 2**60),
    st.none() | st.integers(0, 2**60),
    st.sampled_from(Doing),
)


@given(st.lists(PROGRESS, max_size=20))
def test_what_is_read_is_what_was_shown_last_of_each_file(shown: list[Progress]) -> None:
    board = Board()
    for it in shown:
        board.show(it)

    assert boards.read(board.text()) == tuple({it.file: it for it in shown}.values())


def test_no_more_files_are_told_than_a_tier_may_name() -> None:
    board = Board()
    for number in range(MOST_FILES + 5):
        board.show(Progress(str(number), 0, None))
    board.show(Progress("0", 7, 9))

    found = boards.read(board.text())

    assert len(found) == MOST_FILES
    assert found[0].fetched_bytes == 7


@given(st.binary(max_size=40))
def test_what_is_no_board_tells_nothing(text: bytes) -> None:
    assert boards.read(text) == ()
