"""Settings of the property tests."""

from hypothesis import settings

# A busy machine must not fail a test that only asks whether the answer is right.
settings.register_profile("any_speed", deadline=None)
settings.load_profile("any_speed")
