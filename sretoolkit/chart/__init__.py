"""An annotated time series, drawn as one picture that every record can show.

The picture is an SVG inside ``<img src="data:...">``: inline ``<svg>``, ``<style>`` and widgets do not survive an
untrusted notebook or an offline export. It brings its own background, so it reads the same in a light and in a dark
theme.
"""

from sretoolkit.chart.chart import Annotation, Chart, Threshold
from sretoolkit.chart.track import Line

__all__ = ["Annotation", "Chart", "Line", "Threshold"]
