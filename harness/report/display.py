"""How a number, an interval, a policy spec and a verdict look to people; the data stay unrounded."""

from __future__ import annotations

import math
import re

_NOISE = 10
DASH = "–"
SIGNIFICANCE = 0.05

_PERCENT_METRICS = frozenset(
    {"accuracy", "f1", "macro_f1", "matthews", "mcc", "pearson", "spearman", "pearson_spearman"}
)
_FLOAT = re.compile(r"(?<![\w.])-?\d+\.\d+(?:e[+-]?\d+)?(?![\w.])", re.IGNORECASE)
_VALUE = r"(?:\[[^\]]*\]|\([^)]*\)|[^,()]+)"
_THRESHOLD = re.compile(rf"(?:,\s*)?\bthreshold={_VALUE}(?=\))|\bthreshold={_VALUE},\s*")


def metric_scale(metric: str) -> tuple[float, int]:
    """Give (factor, decimals) for showing a metric: fractions are shown times 100 with one decimal."""
    return (100.0, 1) if metric in _PERCENT_METRICS else (1.0, 3)


def metric_label(metric: str) -> str:
    """Give the name of a metric with its unit: accuracy (%), or matthews (x 100)."""
    if metric in ("accuracy", "f1", "macro_f1"):
        return f"{metric} (%)"
    return f"{metric} (×100)" if metric_scale(metric)[0] != 1.0 else metric


def is_undefined(value: object) -> bool:
    """Tell whether a value is None, NaN, NA or an empty text."""
    if value is None or isinstance(value, str):
        return not value
    try:
        return bool(math.isnan(float(value)))  # type: ignore[arg-type]
    except TypeError:  # pandas.NA refuses to be a float
        return True


def number(value: object, digits: int = 1, *, scale: float = 1.0, signed: bool = False) -> str:
    """Round for display; undefined is a dash, and no zero carries a minus."""
    if is_undefined(value):
        return DASH
    exact = round(float(value) * scale, _NOISE)  # type: ignore[arg-type]  # a tie is a tie, however it was summed
    rounded = round(exact, digits) + 0.0
    return f"{rounded:+.{digits}f}" if signed and rounded else f"{rounded:.{digits}f}"


def interval(value: object, low: object, high: object, digits: int = 1, *, scale: float = 1.0) -> str:
    """Show a number with its interval: 97.2 [95.1, 98.5]; without the brackets where there is no interval."""
    shown = number(value, digits, scale=scale)
    if shown == DASH or is_undefined(low) or is_undefined(high):
        return shown
    return f"{shown} [{number(low, digits, scale=scale)}, {number(high, digits, scale=scale)}]"


def mean_sd(mean: object, sd: object, digits: int = 1, *, scale: float = 1.0) -> str:
    """Show mean ± standard deviation; only the mean where there is no spread to speak of."""
    shown = number(mean, digits, scale=scale)
    return shown if shown == DASH or is_undefined(sd) else f"{shown} ± {number(sd, digits, scale=scale)}"


def short_spec(spec: str) -> str:
    """Round the decimals inside a policy spec to four significant digits, for display only."""
    return _FLOAT.sub(lambda match: f"{float(match[0]):.4g}", spec) or DASH


def without_threshold(spec: str) -> str:
    """Take the threshold out of a spec: max_prob(threshold=0.9) -> max_prob; the other parameters stay."""
    return _THRESHOLD.sub("", spec).replace("()", "")


def verdict_mark(delta: object, low: object, high: object, p_value: object) -> str:
    """Mark a difference from the final exit: + better, - worse, ~ not to be told apart, – undefined.

    McNemar's exact test decides where it is defined (p < 0.05); else the paired interval of the difference.
    """
    if is_undefined(delta):
        return DASH
    difference = float(delta)  # type: ignore[arg-type]
    if not is_undefined(p_value):
        significant = float(p_value) < SIGNIFICANCE  # type: ignore[arg-type]
    elif is_undefined(low) or is_undefined(high):
        return DASH
    else:
        significant = float(low) > 0 or float(high) < 0  # type: ignore[arg-type]
    if not significant or difference == 0:
        return "~"
    return "+" if difference > 0 else "-"
