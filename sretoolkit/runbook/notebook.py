"""A runbook is a notebook: found by name, read without trusting it, known by the hash of its sources."""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from sretoolkit.config import Config
from sretoolkit.errors import RunbookError, UnknownRunbook
from sretoolkit.journal import digest
from sretoolkit.runbook.parameters import Parameters, read_parameters

METADATA = "sretoolkit"


@dataclass(frozen=True)
class Runbook:
    """One notebook file and its content."""

    name: str
    path: Path
    content: dict[str, Any]

    @classmethod
    def find(cls, name: str, config: Config) -> Runbook:
        """A runbook by its name in the configured folders, or by its path; raises `RunbookError`."""
        if name.endswith(".ipynb"):
            return cls.read(Path(name))
        known = runbook_paths(config)
        if name not in known:
            near = get_close_matches(name, list(known), n=1)
            hint = f"did you mean {near[0]!r}?" if near else "`sretoolkit list` shows what there is"
            raise UnknownRunbook(f"there is no runbook {name!r}", hint=hint)
        return cls.read(known[name])

    @classmethod
    def read(cls, path: Path) -> Runbook:
        """Read a file; raises `RunbookError` when it is no notebook of format 4."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise RunbookError(f"{path} cannot be read: {error.strerror}", hint="check the path") from error
        except (ValueError, RecursionError) as error:
            raise RunbookError(
                f"{path} is no notebook: {error}", hint="open it in JupyterLab and save it again"
            ) from error
        if not isinstance(content, dict) or content.get("nbformat") != 4 or not isinstance(content.get("cells"), list):
            raise RunbookError(f"{path} is no notebook of format 4", hint="open it in JupyterLab and save it again")
        if not isinstance(content.setdefault("metadata", {}), dict):
            raise RunbookError(f"{path} has metadata that are none", hint="open it in JupyterLab and save it again")
        for cell in content["cells"]:
            if not _is_cell(cell):
                raise RunbookError(f"{path} has a cell that is none", hint="open it in JupyterLab and save it again")
        return cls(path.stem, path, content)

    @property
    def cells(self) -> list[dict[str, Any]]:
        """Its cells."""
        cells: list[dict[str, Any]] = self.content["cells"]
        return cells

    @property
    def metadata(self) -> dict[str, Any]:
        """What it says about itself: title, purpose, risk, owner, approval, self_approval, changes."""
        found = self.content.get("metadata", {}).get(METADATA, {})
        return found if isinstance(found, dict) else {}

    @property
    def title(self) -> str:
        """Its title, or its name."""
        return str(self.metadata.get("title") or self.name)

    @property
    def demands(self) -> dict[str, bool]:
        """What a run of it needs: ``approval`` of its plans, and whether the requester may give it."""
        return {name: self.metadata.get(name) is True for name in ("approval", "self_approval")}

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the cells' types, tags and sources: outputs and other metadata do not count."""
        return digest(
            [
                [cell["cell_type"], sorted(tags_of(cell)), source_of(cell)]
                for cell in self.cells
                if "injected-parameters" not in tags_of(cell)
            ]
        )

    @cached_property
    def parameters(self) -> Parameters:
        """Its typed inputs; raises `ParameterError` for a cell that cannot be read."""
        found = [cell for cell in self.cells if "parameters" in tags_of(cell) and cell["cell_type"] == "code"]
        if len(found) > 1:
            raise RunbookError(f"{self.path} has {len(found)} cells tagged `parameters`", hint="keep one")
        return read_parameters(source_of(found[0]) if found else "", runbook=self.name)

    def language(self) -> str:
        """The language of its kernel, lower case; "python" when it does not say."""
        spec = self.content.get("metadata", {}).get("kernelspec", {})
        return str((spec.get("language") if isinstance(spec, dict) else "") or "python").lower()


def runbook_paths(config: Config) -> dict[str, Path]:
    """The runbooks in the configured folders by name; the first folder that has a name wins."""
    found: dict[str, Path] = {}
    for folder in config["runbooks.folders"]:
        for path in sorted(Path(folder).expanduser().glob("*.ipynb")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def _is_cell(cell: Any) -> bool:
    if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown", "raw"):
        return False
    source = cell.get("source")
    texts = source if isinstance(source, list) else [source]
    return all(isinstance(text, str) for text in texts) and isinstance(cell.get("metadata", {}), dict)


def source_of(cell: dict[str, Any]) -> str:
    """A cell's source as one text."""
    source = cell["source"]
    return "".join(source) if isinstance(source, list) else str(source)


def tags_of(cell: dict[str, Any]) -> list[str]:
    """A cell's tags."""
    tags = cell.get("metadata", {}).get("tags", [])
    return [str(tag) for tag in tags] if isinstance(tags, list) else []
