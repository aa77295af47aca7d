"""A button that copies a text to the visitor's clipboard."""

from nicegui.element import Element

from console.texts import Translate


class CopyButton(Element, component="copy_button.js"):
    """Copies a text.

    Args:
        text: What is copied.
        label: What the button is called, such as `Copy the key`, in the visitor's language.
        translate: The visitor's language.
    """

    def __init__(self, text: str, label: str, translate: Translate) -> None:
        super().__init__()
        self._props["text"] = text
        self._props["label"] = label
        self._props["done"] = translate("Copied")
