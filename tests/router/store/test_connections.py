"""Ways in: sockets, passwords, databases, TLS, and the master that Sentinels name."""

import asyncio
import ssl
import subprocess

import pytest

from redises import FalseRedis, RealRedis, replies
from tiergarten_router.sources import valkey
from tiergarten_router.store.address import parse
from tiergarten_router.store.connections import connect
from tiergarten_router.store.failures import Unavailable
from tiergarten_router.store.lane import ask, disconnect


async def test_a_socket_leads_in(tmp_path):
    async with valkey.running(tmp_path) as url:
        link = await connect(parse(url + "?db=3"))

        assert "db=3" in str(await ask(link, "CLIENT", "LIST"))

        await disconnect(link)


async def test_a_password_leads_in_and_a_wrong_one_does_not(tmp_path):
    async with RealRedis(tmp_path, requirepass="right") as redis:
        address = redis.url.removeprefix("redis://")
        link = await connect(parse(f"redis://:right@{address}/1"))
        assert await ask(link, "PING") == b"PONG"
        await disconnect(link)

        for login in ("", ":wrong@"):
            with pytest.raises(Unavailable, match="cannot be reached: AuthenticationError") as told:
                await connect(parse(f"redis://{login}{address}"))
            assert "wrong" not in str(told.value)


async def test_a_frozen_server_is_given_up(tmp_path):
    async with RealRedis(tmp_path) as redis:
        redis.freeze()

        with pytest.raises(Unavailable, match="did not answer in time"):
            await connect(parse(redis.url))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Return the folder of `ca.pem`, a certificate of 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=redis", "-addext"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "ca.pem")]
    subprocess.run(
        ["openssl", *words, "subjectAltName=IP:127.0.0.1", *files],  # noqa: S607 -- it is on PATH
        check=True,
        capture_output=True,
    )
    return folder


async def test_tls_leads_in_with_a_certificate_and_never_past_an_unknown_authority(certificate):
    ca, key = certificate / "ca.pem", certificate / "key.pem"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    context.load_cert_chain(ca, key)
    context.verify_mode = ssl.CERT_REQUIRED
    async with FalseRedis(replies(b"+PONG\r\n"), context) as false:
        url = false.url.replace("redis", "rediss")

        link = await connect(parse(f"{url}?ca_file={ca}&cert_file={ca}&key_file={key}"))
        assert await ask(link, "PING") == b"PONG"
        await disconnect(link)

        with pytest.raises(Unavailable, match="cannot be reached"):
            await connect(parse(url))


@pytest.fixture
async def sentinel(tmp_path):
    """Yield a master and the Sentinel that watches it, which wants a password."""
    async with RealRedis(tmp_path) as master:
        config = tmp_path / "sentinel.conf"
        config.write_text(
            f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds main 60000\n"
        )
        async with RealRedis(tmp_path, str(config), "--sentinel", requirepass="s") as watcher:
            yield master, watcher


async def test_a_sentinel_leads_to_the_master(sentinel):
    master, watcher = sentinel
    hosts = f"127.0.0.1:1,127.0.0.1:{watcher.port}"  # nobody is at port 1

    link = await connect(parse(f"redis+sentinel://{hosts}/main?sentinel_password=s"))

    assert await ask(link, "CONFIG", "GET", "port") == [b"port", str(master.port).encode()]
    await disconnect(link)


async def test_a_master_that_is_none_and_a_service_that_nobody_knows_are_told(sentinel):
    master, watcher = sentinel
    url = f"redis+sentinel://127.0.0.1:{watcher.port}/"
    await master.ask("REPLICAOF", "127.0.0.1", "1")

    with pytest.raises(Unavailable, match="master that Sentinel names is none"):
        await connect(parse(f"{url}main?sentinel_password=s"))
    with pytest.raises(Unavailable, match="no Sentinel knows the service"):
        await connect(parse(f"{url}other?sentinel_password=s"))
    with pytest.raises(Unavailable, match=r"Sentinel: .*AuthenticationError"):
        await connect(parse(f"{url}main"))


async def test_a_master_that_becomes_a_replica_is_left(tmp_path, keeps, until):
    async with RealRedis(tmp_path) as redis, keeps(redis.url) as store:
        await until(store, up=True)
        await redis.ask("REPLICAOF", "127.0.0.1", "1")

        with pytest.raises(Exception, match="ReadOnlyError"):
            await store.set(b"key", b"value", 60)

        async with asyncio.timeout(20):
            while store.up:  # noqa: ASYNC110 -- it falls in the next turn of the loop
                await asyncio.sleep(0)
