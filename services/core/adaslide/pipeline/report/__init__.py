"""One self-contained HTML page that shows what became of a slide."""

from adaslide.pipeline.report.evidence import Baseline
from adaslide.pipeline.report.page import render_report

__all__ = ["Baseline", "render_report"]
