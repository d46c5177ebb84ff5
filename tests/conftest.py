"""What all tests have in common."""

from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is, and nothing about Headway: speed is measured in benchmarks/.
settings.register_profile("headway", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("headway")
