"""What a cluster of the tests' own is made of: certificates, the configuration of each program, images."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.stack.authority import Authority

PAUSE = "localhost/pause:1"
BORROWED = "localhost/borrowed:1"
_FOLDERS = ("sbin", "tmp", "proc", "sys", "dev", "run", "root", "usr", "etc", "var")


@dataclass(frozen=True)
class Place:
    """Folder and addresses of one cluster: those of the range for benchmarks (RFC 2544), which nobody routes."""

    folder: Path
    number: int

    @property
    def name(self) -> str:
        """Of its node, its link and its cgroups."""
        return f"kube-{self.number}"

    @property
    def outside(self) -> str:
        """This machine, as the cluster sees it."""
        return f"198.19.{self.number}.129"

    @property
    def node(self) -> str:
        """The cluster's one node, with the API server."""
        return f"198.19.{self.number}.130"

    @property
    def pods(self) -> str:
        """The network of the pods."""
        return f"198.18.{self.number}.0/24"

    @property
    def services(self) -> str:
        """The network of Services."""
        return f"198.19.{self.number}.0/25"

    @property
    def server(self) -> str:
        """Where the API server listens."""
        return f"https://{self.node}:6443"

    @property
    def socket(self) -> Path:
        """Where containerd listens."""
        return self.folder / "containerd.sock"


def certificates(place: Place) -> Authority:
    """An authority, a certificate for each program, and a kubeconfig for those that ask the API server."""
    authority = Authority(place.folder)
    first = place.services.replace(".0/25", ".1")
    authority.issue("apiserver", addresses=[place.node, first])
    authority.issue("kubelet-server", addresses=[place.node])
    authority.issue("service-accounts")
    authority.issue("apiserver-client", organisation="system:masters")
    for user, organisation in (
        ("admin", "system:masters"),
        ("system:kube-controller-manager", ""),
        ("system:kube-scheduler", ""),
        ("system:kube-proxy", ""),
        (f"system:node:{place.name}", "system:nodes"),
    ):
        certificate, key = authority.issue(user, organisation=organisation)
        content = {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)}
        _write(
            place, f"{user.rpartition('system:')[2].replace(':', '-')}.kubeconfig", _kubeconfig(place, user, content)
        )
    return authority


def with_token(place: Place, name: str, token: str) -> Path:
    """A kubeconfig for whoever has that token."""
    return _write(place, f"{name}.kubeconfig", _kubeconfig(place, name, {"token": token}))


def _kubeconfig(place: Place, user: str, credentials: Mapping[str, str]) -> dict[str, Any]:
    authority = _base64(place.folder / "authority.pem")
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "test", "cluster": {"server": place.server, "certificate-authority-data": authority}},
        ],
        "users": [{"name": user, "user": dict(credentials)}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        "current-context": "test",
    }


def containerd(place: Place) -> Path:
    """The configuration of containerd, with the network of the pods."""
    _network(place)
    unused = ("snapshotter.v1.btrfs", "snapshotter.v1.zfs", "snapshotter.v1.aufs", "snapshotter.v1.devmapper")
    text = f"""version = 2
root = "{place.folder}/containerd"
state = "{place.folder}/containerd-state"
disabled_plugins = {json.dumps([f"io.containerd.{name}" for name in (*unused, "internal.v1.opt")])}
[grpc]
  address = "{place.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # without CAP_SYS_RESOURCE runc cannot lower a score below that of its parent, as the pause container asks for
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{place.folder}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
"""
    file = place.folder / "containerd.toml"
    file.write_text(text)
    return file


def _network(place: Place) -> None:
    """A bridge on which each pod has an address."""
    network = {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "pods",
                "isGateway": True,
                "ipMasq": False,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(place.folder / "addresses"),
                    "ranges": [[{"subnet": place.pods}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    (place.folder / "cni").mkdir()
    (place.folder / "cni" / "10-pods.conflist").write_text(json.dumps(network))


def kubelet(place: Place) -> Path:
    """The kubelet's configuration: it writes its status often, so that tests need not wait for it."""
    (place.folder / "resolv.conf").write_text("")
    return _write(
        place,
        "kubelet.yaml",
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": place.node,
            "readOnlyPort": 0,
            "healthzBindAddress": "127.0.0.1",
            "tlsCertFile": str(place.folder / "kubelet-server.pem"),
            "tlsPrivateKeyFile": str(place.folder / "kubelet-server.key"),
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(place.folder / "authority.pem")},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{place.name}",
            "enforceNodeAllocatable": ["pods"],
            "failSwapOn": False,
            "oomScoreAdj": 0,
            "resolvConf": str(place.folder / "resolv.conf"),
            "maxPods": 200,
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "nodeStatusUpdateFrequency": "2s",
            "syncFrequency": "10s",
            "serializeImagePulls": False,
            "kubeAPIQPS": 200,
            "kubeAPIBurst": 400,
            "registryPullQPS": 0,
            "volumePluginDir": str(place.folder / "plugins"),
        },
    )


def proxy(place: Place) -> Path:
    """kube-proxy's configuration; its rules are those of the cluster's own network namespace."""
    return _write(
        place,
        "proxy.yaml",
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "hostnameOverride": place.name,
            "healthzBindAddress": "127.0.0.1:10256",
            "clientConnection": {"kubeconfig": str(place.folder / "kube-proxy.kubeconfig")},
            "clusterCIDR": place.pods,
            "oomScoreAdj": 0,
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            # pods of one bridge answer each other directly, past the rules, unless they are asked by the node
            "iptables": {"masqueradeAll": True, "minSyncPeriod": "0s", "syncPeriod": "30s"},
        },
    )


def audit(place: Place) -> Path:
    """Who changed what is written to ``audit.log``, but for what the cluster does by itself."""
    quiet: list[dict[str, Any]] = [
        {"level": "None", "userGroups": ["system:nodes", "system:serviceaccounts:kube-system"]},
        {
            "level": "None",
            "users": [f"system:{name}" for name in ("apiserver", "kube-scheduler", "kube-controller-manager")],
        },
        {"level": "None", "verbs": ["get", "list", "watch"]},
        {"level": "Metadata"},
    ]
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": quiet}
    return _write(place, "audit.yaml", policy)


def images(place: Place, pause: Path) -> list[Path]:
    """The archives of the two images: the pause program alone, and folders that /usr and /etc are mounted to."""
    program = tarfile.TarInfo("pause")
    program.size, program.mode = pause.stat().st_size, 0o755
    folders = []
    for name in _FOLDERS:
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
        folders.append((entry, b""))
    for name in ("bin", "lib", "lib64"):
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{name}"
        folders.append((entry, b""))
    return [
        archive(place.folder / "pause.tar", PAUSE, [(program, pause.read_bytes())], ["/pause"]),
        archive(place.folder / "borrowed.tar", BORROWED, folders, ["/bin/sh"]),
    ]


def archive(file: Path, name: str, content: Sequence[tuple[tarfile.TarInfo, bytes]], command: Sequence[str]) -> Path:
    """An image of one layer, in the form of ``docker save``, which ``ctr images import`` reads."""
    layer = _tar(content)
    digest = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"Cmd": list(command), "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created": "1970-01-01T00:00:00Z"}],
        }
    ).encode()
    own = f"{hashlib.sha256(config).hexdigest()}.json"
    listed = [{"Config": own, "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = ((own, config), ("layer.tar", layer), ("manifest.json", json.dumps(listed).encode()))
    file.write_bytes(_tar([(_entry(path, len(data)), data) for path, data in files]))
    return file


def _entry(path: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.size = size
    return entry


def _tar(content: Sequence[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for entry, data in content:
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def _write(place: Place, name: str, content: Mapping[str, Any]) -> Path:
    file = place.folder / name
    file.write_text(yaml.safe_dump(dict(content)))
    file.chmod(0o600)
    return file


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
