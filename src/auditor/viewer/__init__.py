"""`auditor view`: an audit as web pages on loopback, to read episodes and to label them.

    safe.py    who may come in: Host, Origin, token, cookie, headers
    shelf.py   the audit: a connection that follows its changes, labels, the transcripts read last
    rows.py    the list of episodes: filters of the URL as SQL
    marked.py  a channel's text cut into parts: evidence, folds, and the way back from a selection to offsets
    episode.py, labelling.py   what the page of an episode is told, and what it sends back
    app.py     routes and the server

Everything that comes from a transcript is data: made visible and escaped by the templates, without exception (`finalize`).
"""
