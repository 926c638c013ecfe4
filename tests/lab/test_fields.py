"""Every field of every tab in a browser: a good text changes the program, a bad one nothing but a message."""

import pytest

import lpnet as lp
from lpnet.lab import fields
from lpnet.lab.page.controls import problem

from .tabs import (
    ALL,
    MESSAGE,
    MODULES,
    PRINT,
    PROGRAM,
    TABS,
    address,
    ended,
    fill_in,
    ran,
    settings_of,
)

LAST = {"rounding": "step 30 of 30", "ball": "step 100 of 100", "training": "step 8 of 8"}


@pytest.mark.parametrize("tab", LAST)
def test_every_field_is_in_the_program_that_ends_with_the_pages_bits(page, tab):
    """All fields filled in say the address, and the program; what is copied, run by itself, has the page's weights."""
    page.go(f"?tab={tab}")
    fill_in(page, tab, ALL[tab])
    assert address(page) == (tab, ALL[tab]) and page.text(PROGRAM) == MODULES[tab].python(settings_of(tab, ALL[tab]))
    if tab == "training":
        page.press("Play")
    shown = ended(page, LAST[tab])
    program = page.copy()
    assert program == page.text(PROGRAM) and ran(program) == shown
    page.driver.refresh()  # the address is all that it takes
    page.alive()
    page.shows(PROGRAM, program)


@pytest.mark.parametrize("tab", ["number", "rounding", "training"])
def test_fields_for_formats_offer_formats(page, tab):
    """What their list offers are names that the field takes, those of the library among them."""
    page.go(f"?tab={tab}")
    for field in MODULES[tab].FIELDS:
        if field.reader in (fields.format_name, fields.maybe_format):
            page.field(field.label).click()
            offered = page.js("return [...document.activeElement.list.options].map(option => option.value)")
            assert set(lp.formats.names()) <= set(offered) and not any(problem(field, name) for name in offered)


POOL = (  # texts for every field that does not take them
    "",
    "x",
    "-1e400",
    "<img src=x onerror=alert(1)>",
    "__import__('os').system('id')",
    "../../etc/passwd",
    "9" * 300,
    "1;2",
    "²",
    "e4m3" * 40,
)
WAVES = 5
PUT = """const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;
for (const [label, text] of Object.entries(arguments[0])) {
  const field = document.querySelector(`input[aria-label="${label}"]`);
  set.call(field, text); field.dispatchEvent(new Event('input', {bubbles: true})); }"""
SAID = "return [...document.querySelectorAll('.q-field--error .q-field__messages')].map(e => e.textContent)"


@pytest.mark.parametrize("tab", TABS)
def test_bad_texts_change_nothing_but_a_message(page, tab):
    """In all fields at once, five times over, each is told by its field's name; program, address and bits stay."""
    page.go(f"?tab={tab}&steps=20&copies=20&start=0")
    if tab in LAST:
        page.wait(lambda: tab == "training" or page.text(PRINT), "the end")
    before = page.text(PROGRAM), address(page), page.text(PRINT)
    typed = [f for f in MODULES[tab].FIELDS if not f.options and f.name != "at"]
    bad = {field.label: [text for text in POOL if problem(field, text)][:WAVES] for field in typed}
    assert all(len(texts) == WAVES for texts in bad.values())
    for wave in range(WAVES):
        page.js(PUT, {label: texts[wave] for label, texts in bad.items()})
        told = [problem(field, bad[field.label][wave]) for field in typed]
        page.wait(lambda told=told: page.js(SAID) == told, f"the messages {told}")
        assert (page.text(PROGRAM), address(page), page.text(PRINT)) == before
    page.js(PUT, {field.label: field.default for field in typed})
    page.wait(lambda: page.js(SAID) == [], "the end of the messages")


def test_what_cannot_be_is_a_sentence_and_changes_nothing(page):
    """A text that is none stays out of the program; fields that do not go together go back to what they were."""
    page.go("?tab=training")
    before = page.text(PROGRAM)
    page.type("Learning rate", "fast")
    page.find(".q-field__messages", "Learning rate: a number, please, not 'fast'")
    page.choose("Network", "small_cnn")
    page.wait(lambda: page.text(MESSAGE).startswith("Network: small_cnn takes images"), "the message")
    page.wait(lambda: page.field("Network").get_attribute("value") == "mlp", "the network that was")
    assert page.text(PROGRAM) == before and address(page) == ("training", {})
    page.go("?tab=training&lr=-1&weight=e99m99")
    page.wait(lambda: page.text(MESSAGE).startswith("Weight: ") and "Learning rate: " in page.text(MESSAGE), "both")
    assert page.text(PROGRAM) == before
