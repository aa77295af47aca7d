"""What comes in English from far away, in the visitor's language: errors of forms, and figures in words. Pure.

It is made for the command line and for gRPC too, as a message with its values in it. Here each message's pattern stands
as a text like any other.
"""

import re

from console.texts import Translate, marked

_TEXTS = (
    # Specs of models.
    marked("runtime can't be {value}: use onnx or torch"),
    marked("precision can't be {value}: use fp32 or int8 or fp16 or bf16"),
    marked("precision can't be {value}: it needs runtime={runtime}, not {other}"),
    marked("policy can't be {value}: use every, latest or fps=N"),
    marked("replicas can't be {value}: use {least} to {most}"),
    marked("max_fps can't be {value}: use {least} to {most}"),
    marked("shadow can't be {value}: use true or false"),
    marked("start can't be {value}: use a time of the years 1 to 9999"),
    marked(
        "start can't be {value}: {text} is no time: write how long ago (90s, 15m, 2h, 7d), or 2026-01-31T07:30 (UTC)"
    ),
    marked("candidate_labels can't be {value}: name at most {most}"),
    marked("label can't be {value}: write 1 to {most} characters"),
    marked("{field} can't be {value}: use at most {most} printable characters"),
    marked("{option} in model {model} has no value; write {syntax}"),
    marked("unknown model option {option}; write {syntax}"),
    marked("{name} can't name a camera: use 1 to {most} of a-z, 0-9 and '-', with no '-' at either end"),
    # Times, and labels of frames.
    marked("{text} is no time: write how long ago (90s, 15m, 2h, 7d), or 2026-01-31T07:30 (UTC)"),
    marked("{label} can't be a label: use 1 to {most} printable characters"),
    # What can't be compared.
    marked("{model} is compared with itself: name another model, or versions as {name}@VERSION"),
    marked("the lake has no answers of model {model}; it has those of: {models}"),
    marked("{a} gives answers of {one} and {b} of {other}: only models of one task can be compared"),
    marked(
        "no frame of that time and those cameras has an answer of both: {a} answered {of_a} frames and {b} {of_b}; "
        "ask for another time, or have {few} answer stored frames: framemesh replay --model {model}"
    ),
    # When two models agree, and how nearly they do.
    marked("the same best class"),
    marked("the same objects: each has one of its class that overlaps it by half, and none is left over"),
    marked("the same class on at least {share} of the pixels"),
    marked("depths whose correlation is at least {least}"),
    marked("vectors whose cosine is at least {least}"),
    marked("the same words in the same order"),
    marked("at least {share} of the points in the same places"),
    marked("how often one's best class is among those that the other names"),
    marked("mean difference of the scores, where the class is the same"),
    marked("share of A's objects that B sees too"),
    marked("share of B's objects that A sees too"),
    marked("mean IoU of the objects that both see"),
    marked("share of pixels with the same class"),
    marked("overlap of each class's pixels, averaged over a frame's classes, then over frames"),
    marked("Pearson's, over a frame's pixels: neither scale nor offset counts"),
    marked("of the angle between the two vectors"),
    marked("F1 of the words, whatever their order"),
    marked("share of points with one of the same name within a hundredth of the way to the farthest"),
    # What to know of the figures of a comparison.
    marked(
        "All frames are of one camera-minute, and frames so near are nearly one frame: intervals of shares are the "
        "widest, and means have none."
    ),
    marked("The frames are of {count} camera-minutes only, so the intervals are wide; compare more time."),
    marked("{compared} of the {pairs} frames that both answered were compared, evenly drawn."),
    marked(
        "No class is named by both. Classes are matched by name, whatever their case and underscores: the models may "
        "have other names for the same things."
    ),
    marked("Vectors of two models that are not one lie in different spaces, where their cosine says nothing."),
    marked("{side}'s answers are of {count} versions; one of them is compared as {version}"),
    marked(
        "{side} alone answered {count} frames, which are left out; framemesh replay --model {other} has the other "
        "answer them."
    ),
    marked("{side} failed on {count} frames, which are left out."),
    marked("{side}'s answers were all replayed, so their age says nothing."),
    # Spans of time, whose other units are signs.
    marked("{count} days"),
    # Photos.
    marked("the image is empty: send the bytes of a JPEG, PNG or WebP file"),
    marked(
        "no image that framemesh reads, or one that stops in its header: send the bytes of a JPEG, PNG or WebP file"
    ),
    marked("the JPEG stops short: its end marker is missing; was the transfer cut?"),
    marked("the image claims more pixels than any camera has; the limit is {limit}"),
    marked("the image has {width} x {height} pixels; the limit is {limit} in all: scale it down"),
    marked("the image has {size} bytes; the limit is {limit}: scale it down or compress it more"),
    # What any of them may run into.
    marked("the lake's tables took more than {seconds} s: ask for fewer cameras or less time"),
    marked(
        "token {token} has role {role}, and {method} takes role {needed}: "
        "ask whoever runs the gateway for another token"
    ),
)


def _pattern(text: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", text)  # what stands between the places, and every second one a place's name
    return re.compile(
        "".join(f"(?P<{part}>.+?)" if at % 2 else re.escape(part) for at, part in enumerate(parts)), re.DOTALL
    )


_PATTERNS = [(text, _pattern(text)) for text in _TEXTS]


def in_language(message: str | Exception, translate: Translate) -> str:
    """A message, or an error's, in the visitor's language where it is one of those above; else as it came."""
    words = str(message)
    for text, pattern in _PATTERNS:
        if found := pattern.fullmatch(words):
            return translate(text, **found.groupdict())
    return translate(words)
