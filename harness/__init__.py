"""The conductor: caches the logits of every exit, replays policies over them, judges, confirms live, reports."""

__version__ = "0.1.0"
PROTOCOL_VERSION = "1"
"""Changes whenever a published number would change for the same cache; tables never mix versions."""
