"""What the numbers mean: intervals and paired tests."""
