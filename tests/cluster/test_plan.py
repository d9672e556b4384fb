"""A plan says where a cluster is, and comes back from its folder as it was."""

import dataclasses
import socket
from pathlib import Path

import pytest

from kit import parts
from kit.plan import LEVELS, Plan, Ports, free_ports


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(tmp_path, 3, Path("/kt"), Ports())


def test_comes_back_from_its_folder(plan: Plan, tmp_path: Path) -> None:
    placed = plan.on("10.90")

    placed.save()

    assert Plan.load(tmp_path) == placed


def test_listens_on_loopback_without_a_network(plan: Plan) -> None:
    assert plan.address == "127.0.0.1"
    assert plan.host_address == "127.0.0.1"


def test_has_all_its_addresses_in_its_own_network(plan: Plan) -> None:
    placed = plan.on("10.90")

    found = (placed.address, placed.host_address, placed.pods, placed.services, placed.etcd)
    assert found == (
        *("10.90.0.1", "10.90.0.254", "10.90.1.0/24", "10.90.128.0/17"),
        "http://10.90.0.1:2379",
    )


def test_free_ports_are_free_and_differ() -> None:
    ports = dataclasses.astuple(free_ports())

    assert len(set(ports)) == len(ports)
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize("level", LEVELS)
def test_each_part_has_a_command_line(plan: Plan, level: int) -> None:
    placed = dataclasses.replace(plan, level=level).on("10.90")

    for part in placed.parts:
        first = parts.command(placed, part)[:2]
        assert first == (["containerd", "--config"] if part == "containerd" else ["/kt", part])


def test_programs_may_come_from_a_folder(plan: Plan, tmp_path: Path) -> None:
    own = dataclasses.replace(plan, programs=tmp_path)

    assert parts.command(own, "etcd")[0] == str(tmp_path / "etcd")
