"""What an audit has found, for a person and for the record."""

from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console

from harness.clock import utc_iso
from harness.judge.record import operation_block
from harness.ledger.runs import sweep_command
from harness.measure.censored import Tried
from harness.measure.histogram import Histogram
from harness.measure.snapshot import write_addition
from harness.reconcile.audit import Audit, EndLags
from harness.report.figures import ms_text
from harness.units import duration_text

SHOWN = 20


END_LAG = "conversation_end"


SHOWN_TIMES = MappingProxyType({"p50": 50.0, "p95": 95.0, "max": 100.0})


def end_figures(directory: Path, ends: EndLags) -> dict[str, dict[str, Any]]:
    """How long conversations went on after the proof, on disk and as the record shows it."""
    if not ends.samples:
        return {}
    times = write_addition(directory, "audit", END_LAG, ends.samples)
    tried = Tried(bounds=times)
    return {END_LAG: operation_block({"ok": times.count}, tried, tried)}


def audit_block(
    found: Audit, counts: dict[str, int], deadline_s: float, waited_s: float
) -> dict[str, Any]:
    return {
        "when": utc_iso(),
        "looks": found.looks,
        "deadline_s": deadline_s,
        "waited_for_rate_limits_s": round(waited_s, 1),
        "conversations": found.spoke,
        "visible": found.visible,
        "leftovers": [asdict(one) for one in found.leftovers],
        "cleared_yet_open": [asdict(one) for one in found.cleared_yet_open],
        "not_in_ledger": [asdict(one) for one in found.not_in_ledger],
        "unknown": [asdict(one) for one in found.unknown],
        "left_out": found.left_out,
        "damaged": found.damaged,
        "refused": found.refused,
        "cleared": {
            "ledger": found.cleared_in_ledger,
            "analytics": found.cleared,
            "analytics, of everybody": found.cleared_by_all,
        },
        "others": found.others,
        "wrap_up": found.wrap_up,
        "matched_by": dict(found.matched),
        "observed": counts,
        "ends": {
            "measured": len(found.ends.samples),
            "cleared": found.ends.cleared,
            "before_the_proof": found.ends.before_proof,
        },
    }


def show_audit(
    directory: Path, found: Audit, counts: dict[str, int], deadline_s: float, console: Console
) -> None:
    name = directory.name
    for title, findings in (
        ("confirmed leftovers: open at the service, no proof in the ledger", found.leftovers),
        ("cleared by proof, yet open at the service", found.cleared_yet_open),
        ("open, of this run, and not in the ledger", found.not_in_ledger),
        ("of which the service does not tell how they stand: perhaps open", found.unknown),
    ):
        style = "red" if findings else ""
        console.print(f"{len(findings):>6,}  {title}", style=style, highlight=False)
        for one in findings[:SHOWN]:
            agent = ", with an agent" if one.agent else ""
            named = one.conversation_id or "-"
            why = f": {one.why}" if one.why else ""
            text = f"          {named}  {one.token} {one.stage}{agent}{why}"
            console.print(text, highlight=False, soft_wrap=True)
    console.print(f"{found.others:>6,}  open conversations of others", highlight=False)
    if found.wrap_up:
        text = "left by their guest, in an agent's wrap-up: no leftovers"
        console.print(f"{found.wrap_up:>6,}  {text}", highlight=False)
    if counts:
        shown = ", ".join(f"{metric} {count:,}" for metric, count in counts.items())
        console.print(f"        counted now, whoever's they are: {shown}", highlight=False)
    _show_ends(found.ends, console)
    _show_cleared(found, console)
    for what, why in found.refused.items():
        console.print(f"        not told: {what}: {why}", style="yellow", soft_wrap=True)
    for why in found.damaged:
        told = f"it may hide sessions: {why}; try them with {sweep_command(directory)} --derive"
        console.print(f"        {told}", style="yellow", soft_wrap=True)
    if found.left_out:
        console.print(
            f"        the service lists {found.left_out:,} more open conversations and gives no "
            "more than 100,000: they may be of this run",
            style="yellow",
            soft_wrap=True,
        )
    if not found.all_visible:
        console.print(
            f"{name}: within {duration_text(deadline_s)} the service showed {found.visible:,} of "
            f"the {found.spoke:,} conversations that the ledger knows: ask again later, or with a "
            "client that may see all divisions",
            style="yellow",
        )
    if found.clean:
        console.print(f"{name}: the service has nothing of this run open", style="bold green")
    elif not found.found_open:
        told = f"{name}: it can't be told that nothing of this run is open"
        console.print(told, style="bold yellow")
    else:
        told = f"end them with: {sweep_command(directory)} --platform"
        console.print(told, style="bold", soft_wrap=True)


def _show_cleared(found: Audit, console: Console) -> None:
    """The service's own count of what was cleared, beside the ledger's."""
    if found.cleared_by_all is None:
        return
    few = found.cleared_by_all < found.cleared_in_ledger
    console.print(
        f"        cleared by their guests: {found.cleared_in_ledger:,} in the ledger; analytics "
        f"shows {found.cleared:,} of these, and {found.cleared_by_all:,} of everybody in these days"
        + (": fewer than the ledger has proof of, so far" if few else ""),
        style="yellow" if few else "",
        highlight=False,
        soft_wrap=True,
    )


def _show_ends(ends: EndLags, console: Console) -> None:
    if not ends.cleared:
        return
    times = Histogram()
    for _, lag_ns in ends.samples:
        times.record_ns(lag_ns)
    known = f"{len(ends.samples):,} of {ends.cleared:,}"
    shown = [f"{name} {ms_text(times.percentile_ms(at))}" for name, at in SHOWN_TIMES.items()]
    early = f"; {ends.before_proof:,} before it (two clocks)" if ends.before_proof else ""
    console.print(
        f"        conversations were over after the proof of Clear: {', '.join(shown)} "
        f"({known} known{early})",
        highlight=False,
        soft_wrap=True,
    )
