"""Findings from a note: `Reader(terminology).read(note, language)`.

`tokens` cuts the note into words, `english` says whether it is English at all, `matching` finds the
terms, `times` reads "for 3 weeks", `context` tells present from absent, past, uncertain and somebody
else's. `reader` is the story.
"""
