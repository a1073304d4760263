"""The guest API as values: names, requests, events, the codec and the session's state machine.

Pure: nothing in here touches a socket, a clock or a disk.
"""
