"""What the service takes of a guest, and the pace that its own clients keep.

Where a figure comes from: limits page = the vendor's "Web Messaging" limits as of October 2026;
SDK = the vendor's mobile transport SDK 2.14. The simulator has a reading of its own.
"""

MAX_TEXT_BYTES = 4096
"""UTF-8 bytes of a text; a longer one is answered with 4011 (limits page)."""
MAX_ATTRIBUTE_BYTES = 2048
"""UTF-8 bytes of the keys and values of all custom attributes together; more is answered with 4013
(limits page)."""
MAX_FILE_BYTES = 10_485_760
"""Bytes of a file that a guest sends (limits page)."""
REQUESTS_PER_CONNECTION_PER_MINUTE = 60
"""Requests of all kinds (limits page)."""
MESSAGES_PER_SESSION_PER_SECOND = 5
"""Texts, events and answers (limits page)."""
CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE = 1000
"""New connections of all guests together (limits page)."""

HEALTH_CHECK_EVERY_S = 45.0
"""A guest asks for an echo when it has sent nothing for so long; the service takes two a minute."""
TYPING_EVERY_S = 5.0
"""Official clients tell that somebody is typing at most once in so long (SDK)."""

WOULD_BREAK, MAY_BREAK = "would break a limit: ", "may break a limit: "
"""What stands before a sentence about a guest's story that does not keep one."""
