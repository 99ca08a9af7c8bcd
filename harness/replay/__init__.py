"""From an ExitTable to outcomes, exact curves and operating points."""
