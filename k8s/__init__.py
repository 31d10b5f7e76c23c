"""Discovery: which gateways exist. Imports nothing but `runtime` and `protocol`."""
