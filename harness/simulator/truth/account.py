"""The account as it is told: the truth, timelines, and starting anew."""

from typing import TYPE_CHECKING

from harness.simulator.behaviour.agents import Agents
from harness.simulator.behaviour.faults import FaultPlan
from harness.simulator.guest_api import frames
from harness.simulator.truth.state import SessionEnd

if TYPE_CHECKING:
    from harness.simulator.service import Service


def open_tokens(service: "Service", run_id: str | None = None) -> list[str]:
    """Tokens with a living session, of one run or of all."""
    return [
        token
        for deployment in service.deployments.values()
        for token, session in deployment.sessions.items()
        if run_id is None or session.run_id == run_id
    ]


def whole(service: "Service") -> dict[str, object]:
    """``/sim/truth``."""
    truth = service.truth
    return truth.whole.figures() | {
        "open_tokens": open_tokens(service),
        "connections": len(service.connections),
        "agents": service.agents.figures(),
        "counts": truth.counts,
        "questions": truth.questions.figures(),
        "addresses": truth.addresses,
        "origins": truth.origins,
        "faults": service.faults.struck,
        "runs": {run: tally.figures() for run, tally in truth.runs.items()},
        "delays": {name: delay.figures() for name, delay in truth.delays.items()},
    }


def timeline(service: "Service", token: str) -> list[dict[str, object]]:
    """Every session that is still remembered of a token, oldest first."""
    living = [d.sessions[token] for d in service.deployments.values() if token in d.sessions]
    return [
        {
            "opened": frames.iso_ms(session.opened),
            "ended": session.ended,
            "run_id": session.run_id,
            "read_only": session.read_only,
            "connections": len(session.connections),
            "conversation_id": session.conversation.id if session.conversation else None,
            "events": [
                {"at": frames.iso_ms(at), "what": what, "detail": detail}
                for at, what, detail in session.timeline
            ],
        }
        for session in [*service.past.get(token, []), *living]
    ]


def reset(service: "Service") -> None:
    """Forget all sessions, conversations and counts; connections are closed with 1001."""
    for connection in list(service.connections):
        connection.session = None
        connection.close(1001, "Reset")
    for deployment in service.deployments.values():
        for session in deployment.sessions.values():
            session.ended = SessionEnd.REPLACED  # what is still under way for it comes to nothing
        deployment.sessions.clear()
        deployment.connect_times.clear()
        deployment.signed_in.clear()
    service.conversations.clear()
    service.past.clear()
    service.by_serial.clear()
    service.uploaded_bytes = 0
    service.truth.questions.end()
    service.truth = service.new_truth()
    service.agents = Agents(service)
    service.faults = FaultPlan(seed=service.settings.seed)
    service.bot.silent_until = 0.0
