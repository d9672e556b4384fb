"""Memory keeps what is used, within its bytes, and nothing past its time."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tiergarten_router.cache.entry import Entry
from tiergarten_router.cache.memory import OVERHEAD_BYTES, SHARE, Kept, Memory


def kept(size=0, until=100.0, stored_at=0.0):
    return Kept(Entry([b"x" * size], "q2", "tiny", 0, (), 60.0), stored_at, until)


def test_an_entry_is_there_until_its_time_is_over():
    memory = Memory(1 << 20)
    memory.put(b"k", kept(until=10.0))

    assert memory.get(b"k", 9.99) is not None
    assert memory.get(b"k", 10.0) is None
    assert (len(memory), memory.held_bytes) == (0, 0)


def test_the_entry_that_was_not_used_for_longest_goes_first():
    memory = Memory(SHARE * OVERHEAD_BYTES)
    for number in range(SHARE):
        memory.put(b"%d" % number, kept())
    memory.get(b"0", 0)

    memory.put(b"new", kept())

    assert memory.get(b"1", 0) is None
    assert memory.get(b"0", 0) is not None
    assert memory.held_bytes == SHARE * OVERHEAD_BYTES


def test_an_entry_that_would_take_too_large_a_share_is_not_kept():
    memory = Memory(SHARE * (OVERHEAD_BYTES + 200))

    memory.put(b"fits", kept(100))
    memory.put(b"large", kept(101))

    assert memory.get(b"fits", 0) is not None
    assert memory.get(b"large", 0) is None


def test_a_memory_of_no_bytes_keeps_nothing():
    memory = Memory(0)
    memory.put(b"k", kept())

    assert len(memory) == 0


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_an_age_is_in_whole_seconds_and_never_negative(stored_at, now):
    age = kept(stored_at=stored_at).age(now)

    assert age == max(0, int(now - stored_at))


class Model(RuleBasedStateMachine):
    """Any puts, gets and drops: the bytes are those of what is there, and bounded."""

    MOST = 10 * OVERHEAD_BYTES

    def __init__(self):
        super().__init__()
        self.memory = Memory(self.MOST)
        self.newest = {}
        self.now = 0.0

    keys = st.sampled_from([b"%d" % n for n in range(15)])

    @rule(key=keys, size=st.integers(0, 200), ttl=st.floats(0.1, 5))
    def put(self, key, size, ttl):
        self.newest[key] = kept(size, self.now + ttl)
        self.memory.put(key, self.newest[key])

    @rule(key=keys)
    def get(self, key):
        found = self.memory.get(key, self.now)
        assert found is None or (found is self.newest[key] and self.now < found.until)

    @rule(key=keys)
    def drop(self, key):
        self.memory.drop(key)
        assert self.memory.get(key, self.now) is None

    @rule(seconds=st.floats(0, 2))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def bytes_are_right(self):
        entries = self.memory._kept.values()
        sizes = [OVERHEAD_BYTES + 2 * found.entry.size for found in entries]
        assert sum(sizes) == self.memory.held_bytes <= self.MOST


TestModel = Model.TestCase
