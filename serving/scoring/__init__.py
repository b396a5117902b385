"""Scoring many images offline, into a folder of Parquet files."""
