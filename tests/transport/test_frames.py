"""Frames against the library's server side: any portions, any fragments, any breach."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from harness.transport import frames
from harness.transport.frames import Control, FrameError, FrameReader

PAYLOADS = st.binary(max_size=300) | st.sampled_from([b"x" * 125, b"x" * 126, b"y" * 65536])


def serialize(frame: Frame) -> bytes:
    return frame.serialize(mask=False)


@given(
    st.lists(st.tuples(st.lists(PAYLOADS, min_size=1, max_size=3), st.booleans()), max_size=6),
    st.lists(st.integers(1, 5000), max_size=30),
)
def test_any_portions_of_any_fragments_give_the_same_messages(
    messages: list[tuple[list[bytes], bool]], sizes: list[int]
) -> None:
    wire, expected = b"", []
    for parts, ping in messages:
        for number, part in enumerate(parts):
            opcode = Opcode.CONT if number else Opcode.TEXT
            wire += serialize(Frame(opcode, part, fin=number == len(parts) - 1))
            if ping:  # controls may come between fragments
                wire += serialize(Frame(Opcode.PING, b"now"))
                expected.append(Control(frames.PING, b"now"))
        joined = b"".join(parts)
        expected.insert(len(expected) - 1, joined) if ping else expected.append(joined)
    reader, found, at = FrameReader(1 << 20), [], 0
    for size in [*sizes, len(wire)]:
        found += reader.feed(wire[at : at + size])
        at += size
    assert found == expected


TEXTS = [serialize(Frame(Opcode.TEXT, letter * 200)) for letter in (b"a", b"b", b"c")]


@pytest.mark.parametrize(
    ("last", "found"),
    [
        (b"", []),
        (serialize(Frame(Opcode.TEXT, b"short")), [b"short"]),
        (serialize(Frame(Opcode.PING, b"now")), [Control(frames.PING, b"now")]),
        (serialize(Frame(Opcode.TEXT, b"z" * 70_000)), [b"z" * 70_000]),
        (TEXTS[0][:1], []),
        (TEXTS[0][:3], []),
        (TEXTS[0][:100], []),
    ],
)
def test_one_read_may_bring_several_texts_and_more(last: bytes, found: list[object]) -> None:
    reader = FrameReader(1 << 20)
    assert reader.feed(b"".join(TEXTS) + last) == [b"a" * 200, b"b" * 200, b"c" * 200, *found]
    if not found and last:
        assert reader.feed(TEXTS[0][len(last) :] + TEXTS[1]) == [b"a" * 200, b"b" * 200]
    assert reader.feed(TEXTS[2]) == [b"c" * 200]


def test_a_text_that_is_too_large_is_found_behind_another() -> None:
    with pytest.raises(FrameError) as error:
        FrameReader(150).feed(serialize(Frame(Opcode.TEXT, b"x" * 130)) + TEXTS[0])
    assert error.value.code == frames.TOO_BIG


@given(PAYLOADS, st.sampled_from([frames.TEXT, frames.PONG]))
def test_what_is_written_is_what_a_server_reads(payload: bytes, opcode: int) -> None:
    payload = payload if opcode == frames.TEXT else payload[:125]
    server = ServerProtocol(max_size=None, state=State.OPEN)
    server.receive_data(frames.encode(opcode, payload))
    (event,) = server.events_received()
    assert (event.opcode, bytes(event.data), event.fin) == (opcode, payload, True)
    assert server.parser_exc is None


def test_masks_differ() -> None:
    assert len({frames.encode(frames.TEXT, b"same") for _ in range(2000)}) > 1990


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"\x81\x85mask12345", 1002),
        (b"\xc1\x01x", 1002),
        (b"\x83\x01x", 1002),
        (b"\x80\x01x", 1002),
        (b"\x01\x01x\x81\x01y", 1002),
        (b"\x09\x00", 1002),
        (b"\x89\x7e\x00\x7e" + b"p" * 126, 1002),
        (b"\x88\x01x", 1002),
        (b"\x81\x7f\x00\x00\x00\x01\x00\x00\x00\x00", 1009),
        (b"\x01\x7e\x02\x58" + b"x" * 600 + b"\x80\x7e\x02\x58" + b"x" * 600, 1009),
    ],
)
def test_each_breach_has_its_close_code(wire: bytes, code: int) -> None:
    with pytest.raises(FrameError) as broken:
        FrameReader(1000).feed(wire)
    assert broken.value.code == code


def test_close_frames() -> None:
    (control,) = FrameReader(100).feed(serialize(Frame(Opcode.CLOSE, b"\x03\xe9bye")))
    assert frames.read_close(control.payload) == (1001, "bye")  # type: ignore[union-attr]
    assert frames.read_close(b"") == (1005, "")
    server = ServerProtocol(state=State.OPEN)
    server.receive_data(frames.encode_close(1000))
    assert server.close_rcvd is not None
    assert server.close_rcvd.code == 1000


def test_fragments_without_end_are_cut_off() -> None:
    reader = FrameReader(1 << 20)
    assert reader.feed(serialize(Frame(Opcode.TEXT, b"", fin=False))) == []
    with pytest.raises(FrameError, match="more fragments than allowed") as broken:
        reader.feed(serialize(Frame(Opcode.CONT, b"", fin=False)) * 100_000)
    assert broken.value.code == 1009


def test_a_large_frame_in_many_small_portions_is_put_together_once() -> None:
    wire = serialize(Frame(Opcode.TEXT, b"x" * (1 << 20)))

    def copied(portion: int) -> int:
        """Bytes of which the reader has made new objects."""
        reader, made = FrameReader(1 << 20), 0
        for at in range(0, len(wire), portion):
            before = reader._rest
            reader.feed(wire[at : at + portion])
            made += len(reader._rest) if reader._rest is not before else 0
        assert reader._rest == b""
        return made

    assert copied(1000) < 20_000
