"""Ways of training exits, one a file."""
