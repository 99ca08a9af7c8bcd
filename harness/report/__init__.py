"""Tables, plots and one page, made from tidy frames; this package knows nothing of the rest of the harness."""
