"""The tree of our errors. Each carries a code, a sentence for the person who reads it, and whether to try again.

AmparoError
├── BadInput            what was given cannot be used as it is                       422
│   ├── LimitExceeded   it breaks a stated limit                                     413
│   └── BadProof        a proof of the log does not hold                             422
├── NotFound            nothing here by that name, or nothing that you may see       404
│   └── NotAllowed      the act is not open to this person (looks like NotFound)     404
├── Disposed            the bytes were destroyed by an approved disposal              410
├── Conflict            somebody else changed it first; look again and repeat        409
├── StorageFull         no room for the bytes                                        507
├── Damaged             stored bytes fail authentication or do not match their hash  500
├── Missing             bytes that a row names are not in the vault                  500
├── KeyUnavailable      a key is absent, unreadable or too widely readable           500
├── MediaError          a file cannot be decoded; the file itself is kept            422
├── SandboxUnavailable  untrusted bytes cannot be opened safely on this machine      503
├── ModelUnavailable    weights are absent, wrong or cannot be run                   503
├── ToolFailed          a program that we start ended badly                          500
└── UnrecordedChange    a custody-relevant row would change without its event        500
"""


class AmparoError(Exception):
    """A failure that a person can act on.

    `sentence` says what happened, that nothing was lost (only where it is true) and what to do next.
    """

    code = "error"
    status = 500
    retry = False

    def __init__(self, sentence: str, *, code: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        if code:
            self.code = code


class BadInput(AmparoError):
    code, status = "bad-input", 422


class LimitExceeded(BadInput):
    code, status = "limit-exceeded", 413


class BadProof(BadInput):
    code = "bad-proof"


class NotFound(AmparoError):
    code, status = "not-found", 404


class NotAllowed(NotFound):
    """Shown to people exactly as NotFound, so that absent and forbidden look alike."""


class Disposed(AmparoError):
    code, status = "disposed", 410


class Conflict(AmparoError):
    code, status, retry = "conflict", 409, True


class StorageFull(AmparoError):
    code, status, retry = "storage-full", 507, True


class Damaged(AmparoError):
    code = "damaged"


class Missing(AmparoError):
    code = "missing"


class KeyUnavailable(AmparoError):
    code = "key-unavailable"


class MediaError(AmparoError):
    code, status = "cannot-decode", 422


class SandboxUnavailable(AmparoError):
    code, status, retry = "sandbox-unavailable", 503, True


class ModelUnavailable(AmparoError):
    code, status, retry = "model-unavailable", 503, True


class ToolFailed(AmparoError):
    code, retry = "tool-failed", True


class UnrecordedChange(AmparoError):
    code = "unrecorded-change"
