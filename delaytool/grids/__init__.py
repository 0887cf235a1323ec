"""One row to look at."""
