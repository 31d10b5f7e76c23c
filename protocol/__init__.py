"""The wire formats and the message model: pure functions and data, no I/O of any kind."""
