"""``python -m sretoolkit`` is the ``sretoolkit`` command."""

from sretoolkit.cli.main import main

main()
