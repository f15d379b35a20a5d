"""Prefect flows: they compose tasks and say what a failure means."""
