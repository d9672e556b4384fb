"""The node's disks: local volumes under a default storage class, and claims with files in them.

Local volumes rather than folders of the host: kubelet applies `fsGroup` to these only. A volume is
bound once; when its claim is gone, `recycle` empties it and offers it again.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from kit import api
from kit.plan import NODE
from kit.processes import wait_for

COUNT = 40
CLASS = "local"
VOLUMES = "/api/v1/persistentvolumes"


def offer(server: httpx.Client, folder: Path) -> None:
    """Make the storage class and its volumes, with their folders inside `folder`."""
    storage = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
        "metadata": {
            "name": CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
    }
    path = f"/apis/storage.k8s.io/v1/storageclasses/{CLASS}"
    api.apply(server, path, storage).raise_for_status()
    for n in range(COUNT):
        _offer(server, folder, f"{CLASS}-{n:02}")


def recycle(server: httpx.Client, folder: Path) -> None:
    """Empty the volumes whose claim is gone, and offer them again."""
    for volume in server.get(VOLUMES).raise_for_status().json()["items"]:
        name = volume["metadata"]["name"]
        if volume["status"].get("phase") == "Released" and name.startswith(f"{CLASS}-"):
            _empty(folder / name)
            unbound = {"spec": {"claimRef": None}}
            api.merge(server, f"{VOLUMES}/{name}", unbound).raise_for_status()


def claim(
    server: httpx.Client, folder: Path, namespace: str, name: str, files: Mapping[str, Path]
) -> None:
    """Make a claim that is bound to a volume with these files in it.

    Args:
        server: The API server.
        folder: Holds the volumes' folders.
        namespace: The claim's.
        name: The claim's.
        files: What to copy into it, by the path that it gets there.
    """
    volumes = server.get(VOLUMES).raise_for_status().json()["items"]
    free = next(v for v in reversed(volumes) if v["status"].get("phase") == "Available")
    volume = free["metadata"]["name"]
    for path, source in files.items():
        (folder / volume / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / volume / path)
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": CLASS,
        "volumeName": volume,
        "resources": {"requests": {"storage": "1Gi"}},
    }
    claims = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
    body = {"metadata": {"name": name}, "spec": spec}
    server.post(claims, json=body).raise_for_status()

    def bound() -> bool:
        answer = server.get(f"{claims}/{name}").raise_for_status().json()
        return bool(answer["status"].get("phase") == "Bound")

    wait_for(f"the claim {name} to be bound to {volume}", bound, 30)


def _empty(folder: Path) -> None:
    """Remove what is in a folder, and what kubelet did to it for the pods' group."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    folder.chmod(0o755)
    os.chown(folder, 0, 0)


def _offer(server: httpx.Client, folder: Path, name: str) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    on_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
    spec: dict[str, Any] = {
        "capacity": {"storage": "20Gi"},
        "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": CLASS,
        "local": {"path": str(folder / name)},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]}},
    }
    body = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}}
    server.post(VOLUMES, content=json.dumps(body | {"spec": spec})).raise_for_status()
