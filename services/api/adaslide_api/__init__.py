"""Thin HTTP edge over the pipeline."""
