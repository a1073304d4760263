"""What in a text is somebody's: found with its kind, and ordinary words left alone."""

import pytest

from harness.workload.har.redaction import KINDS, Personal


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("My order is 4711-22, thanks", "My order is <order_number>, thanks"),
        ("order #123", "order <order_number>"),
        ("AB-12345 please", "<order_number> please"),
        ("I live at 12 Main Street, 10115 Berlin", "I live at <address>, <address>"),
        ("Hauptstraße 5, 10115 Berlin", "<address>, <address>"),
        ("12 rue de la Paix", "<address>"),
        ("SW1A 1AA", "<address>"),
        ("mail me at joe.doe+x@mail.example.co.uk.", "mail me at <email>."),
        ("call +49 170 1234567 or 030-123-4567", "call <phone> or <phone>"),
        ("0151 23456789", "<phone>"),
        ("born 01.02.1990", "born <date>"),
        ("iban DE89 3704 0044 0532 0130 00", "iban <account>"),
        ("card 4111 1111 1111 1111", "card <card>"),
        ("see https://x.example/a?b=c ok", "see <url> ok"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJ.sig", "<secret>"),
        ("id 7d9f1c2e-0a1b-4c3d-8e5f-001122334455", "id <id>"),
        ("I am Peter Schmidt", "I am <name>"),
        ("my name is anna smith", "my name is <name>"),
        ("Ich heiße Jörg Müller.", "Ich heiße <name>."),
        ("Dear Mr. Smith", "Dear Mr. <name>"),
        ("I am looking for shoes", "I am looking for shoes"),
        ("I have 2 items and 15 minutes", "I have 2 items and 15 minutes"),
        ("I'll pay 49.99 EUR", "I'll pay 49.99 EUR"),
        ("What is my balance?", "What is my balance?"),
    ],
)
def test_kinds(text: str, masked: str) -> None:
    assert Personal().masked(text) == masked


def test_masked_stays_masked() -> None:
    text = " ".join(f"<{kind}>" for kind in KINDS)
    assert Personal().masked(text) == text
    assert [span.kind for span in Personal().find(text)] == list(KINDS)


def test_known_values_are_found_in_full_wherever_they_stand() -> None:
    personal = Personal(["Anna-Lena 4711-2222", "en"])
    assert personal.masked("hello anna-lena 4711-2222, en") == "hello <order_number>, en"
    assert personal.knows("for ANNA-LENA 4711-2222")


def test_who_was_named_is_known_from_then_on() -> None:
    personal = Personal()
    personal.learn_from("I am Ada Lovelace")
    assert personal.masked("Hello ADA, dear Lovelace!") == "Hello ADA, dear <secret>!"
    personal.learn_from("my name is Jane Doe")
    assert personal.masked("jane doe? Jane!") == "<secret>? <secret>!"
