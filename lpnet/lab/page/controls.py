"""Controls: a labelled field whose text is checked as it is typed; and the panel that a tab is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from nicegui import ui

import lpnet as lp
from lpnet import tables

from ..fields import LONGEST, Field, from_address, to_address, values

FORMATS = "formats"  # class of the fields for formats, and id of the list that they offer
OFFER = f"""<script>
// NiceGUI gives its fields lists of their own, and completes by Tab; a field for formats takes ours when it is entered.
document.addEventListener("focusin", ({{target}}) => {{
  if (target.matches("input.{FORMATS}")) target.setAttribute("list", "{FORMATS}");
}});
</script>"""


class Panel:
    """A tab: fields, what they say, and how that is shown. A subclass gives `build` and `update`.

    Parameters: query, what the address says; on_change, called when it has something else to say.
    """

    name: ClassVar[str]  # in the address
    title: ClassVar[str]
    fields: ClassVar[Sequence[Field]]

    def __init__(self, query: Mapping[str, str], on_change: Callable[[], None]) -> None:
        self.texts, self.problems = from_address(self.fields, query)
        self.on_change = on_change
        self.entries: dict[str, Any] = {}
        self.built = False

    def show(self) -> None:
        """Build the tab when it is first looked at."""
        if not self.built:
            self.built = True
            self.build()
            self.update()
            self.tell(" ".join(self.problems))

    def build(self) -> None:
        """Put the tab's elements where we are on the page."""
        raise NotImplementedError

    def update(self) -> None:
        """Show what the fields say now."""
        raise NotImplementedError

    def leave(self) -> None:
        """Stop what is being computed: nobody looks any more."""

    def values(self) -> dict[str, Any]:
        """Return what the fields say."""
        return values(self.fields, self.texts)

    def address(self) -> dict[str, str]:
        """Return what the address has to say of this tab."""
        return to_address(self.fields, self.texts)

    def put(self, name: str, text: str) -> None:
        """Give a field another text, as if it had been typed."""
        self.entries[name].set_value(text)

    def typed(self, field: Field, text: str) -> None:
        """Take in what was typed, if it can be read and is new."""
        if problem(field, text) or self.texts[field.name] == text:
            return
        before = self.texts[field.name]
        self.texts[field.name] = text
        try:
            self.update()
            self.tell("")
        except (ValueError, TypeError) as error:  # fields that do not go together: all stays as it was
            self.texts[field.name] = before
            if field.options:
                self.put(field.name, before)
            self.tell(str(error))
        self.on_change()

    def tell(self, message: str) -> None:
        """Show a message, or none."""
        self.message.set_text(message)
        self.message.set_visibility(bool(message))

    def messages(self) -> None:
        """Put the place for messages here."""
        self.message = ui.label().classes("message").props("role=alert")

    def controls(self) -> None:
        """Put the controls of all fields here: two in a line where both are short."""
        for field in self.fields:
            self.entry(field.name)

    def entry(self, name: str) -> Any:
        """Put the control of a field here; returns it."""
        field = next(field for field in self.fields if field.name == name)
        self.entries[name] = entry = _select(self, field) if field.options else _input(self, field)
        return entry


def problem(field: Field, text: str) -> str | None:
    """Return what is wrong with a text, or None."""
    try:
        field.read(text)
        return None
    except ValueError as error:
        return str(error)


def _input(panel: Panel, field: Field) -> ui.input:
    entry = ui.input(
        field.label,
        value=panel.texts[field.name],
        validation=lambda text: problem(field, text),
        on_change=lambda event: panel.typed(field, event.value),
    )
    entry.props(f"outlined dense debounce=250 maxlength={field.longest} spellcheck=false autocomplete=off")
    entry.props["hint"] = field.hint or None
    entry.classes("wide" if field.longest > LONGEST or len(field.label) > 20 else "")
    if field.reader.__name__.endswith(("format", "format_name")):
        entry.props(f"input-class={FORMATS}")
    return entry


def _select(panel: Panel, field: Field) -> ui.select:
    entry = ui.select(
        list(field.options),
        label=field.label,
        value=panel.texts[field.name],
        on_change=lambda event: panel.typed(field, event.value),
    )
    entry.props("outlined dense options-dense behavior=menu")
    entry.props["hint"] = field.hint or None
    return entry


def format_list() -> None:
    """Put the list of formats, which fields offer, on the page."""
    names = [*lp.formats.names(), "bfp8", "bfp4", "bfp8:16", "fixed8.6", "fixed8.4"]
    ui.html("".join(f'<option value="{name}"></option>' for name in names), tag="datalist").props(f"id={FORMATS}")
    ui.add_body_html(OFFER)


class Table(ui.html):
    """A table that is empty until `fill` gives it rows."""

    def __init__(self, caption: str = "") -> None:
        super().__init__()
        self.caption = caption
        self.classes("table")


def fill(element: Table, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Show rows in a table."""
    element.set_content(tables.html(head, rows, element.caption))


class Program:
    """A program in a box that opens, with a button that copies it."""

    def __init__(self, name: str) -> None:
        with ui.expansion(name).classes("program").props("dense"):
            ui.button("Copy", on_click=self.copy).props("outline no-caps size=sm")
            self.text = ui.label().classes("code").props('role=region aria-label="Python program" tabindex=0')

    def show(self, program: str) -> None:
        """Show a program."""
        self.text.set_text(program)

    def copy(self) -> None:
        """Put the program on the clipboard."""
        ui.clipboard.write(self.text.text)
        ui.notify("copied", position="bottom-left")
