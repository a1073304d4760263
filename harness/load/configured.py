"""What Locust's own environment variables and configuration files say, beside its command line.

``harness run`` starts Locust by itself: what a forgotten ``locust.conf`` or ``LOCUST_MODE_MASTER``
says would be obeyed silently. So it is found out before, and told or refused.
"""

from dataclasses import asdict, dataclass
from typing import Any

from locust.argument_parser import get_parser

DECIDED = (
    "master",
    "worker",
    "processes",
    "master_host",
    "master_port",
    "master_bind_host",
    "master_bind_port",
    "expect_workers",
    "expect_workers_max_wait",
    "headless",
    "autostart",
    "autoquit",
    "locustfile",
    "num_users",
    "spawn_rate",
    "run_time",
    "stop_timeout",
    "class_picker",
    "list_commands",
    "show_task_ratio",
    "show_task_ratio_json",
)
"""Locust's names of what ``harness run`` decides itself, or that would leave nothing to run."""
OFF = ("", "0", "false", "no")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One option of Locust that is set beside its command line. Its value may be secret."""

    name: str
    place: str
    """the environment, or the file"""
    decided: bool
    """``harness run`` decides it"""


def settings() -> list[dict[str, Any]]:
    """All that is set, as plain data."""
    parser = get_parser()
    parser.parse_known_args([])
    found = []
    for source, values in parser.get_source_to_settings_dict().items():
        kind, _, file = source.partition("|")
        if kind not in ("environment_variables", "config_file"):
            continue
        for name, (action, value) in values.items():
            ours = name.startswith("HARNESS_") or action is None
            if ours or str(value).lower() in OFF:
                continue
            place = file or "the environment"
            setting = Setting(name=name, place=place, decided=action.dest in DECIDED)
            found.append(asdict(setting))
    return found
