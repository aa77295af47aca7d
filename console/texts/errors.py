"""Errors that forms and searches run into, in the visitor's language. Pure.

They are made far from here, by what checks for the command line and for gRPC too, and come as an English message with
its values in it: here each message's pattern stands as a text like any other.
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
    # Times, labels of frames, and comparisons.
    marked("{text} is no time: write how long ago (90s, 15m, 2h, 7d), or 2026-01-31T07:30 (UTC)"),
    marked("{label} can't be a label: use 1 to {most} printable characters"),
    marked("{model} is compared with itself: name another model, or versions as {name}@VERSION"),
    marked("the lake has no answers of model {model}; it has those of: {models}"),
    marked("{a} gives answers of {one} and {b} of {other}: only models of one task can be compared"),
    marked(
        "no frame of that time and those cameras has an answer of both: {a} answered {of_a} frames and {b} {of_b}; "
        "ask for another time, or have {few} answer stored frames: framemesh replay --model {model}"
    ),
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


def error_words(error: Exception, translate: Translate) -> str:
    """What an error says, in the visitor's language where it is one of those that people run into; else as it came."""
    message = str(error)
    for text, pattern in _PATTERNS:
        if found := pattern.fullmatch(message):
            return translate(text, **found.groupdict())
    return translate(message)
