"""Every figure of the report, under one name."""

from __future__ import annotations

from harness.report.plot_exits import exit_metric
from harness.report.plot_histograms import exit_histograms
from harness.report.plot_overview import overview
from harness.report.plot_time import time_against_layers
from harness.report.plot_trade_off import trade_off
from harness.report.style import HIGHLIGHT, save

__all__ = ["HIGHLIGHT", "exit_histograms", "exit_metric", "overview", "save", "time_against_layers", "trade_off"]
