"""The guest's side: the websocket and its REST calls."""
