"""Thin Celery edge over the pipeline."""
