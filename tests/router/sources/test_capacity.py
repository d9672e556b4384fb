"""How much memory there is, and what fits into it."""

from hypothesis import given
from hypothesis import strategies as st

from tiergarten_router.sources import capacity
from tiergarten_router.sources.capacity import Demand, Machine

MIB = 1 << 20
MEMINFO = "MemTotal: 4096 kB\nMemFree: 512 kB\nMemAvailable: 2048 kB\nHugePages_Total: 0\n"

demands = st.lists(
    st.builds(Demand, st.text("abc", min_size=1), st.integers(0, 200), st.integers(0, 4),
              st.integers(0, 4)),
    unique_by=lambda demand: demand.tier,
)  # fmt: skip


@given(demands, st.integers(0, 1000), st.integers(0, 1000))
def test_what_is_refused_is_larger_than_the_machine_and_the_rest_is_warned_of(wanted, total, free):
    fit = capacity.fit(wanted, Machine(total, free))

    assert set(fit.refused) == {d.tier for d in wanted if d.replica_bytes > total}
    new = sum(d.replica_bytes * max(0, d.replicas - d.running)
              for d in wanted if d.tier not in fit.refused)  # fmt: skip
    assert fit.left_bytes == free - new
    assert bool(fit.warning) == (new > free)


def test_a_refusal_names_sizes_and_cure():
    fit = capacity.fit([Demand("q8", 3000 * MIB, 1)], Machine(2000 * MIB, 1000 * MIB))

    assert fit.refused["q8"] == (
        "one replica needs 3,000 MiB and this machine has 2,000 MiB; "
        "lower runtime.contextLength or take a smaller quantization"
    )
    assert fit.warning == ""


def test_a_warning_names_who_needs_what():
    wanted = [Demand("q2", 400 * MIB, 3, running=1), Demand("q4", 600 * MIB, 1)]

    fit = capacity.fit(wanted, Machine(2000 * MIB, 1000 * MIB))

    assert fit.warning == (
        "the tiers need 1,400 MiB of memory (q2 2 x 400 MiB, q4 1 x 600 MiB) and 1,000 MiB are "
        "available; lower replicas or runtime.contextLength"
    )


def test_what_runs_already_has_its_memory():
    fit = capacity.fit([Demand("q2", 400, 2, running=2)], Machine(2000, 100))

    assert (fit.warning, fit.left_bytes) == ("", 100)


def test_without_control_groups_the_kernels_numbers_count(tmp_path):
    assert groups(tmp_path, {}) == Machine(4096 * 1024, 2048 * 1024)


def groups(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/meminfo").write_text(MEMINFO)
    return capacity.machine(root)


def test_the_limit_of_a_group_above_counts_and_page_cache_is_free(tmp_path):
    found = groups(
        tmp_path,
        {
            "proc/self/cgroup": "0::/user/shell\n",
            "sys/fs/cgroup/user/memory.max": "1000000",
            "sys/fs/cgroup/user/memory.current": "900000",
            "sys/fs/cgroup/user/memory.stat": "anon 1\ninactive_file 300000\n",
            "sys/fs/cgroup/user/shell/memory.max": "max",
        },
    )

    assert found == Machine(1_000_000, 400_000)


def test_a_container_sees_its_limit_at_the_root(tmp_path):
    found = groups(
        tmp_path,
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": "500000",
            "sys/fs/cgroup/memory.current": "600000",
            "sys/fs/cgroup/memory.stat": "",
        },
    )

    assert found == Machine(500_000, 0)


def test_the_older_kind_of_groups_counts_too(tmp_path):
    found = groups(
        tmp_path,
        {
            "proc/self/cgroup": "5:memory:/docker/x\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "800000",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "100000",
            "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 0\n",
        },
    )

    assert found == Machine(800_000, 700_000)


def test_this_machine_has_memory():
    found = capacity.machine()

    assert 0 < found.available_bytes <= found.total_bytes
