"""Tests of protocol/websocket."""
