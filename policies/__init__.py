"""Exit policies: pure, causal rules over the evidence of one exit after the other (numpy only)."""
