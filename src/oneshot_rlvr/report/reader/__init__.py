"""The rollout reader: what a reader of the page sees of single rollouts and held-out answers.

    tokens   token ids -> the pieces of text that they are
    rows     a recorded rollout or answer -> the row that the page's script shows
    choice   which rows stand in a file of bounded size, chosen evenly
    search   filtered pages of all of them, for `watch`

Everything that is shown is model text: it travels as JSON and is set as text, never as markup.
"""
