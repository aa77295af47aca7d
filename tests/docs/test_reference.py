from docs.reference import CAMERAS_PAGE, PAGE, cameras_page, page


def test_the_reference_is_what_the_classes_say() -> None:
    assert PAGE.read_text() == page(), "run `python docs/reference.py` and commit"


def test_the_tables_of_cameras_are_what_their_classes_say() -> None:
    assert CAMERAS_PAGE.read_text() == cameras_page(), "run `python docs/reference.py` and commit"
