from pathlib import Path

import pytest

from framemesh.errors import ConfigurationError
from framemesh.rpc.tokens import Role, find, load_tokens

SECRET = "3f9a" * 16


def entry(name: str, role: str = "read", token: str = SECRET) -> str:
    return f'[{name}]\nrole = "{role}"\ntoken = "{token}"\n'


def load(tmp_path: Path, text: str) -> list[tuple[str, Role]]:
    path = tmp_path / "tokens.toml"
    path.write_text(text)
    return [(token.name, token.role) for token in load_tokens(path)]


def test_a_file_names_tokens_and_their_roles(tmp_path: Path) -> None:
    text = entry("board") + entry("gate-app", "analyse", "a" * 32) + entry("ops", "admin", "Zz09-._~+/" * 4 + "==")
    assert load(tmp_path, text) == [("board", Role.READ), ("gate-app", Role.ANALYSE), ("ops", Role.ADMIN)]
    assert load(tmp_path, "# nobody\n") == []


def test_a_token_is_found_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "tokens.toml").write_text(entry("one", token="a" * 32) + entry("two", token="b" * 32))
    tokens = load_tokens(tmp_path / "tokens.toml")
    found = find(tokens, "b" * 32)
    assert found is not None
    assert found.name == "two"
    for wrong in ("", "b" * 31, "b" * 33, "B" * 32, "b" * 32 + "\n", "ä" * 32):
        assert find(tokens, wrong) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[one\n", "line 1"),
        (entry("one") + entry("one"), "not TOML"),
        (entry("One"), "entry 1 "),
        (entry("one") + entry("two", "analyse", "b" * 32) + f'[{SECRET}x]\nrole = "read"\n', "entry 3 "),
        (entry("one", "root"), r"\[one\] has no role .* read, analyse, label, admin"),
        (entry("one", SECRET), r"\[one\] has no role"),
        ('[one]\nrole = "read"\n', r"\[one\] has no usable token"),
        (entry("one", token=SECRET[:31]), r"\[one\] has no usable token.*32"),
        (entry("one", token=SECRET + " "), r"\[one\] has no usable token"),
        (entry("one") + "expires = 2030-01-01\n", r"\[one\] can't be read"),
        (f'one = "{SECRET}"\n', r"\[one\] can't be read"),
        (entry("one") + entry("two"), r"\[one\] and \[two\] have the same token"),
        (f'[one]\nrole = "read"\ntoken = "{SECRET}', "not TOML"),
    ],
)
def test_what_is_wrong_is_said_of_its_entry_and_shows_no_token(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as refusal:
        load(tmp_path, text)
    assert "tokens.toml" in str(refusal.value)
    assert SECRET[:31] not in str(refusal.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml"):
        load_tokens(tmp_path / "nowhere.toml")


def test_a_token_does_not_show_itself(tmp_path: Path) -> None:
    (tmp_path / "tokens.toml").write_text(entry("one"))
    assert SECRET not in repr(load_tokens(tmp_path / "tokens.toml"))
