"""The platform from outside: everything on a laptop with one command, and a publisher to look at."""
