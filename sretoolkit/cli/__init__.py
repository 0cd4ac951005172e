"""The ``sretoolkit`` command: a thin front of what the other packages do."""
