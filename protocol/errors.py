"""The root of every error the platform raises, and the question each one answers: whose fault was it?"""


class PushError(Exception):
    """Root of all errors raised by this platform's own code."""


class LocalProtocolError(PushError):
    """We broke a rule of the protocol: a bug on this side, never the peer's doing."""


class RemoteProtocolError(PushError):
    """The peer broke a rule of the protocol; the message names the rule and, where there is one, the limit."""
