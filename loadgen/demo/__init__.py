"""A publisher that makes a room look alive."""
