import structlog
from structlog.testing import capture_logs

from ingest.spells import Spell


def test_a_spell_is_told_of_when_it_begins_and_when_it_is_over() -> None:
    with capture_logs() as lines:
        spell = Spell(structlog.get_logger(), began="camera.dark", over="camera.sees_again")
        spell.end()
        for number in range(3):
            spell.hit(number=number)
        spell.end()
        spell.end()
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("camera.dark", "warning"),
        ("camera.sees_again", "info"),
    ]
    assert lines[0]["number"] == 0
    assert lines[1]["count"] == 3


def test_a_second_spell_is_told_of_again() -> None:
    with capture_logs() as lines:
        spell = Spell(structlog.get_logger(), began="camera.dark", over="camera.sees_again")
        for _ in range(2):
            spell.hit()
            spell.end()
    assert [line.get("count") for line in lines] == [None, 1, None, 1]
