"""What the gateway may make of hostile requests, by what was done to them; and what that costs."""

from __future__ import annotations

import gc
import resource
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Final

from gateway.inbound import Inbound
from gateway.intake import Intake
from gateway.keys.wanted import Wanted
from gateway.recipes.presets import preset, preset_names
from gateway.recipes.proofs import SharedSecret, SignedProof
from gateway.recipes.verify import Verification, Verified
from gateway.schemas import SchemaStore
from gateway.verdict import Batch, Handshaken, Refused, Verdict
from tests.gateway.recipes.hostile import ORIGIN, Case, genuine, spoil
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.settings.secrets import Secret

KEPT: Final = 10


@dataclass
class Tally:
    """What many requests came to, and what the dearest of them cost.

    Attributes:
        outcomes: how many came to what: of the verifier, and behind an arrow of the whole intake.
        slowest: seconds of CPU time of one request, the preset and what was done to it; the longest first.
        grown: MiB by which one request raised the process' largest size.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: list[tuple[float, str]] = field(default_factory=list)
    grown: list[tuple[float, str]] = field(default_factory=list)

    def note(self, outcome: str, seconds: float, grown: float, what: str) -> None:
        """Count one request."""
        self.outcomes[outcome] += 1
        if len(self.slowest) < KEPT or seconds > self.slowest[-1][0]:
            self.slowest = sorted([*self.slowest, (seconds, what)], reverse=True)[:KEPT]
        if grown:
            self.grown = sorted([*self.grown, (grown, what)], reverse=True)[:KEPT]

    def add(self, other: Tally) -> None:
        """Add what another process has counted."""
        self.outcomes += other.outcomes
        self.slowest = sorted(self.slowest + other.slowest, reverse=True)[:KEPT]
        self.grown = sorted(self.grown + other.grown, reverse=True)[:KEPT]


class Judge:
    """Judges cases with every preset's verifier and intake, and says what is wrong with an outcome."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._secrets: tuple[Secret, ...] = ()
        token, schemas = (Secret("a"),), SchemaStore()
        self._verifications = {
            name: Verification(preset(name), public_url=ORIGIN, tokens=lambda: token)
            for name in preset_names()
        }
        self._intakes = {
            name: Intake(
                name,
                preset(name),
                secrets=lambda: self._secrets,
                schemas=schemas,
                verify_tokens=token,
                public_url=ORIGIN,
                allow_unsigned=not preset(name).verify,
            )
            for name in preset_names()
        }
        for case in genuine():
            self.judge(case)  # what the first one compiles isn't a request's cost either
        self.tally = Tally()

    def judge(self, case: Case) -> None:
        """Judge and count a case.

        Raises:
            AssertionError: a genuine one was refused, or a spoilt one accepted.
        """
        gc.disable()  # what the process has collected meanwhile isn't this request's cost
        size, started = _largest(), time.thread_time()
        outcome = f"{self.verified(case)} → {self.received(case)}"
        seconds, grown = time.thread_time() - started, _largest() - size
        gc.enable()
        self.tally.note(outcome, seconds, grown / 1024, f"{case.preset}: {', '.join(case.how) or 'genuine'}")

    def verified(self, case: Case) -> str:
        """Return what the verifier makes of a case.

        Raises:
            AssertionError: as for `judge`.
        """
        verdict = self._verifications[case.preset].verify(_inbound(case), case.secrets)
        if not case.how and not isinstance(verdict, Verified):
            raise AssertionError(f"genuine, and refused: {case} {verdict}")
        if isinstance(verdict, Verified):
            if "secret" in case.how or (case.body != case.original and _covers(case)):
                raise AssertionError(f"spoilt, and accepted: {case}")
            return "accepted"
        if isinstance(verdict, Wanted):
            return "wanted"
        return verdict.check if isinstance(verdict, Refused) else "unsigned"

    def received(self, case: Case) -> str:
        """Return what the whole intake makes of a case, as far as the bytes for the broker.

        Raises:
            AssertionError: it would have been answered with a 5xx, or with a secret that isn't its own.
        """
        self._secrets = case.secrets
        verdict = self._intakes[case.preset].receive(_inbound(case))
        if isinstance(verdict, Refused):
            assert case.how, f"genuine, and refused: {case} {verdict}"
            assert 400 <= verdict.status < 500, f"{verdict}: {case}"
            return f"refused {verdict.status}"
        if isinstance(verdict, Handshaken):
            return "handshake"
        if isinstance(verdict, Wanted):
            assert case.how, f"genuine, and not judged: {case} {verdict}"
            return "wanted"
        return self._stored(verdict, case)

    @staticmethod
    def _stored(verdict: Verdict, case: Case) -> str:
        assert "secret" not in case.how, f"spoilt, and stored: {case}"
        items = verdict.items if isinstance(verdict, Batch) else (verdict,)
        for item in items[:3]:
            assert not isinstance(item, Refused | Handshaken | Batch | Wanted)
            event = item.envelope
            assert Envelope.from_frame(event.to_frame()) == event, f"not what validation takes: {case}"
        return type(verdict).__name__.lower()


def run(count: int, seed: int) -> Tally:
    """Judge many cases of a seed."""
    chance, judge = Random(seed), Judge()
    for _ in range(count):
        judge.judge(spoil(chance.choice(genuine()), chance))
    return judge.tally


def _inbound(case: Case) -> Inbound:
    return Inbound(case.method, "/webhooks/x", case.query, list(case.headers), case.body, case.at)


def _largest() -> int:
    """Return the most memory that this process has had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _covers(case: Case) -> bool:
    """Say whether all of the body is signed, byte by byte."""
    proof = preset(case.preset).verify[case.way]
    whole = isinstance(proof, SignedProof) and not proof.body_unsigned and "form" not in proof.signed
    return whole and not isinstance(proof, SharedSecret)
