"""The platform on one machine: which processes, with which environment, and how to run them."""
