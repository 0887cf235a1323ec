"""Parquet files: found, read in bounded batches, written whole or not at all."""
