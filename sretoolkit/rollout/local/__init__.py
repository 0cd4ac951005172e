"""A service of processes on this machine, its proxy and its load: what the demo, Binder and tests roll out, without root.

``keeper`` is one process that starts and watches the instances and passes requests on to them; ``shop`` is the service itself,
``load`` its customers. ``open_shop`` starts all three and ends them; ``keep_open`` does so for a notebook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sretoolkit.lazy import lazily

if TYPE_CHECKING:
    from sretoolkit.rollout.local.opening import Shop, keep_open, open_shop

__all__ = ["Shop", "keep_open", "open_shop"]

__getattr__ = lazily(__name__, dict.fromkeys(__all__, "sretoolkit.rollout.local.opening"))
