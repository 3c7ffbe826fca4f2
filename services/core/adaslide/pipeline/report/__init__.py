"""One self-contained HTML page that shows what became of a slide."""

from adaslide.pipeline.report.evidence import Baseline
from adaslide.pipeline.report.page import human_bytes, render_report

__all__ = ["Baseline", "human_bytes", "render_report"]
