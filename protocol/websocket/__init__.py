"""RFC 6455 without I/O, for both roles: bytes in, events out, and bytes ready to send.

handshake.py  the HTTP/1.1 upgrade, server and client side
frames.py     one frame: encoding, header parsing, masking
receiver.py   a stream of frames into whole messages and control events
session.py    the close handshake as a transition table
"""
