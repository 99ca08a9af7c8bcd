"""The real model, stopped by the same policy objects."""
