"""The simulator of the service: guest API, deployment files and Platform API on one port.

One process on aiohttp and uvloop. It shares no code with the harness's own reading of the protocol
(``harness.protocol``, ``harness.guest``, ``harness.transport``): two readings meet on the wire, so
that a mistake in one of them shows. What is simulated, what is a knob and what is left out is in
``FIDELITY.md`` beside this file.
"""
