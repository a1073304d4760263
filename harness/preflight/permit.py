"""The gate before a run: the guard's rules on the state of now, or a refusal in one sentence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from harness.config.guard import Intent, Rule, refusals, standing, stop_by
from harness.config.targets_file import Terms
from harness.errors import PreflightRefused
from harness.preflight.stamp import read_stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """What a run may do. ``overridden`` goes into the record: rule, what it said, and why not."""

    stop_at: datetime | None = None
    max_sessions: int | None = None
    overridden: tuple[dict[str, str], ...] = field(default=())


def permit(terms: Terms, intent: Intent, *, reports: Path, overrides: Mapping[Rule, str]) -> Permit:
    """Permission to begin now. Raises PreflightRefused with every rule that is not met."""
    if not terms.guarded:
        return Permit()
    now = datetime.now(UTC)
    found = refusals(terms, intent, now=now, preflight=read_stamp(reports, terms))
    stands = standing(found, overrides)
    if stands:
        why = "; ".join(f"{refusal.rule}: {refusal.why}" for refusal in stands)
        raise PreflightRefused(f"the run is refused: {why}")
    window = Rule.WINDOW in {refusal.rule for refusal in found}
    return Permit(
        stop_at=None if window else stop_by(terms, intent, now),
        max_sessions=None if Rule.CAP in overrides else terms.max_sessions,
        overridden=tuple(
            {"rule": refusal.rule, "said": refusal.why, "reason": overrides[refusal.rule]}
            for refusal in found
        ),
    )
