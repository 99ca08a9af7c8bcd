"""What there is to run: data sets, suites, plan."""
