"""One module a pipeline stage: a thin Prefect task over core and connector."""
