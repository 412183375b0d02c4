"""Every error of the product, in one tree.

    TidemillError
    ├── SettingsError            a setting is unknown, malformed or can't be resolved
    ├── DefinitionError          a handler module or a task definition can't be served
    ├── PayloadError             data doesn't fit the model or can't be serialised
    ├── NotFoundError            a task, run, source or event that doesn't exist
    ├── ConflictError            the request contradicts the state of things
    │   └── ExpiredError             it comes too late
    ├── NotAllowedError          who asks for it may not have it
    ├── ContextError             a context was used where it can't be
    ├── ControlError             the control API can't be reached or doesn't answer as it should
    ├── HistoryError             the history's database can't be reached, or can't answer
    ├── ProviderError            an identity provider can't be reached or doesn't prove who somebody is
    ├── StepError                what a step raised before its run was resumed, and can't be made again
    ├── RunError                 a run has ended without a result
    │   ├── RunFailedError           it failed, crashed, timed out or expired
    │   └── RunCancelledError        somebody cancelled it
    └── BrokerError              the broker refused or can't be reached
        ├── BrokerUnavailableError   no connection, no leader, no answer in time
        ├── StreamFullError          a stream's byte or message limit refuses new messages
        ├── WrongSequenceError       a compare-and-set append met another tail
        └── EmbeddedBrokerError      the embedded broker doesn't start or stay up

Each carries a sentence that says what happened and a hint that says what to do next.
"""

from __future__ import annotations


class TidemillError(Exception):
    """Base of all errors that the product raises on purpose; never raised itself."""

    def __init__(self, sentence: str, *, hint: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.sentence}\n  hint: {self.hint}" if self.hint else self.sentence


class SettingsError(TidemillError):
    """A setting is unknown, malformed, or names a secret that can't be resolved."""


class DefinitionError(TidemillError):
    """A handler module doesn't import, or a task in it is defined in a way that can't be served."""


class PayloadError(TidemillError):
    """Data doesn't fit the model it was declared with, or a value can't be serialised."""


class NotFoundError(TidemillError):
    """What was asked for doesn't exist."""


class ConflictError(TidemillError):
    """What was asked for contradicts the state of things."""


class ExpiredError(ConflictError):
    """What was asked for was possible until a moment that has passed."""


class NotAllowedError(TidemillError):
    """Somebody asked for something that only others may have, or do."""


class ContextError(TidemillError):
    """A context was used outside of its run, inside of a step, or in a way that can't be remembered."""


class ControlError(TidemillError):
    """The control API can't be reached or doesn't answer as it should: the outcome may be unknown."""


class HistoryError(TidemillError):
    """The history's database can't be reached, or can't answer; runs go on without it."""


class ProviderError(TidemillError):
    """An identity provider can't be reached, or what it says doesn't prove who somebody is."""


class StepError(TidemillError):
    """A step failed before its run was resumed, with an exception that can't be made again here."""


class RunError(TidemillError):
    """A run has ended without a result; `state` is how, `error_type` the handler's exception if it raised."""

    def __init__(
        self, sentence: str, *, hint: str = "", run_id: str = "", state: str = "", error_type: str = ""
    ) -> None:
        super().__init__(sentence, hint=hint)
        self.run_id = run_id
        self.state = state
        self.error_type = error_type


class RunFailedError(RunError):
    """A run failed, crashed, timed out or expired."""


class RunCancelledError(RunError):
    """A run was cancelled."""


class BrokerError(TidemillError):
    """The broker refused a request; `code` is JetStream's error code, 0 where there is none."""

    def __init__(self, sentence: str, *, hint: str = "", code: int = 0) -> None:
        super().__init__(sentence, hint=hint)
        self.code = code


class BrokerUnavailableError(BrokerError):
    """The broker can't be reached, has no leader or didn't answer in time: the outcome is unknown."""


class StreamFullError(BrokerError):
    """A stream is at its limit and refuses new messages, so that nothing old is lost."""


class WrongSequenceError(BrokerError):
    """A compare-and-set append was refused: the subject's tail is another one."""


class EmbeddedBrokerError(BrokerError):
    """The embedded broker doesn't start or stay up."""
