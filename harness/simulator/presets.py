"""Ready sets of answers to what is unknown. Whatever is said beside one wins over it."""

from harness.simulator.settings import Knobs

PRESETS = ("live",)
LIVE = Knobs(
    purpose_in_analytics="external",
    purpose_in_search="external",
    platform_lag_s=20.0,
    search_lag_s=5.0,
    disconnect_lag_s=2.0,
    conversation_end_lag_s=1.0,
    close_after_clear=1000,
)
"""``live``: as the real service is known or likely to differ from the plainest reading, so that a
rehearsal meets what a first night would. With it come the documented limits and the bot that greets
and answers in several messages. Lags are guesses of ours: the real ones are not published."""
