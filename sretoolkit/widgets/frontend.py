"""Whether somebody looks on: a widget is for them alone, a record shows the picture."""

from __future__ import annotations

import os
import sys


def attended() -> bool:
    """Whether the running cell was sent by a front end that shows widgets to a person.

    JupyterLab and its like can ask for input; whatever runs notebooks on its own (papermill, nbconvert, a scheduler)
    says with each cell that it cannot. Voilà says so too, and is known by the name that it gives its kernels.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return False
    return bool(getattr(kernel, "_allow_stdin", False)) or os.environ.get("SERVER_SOFTWARE", "").startswith("voila")
