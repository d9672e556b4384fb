"""How far inside an address lies, whatever way it is written."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_fetch.addresses import Reach, furthest, reach, resolve
from tiergarten_fetch.errors import Interrupted


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", Reach.PUBLIC),
        ("2606:4700::1111", Reach.PUBLIC),
        ("10.0.0.1", Reach.PRIVATE),
        ("192.168.1.1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE),
        ("fd12::1", Reach.PRIVATE),
        ("127.0.0.1", Reach.LOOPBACK),
        ("127.8.8.8", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("::ffff:127.0.0.1", Reach.LOOPBACK),
        ("169.254.169.254", Reach.FORBIDDEN),
        ("::ffff:169.254.169.254", Reach.FORBIDDEN),
        ("64:ff9b::a9fe:a9fe", Reach.FORBIDDEN),
        ("2002:a9fe:a9fe::", Reach.FORBIDDEN),
        ("fe80::1%eth0", Reach.FORBIDDEN),
        ("fd00:ec2::254", Reach.FORBIDDEN),
        ("100.100.100.200", Reach.FORBIDDEN),
        ("192.0.0.192", Reach.FORBIDDEN),
        ("0.0.0.0", Reach.FORBIDDEN),  # noqa: S104 # nothing is bound to it
        ("0.1.2.3", Reach.FORBIDDEN),
        ("::", Reach.FORBIDDEN),
        ("224.0.0.1", Reach.FORBIDDEN),
        ("255.255.255.255", Reach.FORBIDDEN),
    ],
)
def test_an_address_is_judged_by_where_it_leads(address: str, expected: Reach):
    assert reach(address) is expected


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_ipv6_clothes_is_judged_as_itself(ip: ipaddress.IPv4Address):
    assert reach(f"::ffff:{ip}") is reach(str(ip))
    assert reach(str(ipaddress.IPv6Address(0x0064_FF9B << 96 | int(ip)))) is reach(str(ip))


def test_the_innermost_of_a_hosts_addresses_counts_and_none_at_all_is_forbidden():
    assert furthest(["8.8.8.8", "127.0.0.1", "10.0.0.1"]) is Reach.LOOPBACK
    assert furthest([]) is Reach.FORBIDDEN


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f.1", "127.1"])
async def test_every_spelling_of_loopback_resolves_to_loopback(host: str):
    assert furthest(await resolve(host, 80)) is Reach.LOOPBACK


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70])
async def test_a_name_without_an_address_may_have_one_later(host: str):
    with pytest.raises(Interrupted, match="cannot be resolved"):
        await resolve(host, 80)
