"""Segments through torch.compile where this machine can, as they are where it cannot.

Compiling takes seconds, is stable over lengths and batch sizes and moves logits in their last bits. On a CPU it gained
about 5 % in batches of 32 and nothing certain on single samples (``tests/benchmarks/test_live_overhead.py`` prints
both), so it is off unless asked for.
"""

from __future__ import annotations

import os
import shutil
import warnings
from importlib.util import find_spec

import torch

from backbones.base import MultiExitModel, Segment


def segments(model: MultiExitModel, *, compiled: bool) -> Segment:
    """Return ``model.segment``, compiled if asked for and possible; a warning says why it is not.

    Raises:
        BackboneError: the network does not say which layers to compile.
    """
    if not compiled:
        return model.segment
    missing = missing_compiler(next(model.heads.parameters()).device)
    if missing:
        warnings.warn(f"segments run without being compiled: {missing}", stacklevel=3)
        return model.segment
    return model.compiled_segment()


def missing_compiler(device: torch.device) -> str:
    """Return what torch.compile lacks for a device, and how to get it; empty if nothing."""
    if device.type == "cuda":
        return "" if find_spec("triton") else "torch.compile needs triton for CUDA, install it (pip install triton)"
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler):
        return ""
    return f"torch.compile needs a C++ compiler and '{compiler}' is not here, install it or name another one in CXX"
