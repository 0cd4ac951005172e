"""The microkernel: Debian's kernel, busybox and a few shell files; it tells what a machine is and does what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sretoolkit.lazy import lazily

if TYPE_CHECKING:
    from sretoolkit.provision.microkernel.build import Built, build

__all__ = ["Built", "build"]

__getattr__ = lazily(
    __name__,
    {
        "Built": "sretoolkit.provision.microkernel.build",
        "build": "sretoolkit.provision.microkernel.build",
    },
)
