"""Parts of the check of accessibility: each tries one way of reading on an open page.

``keyboard`` walks with Tab and steps films, ``words`` compares a film's text with its snapshots,
``layout`` reads at 200 % and 400 %, ``colours`` looks through other eyes, ``contrast`` reads with
forced colours and on paper. Every part returns sentences about what is wrong; none means nothing.
"""
