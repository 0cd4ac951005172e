"""A real Kubernetes of the tests' own: etcd, API server with RBAC, controllers, scheduler, proxy, kubelet, containerd.

All of it lives in a network and a mount namespace and in cgroups of its own; one link leads into it from this machine, by
which pods and Services can be reached too. ``tests/stack/install`` builds its programs once. Somebody else's cluster is
taken instead where ``SRETOOLKIT_STACK_KUBECONFIG`` names its kubeconfig, and ``SRETOOLKIT_STACK_IMAGE`` an image with a
shell, tini and Python that it can pull.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

from sretoolkit.clock import poll
from tests.stack import kubernetes_files as files
from tests.stack.process import Process, unpacked

_CGROUPS = Path("/sys/fs/cgroup")
_ENTER = 'echo $$ > "$1"/cgroup.procs && pid=$2 && shift 2 && exec nsenter --target "$pid" --net --mount -- "$@"'
# The kubelet would change these for the whole machine: it is given copies to write to.
_TUNED = (
    "vm/overcommit_memory",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
_HOLD = (
    """set -e
echo $$ > "$1"/cgroup.procs
mount --make-rshared /
for name in """
    + " ".join(_TUNED)
    + """; do
  copy="$2"/$(basename "$name")
  cat "/proc/sys/$name" > "$copy"
  mount --bind "$copy" "/proc/sys/$name"
done
echo 1 > /proc/sys/net/ipv4/ip_forward
echo ready
exec sleep infinity"""
)


class KubernetesMissingError(RuntimeError):
    """There can be no cluster here: its programs are not built, or we are not root."""


class Cluster:
    """A cluster that can be asked with ``kubeconfig``; ``image`` has a shell, ``context`` is the kubeconfig's own."""

    def __init__(self, kubeconfig: Path, image: str) -> None:
        self.kubeconfig = kubeconfig
        self.image = image

    @property
    def context(self) -> str:
        """The name of the context in use."""
        return self.kubectl("config", "current-context").strip()

    @property
    def command(self) -> list[str]:
        """kubectl, for this cluster."""
        return [str(_kubectl()), f"--kubeconfig={self.kubeconfig}"]

    def kubectl(self, *arguments: str, check: bool = True, input: str | None = None) -> str:
        """What ``kubectl ARGUMENTS`` says."""
        command = [*self.command, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, input=input)
        if check and done.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Make these objects, or change them."""
        self.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    @contextmanager
    def chosen(self) -> Iterator[None]:
        """Contexts are those of this cluster: KUBECONFIG names it."""
        with patch.dict(os.environ, {"KUBECONFIG": str(self.kubeconfig)}):
            yield

    @contextmanager
    def namespace(self, prefix: str) -> Iterator[str]:
        """A namespace of a name of its own, in which pods can be made; its end is not waited for."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        self.kubectl("create", "namespace", name)
        try:
            assert poll(lambda: self.kubectl("get", "serviceaccount", "default", "-n", name, check=False), timeout=30)
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false")

    def container(self, name: str, command: Sequence[str], **more: Any) -> dict[str, Any]:
        """A container of a pod's template that runs a program of the image."""
        return {"name": name, "image": self.image, "imagePullPolicy": "IfNotPresent", "command": list(command), **more}

    def pod(self, *containers: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """A pod's specification."""
        return {"terminationGracePeriodSeconds": 2, "containers": [dict(each) for each in containers], **more}

    def pause(self) -> dict[str, Any]:
        """A container without a shell."""
        return {"name": "bare", "image": "registry.k8s.io/pause:3.9"}


class Kubernetes(Cluster):
    """A cluster of one node, started and stopped by us."""

    def __init__(self) -> None:
        try:
            self._programs = unpacked("kubernetes", "1.20")
        except RuntimeError as error:
            raise KubernetesMissingError(str(error)) from error
        number = next(number for number in range(1, 250) if _claimed(_hierarchies()[0] / f"kube-{number}"))
        self.place = files.Place(Path(tempfile.mkdtemp(prefix="kube-")), number)
        super().__init__(self.place.folder / "admin.kubeconfig", files.BORROWED)
        self._holder: subprocess.Popen[str] | None = None
        self._running: list[Process] = []

    def __enter__(self) -> Self:
        try:
            self._namespaces()
            files.certificates(self.place)
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def container(self, name: str, command: Sequence[str], **more: Any) -> dict[str, Any]:
        """The image is folders only: the machine's own programs are mounted to them."""
        borrowed = [{"name": each, "mountPath": f"/{each}", "readOnly": True} for each in ("usr", "etc")]
        mounts = [*borrowed, *more.pop("volumeMounts", [])]
        return super().container(name, command, imagePullPolicy="Never", volumeMounts=mounts, **more)

    def pod(self, *containers: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """The same with the machine's programs as volumes."""
        borrowed = [{"name": each, "hostPath": {"path": f"/{each}"}} for each in ("usr", "etc")]
        return super().pod(*containers, volumes=[*borrowed, *more.pop("volumes", [])], **more)

    def pause(self) -> dict[str, Any]:
        """The pause program's own image."""
        return {"name": "bare", "image": files.PAUSE, "imagePullPolicy": "Never"}

    def ctr(self, *arguments: str) -> str:
        """What ``ctr ARGUMENTS`` says of this cluster's containerd."""
        command = ["ctr", "-a", str(self.place.socket), "-n", "k8s.io", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    def account(self, name: str, namespace: str = "default") -> Path:
        """A kubeconfig for a service account."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        asked = json.dumps(
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        )
        told = self.kubectl("create", "--raw", path, "-f", "-", input=asked)
        return files.with_token(self.place, f"account-{name}", json.loads(told)["status"]["token"])

    def stop_server(self) -> None:
        """Kill the API server, as a fault."""
        child = next(each for each in self._running if each.name == "kube-apiserver").child
        child.kill()
        child.wait(timeout=10)

    def start_server(self) -> None:
        """Start the API server again."""
        self._running = [each for each in self._running if each.name != "kube-apiserver"]
        self._serve()
        self._wait("API server", self._answers)

    @contextmanager
    def slow_store(self, *, stopped: float = 0.4, running: float = 0.1) -> Iterator[None]:
        """Etcd stands still most of the time, as one whose disk is full of other work: seconds of each turn."""
        store = next(each for each in self._running if each.name == "etcd").child.pid
        over = threading.Event()

        def hinder() -> None:
            while not over.wait(running):
                os.kill(store, signal.SIGSTOP)
                over.wait(stopped)
                os.kill(store, signal.SIGCONT)

        thread = threading.Thread(target=hinder)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    # ------------------------------------------------------------------ the world it lives in

    def _namespaces(self) -> None:
        place = self.place
        self._control_groups()
        copies = place.folder / "sysctl"
        copies.mkdir()
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", _HOLD, "sh", self._system, copies],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            raise RuntimeError("no namespaces could be made")
        inside = str(self._holder.pid)
        _ip("link", "add", place.name, "type", "veth", "peer", "name", "eth0", "netns", inside)
        _ip("address", "add", f"{place.outside}/30", "dev", place.name)
        _ip("link", "set", place.name, "up")
        for line in (
            "link set lo up",
            f"address add {place.node}/30 dev eth0",
            "link set eth0 up",
            f"route add default via {place.outside}",
        ):
            self._inside("ip", *line.split())
        for network in (place.pods, place.services):
            _ip("route", "add", network, "via", place.node)

    @property
    def _system(self) -> Path:
        """The cgroup of the programs themselves, in the hierarchy that counts process ids."""
        return _hierarchies()[0] / self.place.name / "system"

    def _control_groups(self) -> None:
        for hierarchy in _hierarchies():
            (hierarchy / self.place.name).mkdir(exist_ok=True)
        cpuset = _CGROUPS / "cpuset"
        for name in ("cpuset.cpus", "cpuset.mems") if (cpuset / "cpuset.cpus").exists() else ():
            (cpuset / self.place.name / name).write_text((cpuset / name).read_text())
        self._system.mkdir()

    def _inside(self, *command: str | Path) -> None:
        subprocess.run(self._entered(*command), check=True, capture_output=True, timeout=60)

    def _entered(self, *command: str | Path) -> list[str]:
        assert self._holder is not None
        return ["sh", "-c", _ENTER, "sh", str(self._system), str(self._holder.pid), *map(str, command)]

    # ------------------------------------------------------------------ its programs

    def _start(self) -> None:
        place = self.place
        self._run("etcd", "etcd", "--data-dir", place.folder / "etcd")
        self._run("containerd", "containerd", "--config", files.containerd(place))
        self._serve()
        self._wait("containerd", place.socket.exists)
        for image in files.images(place, self._programs / "pause"):
            self._wait(image.name, partial(self._imported, image))
        self._wait("API server", self._answers)
        self._control()
        self._start_node()
        self._wait("node", self._schedules)

    def _control(self) -> None:
        folder = self.place.folder
        # only now: the controllers end where their roles are not yet there
        common = ("--leader-elect=false", "--port=0", "--secure-port=0")
        self._run(
            "kube-controller-manager",
            self._programs / "kube-controller-manager",
            *common,
            f"--kubeconfig={folder}/kube-controller-manager.kubeconfig",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={folder}/service-accounts.key",
            f"--root-ca-file={folder}/authority.pem",
            f"--cluster-signing-cert-file={folder}/authority.pem",
            f"--cluster-signing-key-file={folder}/authority.key",
        )
        self._run(
            "kube-scheduler",
            self._programs / "kube-scheduler",
            "--leader-elect=false",
            "--port=0",
            "--secure-port=0",
            f"--kubeconfig={folder}/kube-scheduler.kubeconfig",
        )

    def _start_node(self) -> None:
        place, folder = self.place, self.place.folder
        endpoint = f"unix://{place.socket}"
        self._run(
            "kubelet",
            self._programs / "kubelet",
            f"--config={files.kubelet(place)}",
            f"--kubeconfig={folder}/node-{place.name}.kubeconfig",
            f"--root-dir={folder}/kubelet",
            f"--cert-dir={folder}/kubelet/certificates",
            f"--hostname-override={place.name}",
            f"--node-ip={place.node}",
            "--container-runtime=remote",
            f"--container-runtime-endpoint={endpoint}",
            f"--image-service-endpoint={endpoint}",
        )
        self._run("kube-proxy", self._programs / "kube-proxy", f"--config={files.proxy(place)}")

    def _serve(self) -> None:
        place, folder = self.place, self.place.folder
        self._run(
            "kube-apiserver",
            self._programs / "kube-apiserver",
            "--etcd-servers=http://127.0.0.1:2379",
            f"--bind-address={place.node}",
            f"--advertise-address={place.node}",
            "--insecure-port=0",
            f"--tls-cert-file={folder}/apiserver.pem",
            f"--tls-private-key-file={folder}/apiserver.key",
            f"--client-ca-file={folder}/authority.pem",
            f"--kubelet-client-certificate={folder}/apiserver-client.pem",
            f"--kubelet-client-key={folder}/apiserver-client.key",
            f"--kubelet-certificate-authority={folder}/authority.pem",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder}/service-accounts.pem",
            f"--service-account-signing-key-file={folder}/service-accounts.key",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--service-cluster-ip-range={place.services}",
            f"--audit-log-path={folder}/audit.log",
            f"--audit-policy-file={files.audit(place)}",
        )

    def _run(self, name: str, *command: str | Path) -> None:
        self._running.append(Process(self.place.folder, name, self._entered(*command)))

    def _wait(self, what: str, ready: Any) -> None:
        ended: list[Process] = []

        def over() -> bool:
            ended[:] = [each for each in self._running if each.child.poll() is not None]
            return bool(ended) or bool(ready())

        if not poll(over, timeout=90, interval=0.1) or ended:
            logs = {each.name: each.log.read_text(errors="replace")[-1500:] for each in ended or self._running}
            raise RuntimeError(f"{what} is not ready: {json.dumps(logs, indent=1)}")

    def _answers(self) -> bool:
        context = ssl.create_default_context(cafile=str(self.place.folder / "authority.pem"))
        context.load_cert_chain(self.place.folder / "admin.pem", self.place.folder / "admin.key")
        direct = urllib.request.ProxyHandler({})
        opener = urllib.request.build_opener(direct, urllib.request.HTTPSHandler(context=context))
        try:
            with opener.open(f"{self.place.server}/readyz", timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _imported(self, image: Path) -> bool:
        with suppress(subprocess.CalledProcessError):
            self.ctr("images", "import", str(image))
            return True
        return False

    def _schedules(self) -> bool:
        """Whether the node takes pods, and pods may be made."""
        told = self.kubectl("get", "nodes", "-o", "json", check=False)
        nodes = json.loads(told)["items"] if told else []
        ready = [
            node
            for node in nodes
            if not node["spec"].get("taints")
            and any(
                each["type"] == "Ready" and each["status"] == "True" for each in node["status"].get("conditions", [])
            )
        ]
        return bool(ready) and bool(self.kubectl("get", "serviceaccount", "default", check=False))

    # ------------------------------------------------------------------ the end

    def _stop(self) -> None:
        for process in reversed(self._running):
            process.child.terminate()
        for process in reversed(self._running):
            process.stop()
        poll(self._kill, timeout=30, interval=0.1)
        if self._holder is not None:
            self._holder.wait(timeout=10)
            assert self._holder.stdout is not None
            self._holder.stdout.close()
        subprocess.run(["ip", "link", "delete", self.place.name], check=False, capture_output=True, timeout=30)
        unified = _CGROUPS / "unified"  # runc makes groups there too
        for hierarchy in (*_hierarchies(), unified):
            poll(partial(_removed, hierarchy / self.place.name), timeout=10)
        shutil.rmtree(self.place.folder, ignore_errors=True)

    def _kill(self) -> bool:
        """Kill who is left in our cgroups: pods, those that watch over them, who holds the namespaces."""
        lists = (_hierarchies()[0] / self.place.name).rglob("cgroup.procs")
        left = [int(pid) for each in lists for pid in each.read_text().split()]
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left


class ControlPlane(Kubernetes):
    """The same without containers: its one node is a `tests.stack.fake_kubelet`, whose pods are ready in a tenth of a second.

    What a pod does is told by its image's name: ``broken``, ``crash``, ``missing``, ``slow``.
    """

    def _start(self) -> None:
        self._run("etcd", "etcd", "--data-dir", self.place.folder / "etcd")
        self._serve()
        self._wait("API server", self._answers)
        self._control()
        config = self.place.folder / f"node-{self.place.name}.kubeconfig"
        place = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        command = [sys.executable, "-m", "tests.stack.fake_kubelet", str(config), self.place.name]
        self._running.append(Process(self.place.folder, "fake_kubelet", command, environment=place))
        self._wait("node", self._schedules)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """One of our own, or that of ``SRETOOLKIT_STACK_KUBECONFIG``; raises `KubernetesMissingError` when there can be none."""
    given = os.environ.get("SRETOOLKIT_STACK_KUBECONFIG")
    if given:
        yield Cluster(Path(given), os.environ.get("SRETOOLKIT_STACK_IMAGE", "python:3"))
        return
    if os.getuid() != 0:
        raise KubernetesMissingError("a cluster of our own needs root")
    with Kubernetes() as own:
        yield own


@contextmanager
def control_plane() -> Iterator[Cluster]:
    """The same without containers, where we start it: most that a rollout asks a cluster needs none."""
    if os.environ.get("SRETOOLKIT_STACK_KUBECONFIG") or os.getuid() != 0:
        with cluster() as given:
            yield given
        return
    with ControlPlane() as own:
        yield own


def _kubectl() -> Path:
    found = shutil.which("kubectl")
    return Path(found) if found else unpacked("kubernetes", "1.20") / "kubectl"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)


def _hierarchies() -> list[Path]:
    """Where cgroups are made; the first one counts process ids."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    pids = _CGROUPS / "pids"
    return [pids, *(each for each in _CGROUPS.iterdir() if each not in (pids, _CGROUPS / "unified") and each.is_dir())]


def _claimed(folder: Path) -> bool:
    """Whether a cluster's first cgroup could be made: only one of two that ask at once can."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def _removed(folder: Path) -> bool:
    """Whether a cgroup is gone, with those below it."""
    if not folder.exists():
        return True
    for below in sorted((each for each in folder.rglob("*") if each.is_dir()), reverse=True):
        with suppress(OSError):
            below.rmdir()
    with suppress(OSError):
        folder.rmdir()
    return not folder.exists()
