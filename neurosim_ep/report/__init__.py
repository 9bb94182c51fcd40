"""One HTML file that says what a run or a sweep did, drawn from its directory alone, and a run watched in a terminal.

``write_report`` of ``page`` is the way in. Python makes tables, sentences and SVG; ``page.html`` is the skeleton,
``page.css`` the look on screen and paper, ``page.js`` sorts, saves and shows what is pointed at.
"""
