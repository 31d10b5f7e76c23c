"""Redis as this platform uses it: one client, scripts in one round trip, a subscription that mends itself."""

from runtime.redis.client import connect, supports_sharded_pubsub
from runtime.redis.errors import RedisError, RedisRejected, RedisUnavailable
from runtime.redis.scripts import Script, ScriptCall, run_many, run_one
from runtime.redis.subscriber import Subscriber, SubscriberOptions

__all__ = [
    "RedisError",
    "RedisRejected",
    "RedisUnavailable",
    "Script",
    "ScriptCall",
    "Subscriber",
    "SubscriberOptions",
    "connect",
    "run_many",
    "run_one",
    "supports_sharded_pubsub",
]
