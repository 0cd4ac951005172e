"""An image's configuration alone: ``docker inspect``, an OCI configuration, a ``docker save`` archive, an OCI layout."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sretoolkit.errors import ConfigError
from sretoolkit.pid1.lint.format import Format, content
from sretoolkit.pid1.lint.start import Start
from sretoolkit.pid1.workload import Fix

_MOST = 10 * 1024 * 1024  # bytes of a configuration in an archive
_DEPTH = 4  # an index may name indexes
_OWNERS = ("owner", "team", "org.opencontainers.image.authors", "maintainer")
_WORDS: dict[Fix, str] = {
    "init": 'docker run --init, or in its Dockerfile: ENTRYPOINT ["tini", "--", ...]',
    "exec": 'in its Dockerfile the exec form: CMD ["program", "argument"], or end the script with exec: {exec}',
    "stop-signal": "in its Dockerfile: STOPSIGNAL {what}",
    "background": "in the script: {what} & wait $!",
}


class Image(Format):
    """One or more images in a file."""

    def knows(self, path: Path) -> bool:
        """JSON with a configuration in it, an archive with a manifest, or a folder with oci-layout."""
        if path.is_dir():
            return (path / "oci-layout").is_file()
        try:
            if path.suffix.lower() == ".json":
                return bool(_listed(json.loads(content(path))))
            return tarfile.is_tarfile(path)
        except (ConfigError, ValueError, OSError):
            return False

    def starts(self, path: Path, *, target: str = "") -> Sequence[Start]:
        """Each image that is in it; ``target`` chooses by name. Layers are not looked at."""
        try:
            found = (
                _in_folder(path) if path.is_dir() else _in_json(path) if path.suffix == ".json" else _in_archive(path)
            )
            starts = [described(each, name, str(path)) for name, each in found if target in ("", name)]
        except (ValueError, OSError, KeyError, TypeError, AttributeError, tarfile.TarError) as error:
            what = f"{path} is no image configuration or archive: {type(error).__name__}: {str(error)[:200]}"
            raise ConfigError(what, hint="write it with docker inspect IMAGE or docker save IMAGE") from error
        if not starts:
            raise ConfigError(f"{path} holds no image", hint="write it with docker inspect IMAGE or docker save IMAGE")
        return starts


def described(image: Mapping[str, Any], name: str, path: str) -> Start:
    """How a container of that image is started; ``image`` as Docker inspects it, or an OCI configuration."""
    config = image.get("Config") or image.get("config") or {}
    names = image.get("RepoTags") or []
    labels = {str(key): str(value) for key, value in (config.get("Labels") or {}).items()}
    test = (config.get("Healthcheck") or {}).get("Test") or ["NONE"]
    called = name or (str(names[0]) if names else str(image.get("Id") or Path(path).name)[:24])
    return Start(
        subject=called,
        path=path,
        line=1,
        image=called,
        owner=next((labels[key] for key in _OWNERS if labels.get(key)), ""),
        command=(*map(str, config.get("Entrypoint") or ()), *map(str, config.get("Cmd") or ())),
        stop_signal=str(config["StopSignal"]) if config.get("StopSignal") else None,
        executes="" if test[0] == "NONE" else "its health check",
        words=_WORDS,
    )


def _listed(data: Any) -> list[Mapping[str, Any]]:
    return [
        each
        for each in (data if isinstance(data, list) else [data])
        if isinstance(each, dict) and isinstance(each.get("Config") or each.get("config"), dict)
    ]


def _in_json(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    return [("", each) for each in _listed(json.loads(content(path)))]


def _in_folder(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    def read(name: str) -> Any:
        return json.loads(content(path / name))

    return _layout(read)


def _in_archive(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    with tarfile.open(path) as archive:

        def read(name: str) -> Any:
            member = archive.extractfile(name)
            if member is None:
                raise KeyError(name)
            return json.loads(member.read(_MOST))

        if "manifest.json" not in archive.getnames():
            return _layout(read)
        return [(str((each.get("RepoTags") or [""])[0]), read(each["Config"])) for each in read("manifest.json")]


def _layout(read: Callable[[str], Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """An OCI layout: index, manifests, configurations; an attestation has no command and is left out."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    todo = [(each, 0) for each in read("index.json")["manifests"]]
    while todo:
        entry, depth = todo.pop(0)
        algorithm, _, digest = str(entry["digest"]).partition(":")
        if not algorithm.isalnum() or not digest.isalnum() or depth > _DEPTH:
            raise ValueError(f"the digest {str(entry['digest'])[:80]!r} is none")
        name = str((entry.get("annotations") or {}).get("org.opencontainers.image.ref.name") or "")
        manifest = read(f"blobs/{algorithm}/{digest}")
        if "manifests" in manifest:
            named = [{**each, "annotations": entry.get("annotations")} for each in manifest["manifests"]]
            todo += [(each, depth + 1) for each in named if (each.get("platform") or {}).get("os") != "unknown"]
            continue
        kind, _, blob = str(manifest["config"]["digest"]).partition(":")
        if not kind.isalnum() or not blob.isalnum():
            raise ValueError("a digest is none")
        found.append((name, read(f"blobs/{kind}/{blob}")))
    return found
