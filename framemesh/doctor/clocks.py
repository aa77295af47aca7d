"""Whether clocks agree: frames are named by time, and S3 refuses what was signed at another. Pure."""

from datetime import datetime

from framemesh.doctor.findings import Finding, advice, fine, wrong
from framemesh.words import span

_ADVICE_SECONDS = 2.0
_WRONG_SECONDS = 60.0
_MEND = "set both clocks by NTP: chrony or systemd-timesyncd (`timedatectl` says whether it does)"


def skew(check: str, whose: str, *, sent: datetime, there: datetime, came: datetime) -> Finding:
    """Compare a server's clock with ours.

    Args:
        check: What is looked at.
        whose: The server, in words.
        sent: When it was asked, by our clock.
        there: What it said, by its own; cut to whole seconds it may be.
        came: When its answer came, by our clock.
    """
    late = max((sent - there).total_seconds() - 1.0, (there - came).total_seconds(), 0.0)
    if late < _ADVICE_SECONDS:
        return fine(check, f"the clock of {whose} agrees with ours")
    which = "behind" if there < sent else "ahead of"
    words = f"the clock of {whose} is {span(late)} {which} ours"
    return (wrong if late >= _WRONG_SECONDS else advice)(check, words, _MEND)
