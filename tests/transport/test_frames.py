"""Our frames against the library's: the same bytes, in any portions, are the same to both."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from harness.transport import frames
from harness.transport.frames import Control, FastFrames, FrameError, Item, LibraryFrames

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
    reader, found, at = FastFrames(1 << 20), [], 0
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
    reader = FastFrames(1 << 20)
    assert reader.feed(b"".join(TEXTS) + last) == [b"a" * 200, b"b" * 200, b"c" * 200, *found]
    if not found and last:
        assert reader.feed(TEXTS[0][len(last) :] + TEXTS[1]) == [b"a" * 200, b"b" * 200]
    assert reader.feed(TEXTS[2]) == [b"c" * 200]


def test_a_text_that_is_too_large_is_found_behind_another() -> None:
    text, error = FastFrames(150).feed(serialize(Frame(Opcode.TEXT, b"x" * 130)) + TEXTS[0])
    assert text == b"x" * 130
    assert isinstance(error, FrameError)
    assert error.code == frames.TOO_BIG


@given(PAYLOADS, st.sampled_from([frames.TEXT, frames.PONG]))
def test_what_is_written_is_what_a_server_reads(payload: bytes, opcode: int) -> None:
    payload = payload if opcode == frames.TEXT else payload[:125]
    server = ServerProtocol(max_size=None, state=State.OPEN)
    server.receive_data(FastFrames(0).encode(opcode, payload))
    (event,) = server.events_received()
    assert (event.opcode, bytes(event.data), event.fin) == (opcode, payload, True)
    assert server.parser_exc is None


def test_masks_differ() -> None:
    assert len({FastFrames(0).encode(frames.TEXT, b"same") for _ in range(2000)}) > 1990


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
    broken = FastFrames(1000).feed(wire)[-1]
    assert isinstance(broken, FrameError)
    assert broken.code == code


def test_close_frames() -> None:
    (control,) = FastFrames(100).feed(serialize(Frame(Opcode.CLOSE, b"\x03\xe9bye")))
    assert frames.read_close(control.payload) == (1001, "bye")  # type: ignore[union-attr]
    assert frames.read_close(b"") == (1005, "")
    server = ServerProtocol(state=State.OPEN)
    server.receive_data(FastFrames(0).encode(frames.CLOSE, frames.close_payload(1000)))
    assert server.close_rcvd is not None
    assert server.close_rcvd.code == 1000


def test_fragments_without_end_are_cut_off() -> None:
    reader = FastFrames(1 << 20)
    assert reader.feed(serialize(Frame(Opcode.TEXT, b"", fin=False))) == []
    (broken,) = reader.feed(serialize(Frame(Opcode.CONT, b"", fin=False)) * 100_000)
    assert isinstance(broken, FrameError)
    assert (broken.code, broken.why) == (1009, "a message in more fragments than allowed")


def test_a_large_frame_in_many_small_portions_is_put_together_once() -> None:
    wire = serialize(Frame(Opcode.TEXT, b"x" * (1 << 20)))

    def copied(portion: int) -> int:
        """Bytes of which the reader has made new objects."""
        reader, made = FastFrames(1 << 20), 0
        for at in range(0, len(wire), portion):
            before = reader._rest
            reader.feed(wire[at : at + portion])
            made += len(reader._rest) if reader._rest is not before else 0
        assert reader._rest == b""
        return made

    assert copied(1000) < 20_000


LIMIT = 2_000
"""of a message, so that some are too large"""


def raw_frame(
    opcode: int, flags: int, form: int, payload: bytes, *, masked: bool, announced: int | None
) -> bytes:
    """A frame as a server may write it, or must not: any opcode, any of FIN and the RSV bits, the
    length in 1, 2 or 8 bytes, also where that is longer than needed; ``announced`` may be a lie."""
    length = len(payload) if announced is None else announced
    head = bytes((flags << 4 | opcode,))
    if form == 8 or length > 65_535:
        head += bytes((127 | masked << 7,)) + length.to_bytes(8, "big")
    elif form == 2 or length > 125:
        head += bytes((126 | masked << 7,)) + length.to_bytes(2, "big")
    else:
        head += bytes((length | masked << 7,))
    return head + payload


def mostly(usual: object, *others: object) -> st.SearchStrategy[object]:
    return st.sampled_from([*[usual] * 12, *others])


TEXTS_AND_NOT = st.sampled_from(
    [b"", b"a", "né".encode(), b"\xc3", b"\xff\xfe", b"x" * 125, b"y" * 126, b"z" * 700]
)
CLOSES = st.builds(
    lambda code, reason: code.to_bytes(2, "big") + reason,
    st.sampled_from([1000, 1001, 1004, 1005, 1006, 1012, 1014, 1015, 2999, 3000, 4999, 5000, 0]),
    st.sampled_from([b"", b"bye", "né".encode(), b"\xc3", b"r" * 123, b"r" * 124]),
) | st.sampled_from([b"", b"\x03"])
ANY_FRAME = st.one_of(
    st.builds(
        raw_frame,
        opcode=mostly(1, *range(16)),
        flags=mostly(8, *range(16)),
        form=st.sampled_from([1, 1, 2, 8]),
        payload=TEXTS_AND_NOT,
        masked=mostly(False, True),
        announced=mostly(None, 1 << 63, (1 << 64) - 1, LIMIT, LIMIT + 1, 65_535, 65_536),
    ),
    # Fragments, and controls between them.
    st.builds(
        raw_frame,
        opcode=st.sampled_from([0, 0, 0, 1, 9]),
        flags=st.sampled_from([0, 0, 8]),
        form=st.just(1),
        payload=TEXTS_AND_NOT,
        masked=st.just(False),
        announced=st.none(),
    ),
    st.builds(
        raw_frame,
        opcode=st.just(8),
        flags=st.just(8),
        form=st.just(1),
        payload=CLOSES,
        masked=st.just(False),
        announced=st.none(),
    ),
)


def fed(reader: FastFrames | LibraryFrames, wire: bytes, sizes: list[int]) -> list[Item]:
    """What comes of it; of an error only the close code, as the words are each one's own."""
    items: list[Item] = []
    at = 0
    for size in [*sizes, len(wire)]:
        items += reader.feed(wire[at : at + size])
        at += size
    return [FrameError(one.code, "") if isinstance(one, FrameError) else one for one in items]


PORTIONS = st.lists(st.integers(0, 300), max_size=20)


@given(st.lists(ANY_FRAME, max_size=8), PORTIONS, PORTIONS)
def test_any_bytes_in_any_portions_are_the_same_to_the_library(
    wire: list[bytes], ours: list[int], theirs: list[int]
) -> None:
    data = b"".join(wire)
    assert fed(FastFrames(LIMIT), data, ours) == fed(LibraryFrames(LIMIT), data, theirs)


@given(st.binary(max_size=60), PORTIONS)
def test_noise_is_the_same_to_the_library(data: bytes, ours: list[int]) -> None:
    assert fed(FastFrames(LIMIT), data, ours) == fed(LibraryFrames(LIMIT), data, [])


@pytest.mark.parametrize("opcode", range(16))
@pytest.mark.parametrize("flags", range(16))
@pytest.mark.parametrize("amid", [b"", b"\x01\x01f"])
def test_each_opcode_and_each_bit_is_the_same_to_the_library(
    opcode: int, flags: int, amid: bytes
) -> None:
    for form in (1, 2, 8):
        for masked in (False, True):
            frame = raw_frame(opcode, flags, form, b"", masked=masked, announced=None)
            data = TEXTS[0] + amid + frame + TEXTS[1]
            for portion in ([], [1] * len(data)):
                assert fed(FastFrames(LIMIT), data, portion) == fed(LibraryFrames(LIMIT), data, [])


@given(PAYLOADS, st.sampled_from([frames.TEXT, frames.PONG, frames.CLOSE]))
def test_both_write_what_the_other_side_reads(payload: bytes, opcode: int) -> None:
    payload = frames.close_payload(1001) if opcode == frames.CLOSE else payload
    payload = payload if opcode == frames.TEXT else payload[:125]
    read = []
    for writer in (FastFrames(LIMIT), LibraryFrames(LIMIT)):
        server = ServerProtocol(max_size=None, state=State.OPEN)
        server.receive_data(writer.encode(opcode, payload))
        read.append([(event.opcode, bytes(event.data)) for event in server.events_received()])
    assert read[0] == read[1] == [(opcode, payload)]
