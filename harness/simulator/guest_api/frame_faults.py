"""Faults of outgoing frames: lost, doubled, held back, mangled. Only called while one is on."""

from typing import TYPE_CHECKING

import orjson

from harness.simulator.guest_api import frames

if TYPE_CHECKING:
    from harness.simulator.guest_api.connection import Connection

OVERSIZED_BYTES = 1_048_576


def send_with_faults(connection: "Connection", frame: bytes) -> bool:
    """Send ``frame`` on the connection, or what the fault plan makes of it.

    False if it does not come, or not as it is.
    """
    service = connection.service
    strikes = service.faults.strikes
    if strikes("drop_frame"):
        return False
    if strikes("unknown_class"):
        connection.write(frames.message("HologramEvent", {"since": "tomorrow"}))
    if strikes("oversized_frame"):
        connection.write(frames.message("Unknown", {"padding": "x" * OVERSIZED_BYTES}))
    if strikes("unasked_clear"):
        connection.write(frames.message("SessionClearedEvent", {}))
    if foreign := strikes("foreign_error"):
        connection.write(frames.error(foreign.code, "Request failed.", service.ids.uuid()))
    if strikes("no_class"):
        connection.write(frames.gateway_error(connection.id, service.ids.uuid()))
        return False
    if strikes("invalid_json"):
        connection.write(frame[: len(frame) // 2])
        return False
    if strikes("wrong_types"):
        connection.write(_wrong_types(frame))
        return False
    delayed = strikes("delay_frame")
    if delayed:
        service.later(delayed.seconds, connection.write, frame)
        service.truth.delay("frame", delayed.seconds)
        return True
    held, connection.held = connection.held, None
    swapped = strikes("reorder_frame") if held is None else None
    if swapped:
        connection.held = frame
        service.later(swapped.seconds, _release, connection, frame)
        return True
    connection.write(frame)
    if strikes("duplicate_frame"):
        connection.write(frame)
    if held is not None:
        connection.write(held)
    return True


def _release(connection: "Connection", frame: bytes) -> None:
    """Nothing followed the frame that was held back: send it after all."""
    if connection.held is frame:
        connection.held = None
        connection.write(frame)


def _wrong_types(frame: bytes) -> bytes:
    value = orjson.loads(frame)
    value["code"] = str(value["code"])
    value["body"] = [value["body"]]
    value["tracingId"] = 42
    return orjson.dumps(value)
