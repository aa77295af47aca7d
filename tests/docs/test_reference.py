from docs.reference import PAGE, page


def test_the_reference_is_what_the_classes_say() -> None:
    assert PAGE.read_text() == page(), "run `python docs/reference.py` and commit"
