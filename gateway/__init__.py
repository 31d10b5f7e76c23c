"""The gateway: holds client connections, merges a room's messages into one frame per tick, writes it to everybody."""
