"""The HTTP push API: what business services call."""
