"""Every field of the lab's tabs, typed and chosen in a browser: `python -m pytest tests/lab/every_field.py`.

Not among the tests: it takes half a minute, and where the machine is busy a field typed at once after another may be
lost to the page, as it may be to a hasty user.
"""
