"""What holds for all tests."""

from hypothesis import settings

# A busy machine is no defect: no example has a deadline.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
