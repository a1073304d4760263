"""Does ``harness drift`` find what is planted in real runs, and nothing in a flat one?

Accelerated soaks against simulators of their own, side by side: one flat, one that leaves 0.5 % of
its sessions without proof of an end, one whose answers become 5 % slower over the run. Run it by
hand::

    python tests/benchmarks/drifting_runs.py

The leak is found within minutes. Answers that differ by 30 % from each other take about 50,000 (the
default) before 5 % more can be told from chance, with one error rate for all the figures together.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from processes import harness, start_harness, start_simulator

from harness.units import seconds

STORY = """
from locust import task
from harness.load import ArrivalShape, GuestUser, over, poisson, rate, slots_for, steady

class LongDay(ArrivalShape):
    arrivals = poisson(steady(per_second=rate("10/s"), over=over("5m")))
    slots = slots_for(rate("10/s"), "8s")

class Customer(GuestUser):
    think_time = "uniform(200ms, 400ms)"

    @task
    def talk(self):
        with self.guest() as guest:
            for number in range(3):
                guest.say("This is my question.")
                guest.await_reply(within="20s")
                guest.think()
"""
LEAK, DRIFT = 0.005, 0.05
SHORTEST_S = 60.0


def begin(name: str, out: Path, over_s: float, rate: str, profile: str) -> dict:
    """Start a simulator and a run against it."""
    folder = out / name
    folder.mkdir(parents=True)
    (folder / "story.py").write_text(STORY)
    (folder / "twin.toml").write_text(profile)
    simulator, ready = start_simulator("--limits", "off", "--profile", str(folder / "twin.toml"))
    run = start_harness(
        "run", str(folder / "story.py"), "--rate", rate,
        "--over", f"{over_s:g}s", "--reports", str(folder),
        "--target", f"{ready['url']}?deploymentId={ready['deployment_id']}",
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return {"name": name, "folder": folder, "simulator": simulator, "run": run}


def judge(case: dict) -> dict:
    """What ``harness drift`` says of a finished run."""
    done = harness("drift", str(case["folder"] / "latest"), "--json")
    if not done.stdout:
        return {"verdict": "none", "sentence": done.stderr.strip(), "findings": [], "leak": None}
    return json.loads(done.stdout)


def main() -> int:
    """Run them; 0 when what was planted was found, and nothing else of the service."""
    parser = argparse.ArgumentParser(description="Planted leaks and drifts in real runs.")
    parser.add_argument("--over", default="15m", metavar="TIME")
    parser.add_argument("--rate", default="20/s", metavar="RATE")
    parser.add_argument("--out", type=Path, help="reports folder (a temporary one)")
    options = parser.parse_args()
    over_s = seconds(options.over, "--over")
    if over_s < SHORTEST_S:
        parser.error(f"--over: a trend takes {SHORTEST_S:g}s or more, got {options.over}")
    out = options.out or Path(tempfile.mkdtemp(prefix="drifting-runs-"))
    bot = '[bot]\ntime = "lognormal:150ms,0.3"\n'
    profiles = {
        "flat": bot,
        "leak": f"{bot}[faults]\nignore_clear = {LEAK}\n",
        "slower": f"{bot}slower_per_hour = {DRIFT * 3600 / over_s:.4f}\n",
    }
    cases = [begin(name, out, over_s, options.rate, text) for name, text in profiles.items()]
    good = True
    for case in cases:
        case["run"].wait()
        case["simulator"].end()
        found = judge(case)
        service = [
            one["name"]
            for one in found["findings"]
            if one["verdict"] == "drifting" and one["side"] == "service"
        ]
        replies = [one for one in found["findings"] if one["name"] == "reply p50"]
        leaks = found["leak"] is not None and found["leak"]["verdict"] == "drifting"
        asked = {
            "flat": not service and not leaks,
            "leak": leaks,
            "slower": any("reply" in name for name in service) and not leaks,
        }[case["name"]]
        good = good and asked
        print(f"{case['name']:<8} {'as planted' if asked else 'MISSED':<11} {found['sentence']}")
        for one in replies:
            if one["change"] is not None:
                print(
                    f"{'':<20} reply p50 {one['change']:+.1%} over the run "
                    f"({one['low']:+.1%} to {one['high']:+.1%})"
                )
        if found["leak"] is not None:
            leak = found["leak"]
            print(
                f"{'':<20} left over {leak['share']:.2%} ({leak['low']:.2%} to {leak['high']:.2%})"
            )
    print(f"in {out}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
