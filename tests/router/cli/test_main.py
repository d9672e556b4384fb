"""The program's own words."""

from importlib.metadata import version

from typer.testing import CliRunner

from tiergarten_router.cli.main import cli


def test_the_version_is_the_distribution_s() -> None:
    shown = CliRunner().invoke(cli, ["--version"])

    assert shown.output == f"tiergarten {version('tiergarten')}\n"


def test_help_names_the_commands() -> None:
    shown = CliRunner().invoke(cli, ["--help"])

    assert {"local", "demo"} <= set(shown.output.split())
