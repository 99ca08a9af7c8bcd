"""Multi-exit networks: what they are, how their exits are trained, what each exit costs."""
