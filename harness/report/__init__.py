"""One tidy frame in; tables, plots and one page out."""
