"""What a model may do to the machine that loads it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trust:
    """Nothing, unless an operator allows it.

    Attributes:
        pickle: Its weights may be pickles, which can run any code.
        remote_code: Its folder may bring Python code of its own, which is run.
    """

    pickle: bool = False
    remote_code: bool = False

    def allows(self, needed: "Trust") -> bool:
        """Whether nothing is needed that isn't allowed."""
        return self.pickle >= needed.pickle and self.remote_code >= needed.remote_code


def explained(error: Exception) -> str:
    """What transformers says, and what to set where it refuses to run a model's own code."""
    if "trust_remote_code" not in str(error):
        return str(error)
    return (
        "it brings Python code of its own, which could do anything here: read it, and where you trust it, set "
        "FRAMEMESH_MODEL_TRUST_REMOTE_CODE=true"
    )
