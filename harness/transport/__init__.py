"""A websocket over gevent: dialling, framing, arrival stamps. Knows nothing of chat."""
