"""What is done to each stream, as data."""
