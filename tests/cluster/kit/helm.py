"""Runs helm on the project's chart: renders it, and installs it into a cluster."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kit import build, commands
from kit.locks import PROJECT

CHART = PROJECT / "charts" / "tiergarten"
SECONDS = 300

Manifest = dict[str, Any]


class Helm:
    """Helm for one cluster, or for none.

    Args:
        kubeconfig: How to reach the cluster; None: only what needs none works.
        chart: The chart's folder.
    """

    def __init__(self, kubeconfig: Path | None = None, chart: Path = CHART) -> None:
        self._kubeconfig, self._chart = kubeconfig, chart

    def lint(self) -> str:
        """Return what helm says of the chart.

        Raises:
            Failed: It has mistakes.
        """
        return self.run("lint", "--strict", str(self._chart))

    def template(
        self, release: str, namespace: str, values: Mapping[str, Any] | None = None
    ) -> list[Manifest]:
        """Return the objects of a release, as they are without a cluster.

        Raises:
            Failed: The values are refused; the message says why.
        """
        words = ("template", release, str(self._chart), "--namespace", namespace, "--values", "-")
        return [it for it in yaml.safe_load_all(self.run(*words, values=values)) if it]

    def install(self, release: str, namespace: str, values: Mapping[str, Any] | None = None) -> str:
        """Install a release, or upgrade it, and return the notes that it shows.

        Raises:
            Failed: The values or an object are refused; the message says why.
        """
        words = ("upgrade", "--install", release, str(self._chart), "--namespace", namespace)
        return self.run(*words, "--values", "-", values=values)

    def uninstall(self, release: str, namespace: str) -> None:
        """Take a release away; what is not there is fine."""
        self.run("uninstall", release, "--namespace", namespace, "--ignore-not-found")

    def run(self, *words: str, values: Mapping[str, Any] | None = None) -> str:
        """Run helm, and return what it wrote.

        Args:
            words: Its command line.
            values: What it reads from its input.
        """
        with tempfile.TemporaryDirectory() as home:
            env = {f"HELM_{kind}_HOME": home for kind in ("CACHE", "CONFIG", "DATA")}
            if self._kubeconfig is not None:
                env["KUBECONFIG"] = str(self._kubeconfig)
            command = [str(build.helm()), *words]
            return commands.run(command, json.dumps(values or {}), env=env, seconds=SECONDS)
