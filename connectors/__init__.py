"""Adapters to what lies outside: sources, models, warehouse, tracking, delivery. No Prefect in here."""
