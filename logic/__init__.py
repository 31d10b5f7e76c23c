"""The logic tier: decides what is published to whom. Holds no client connection."""
