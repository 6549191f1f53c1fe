"""`watch`: the report's page of runs that still go on, served on this machine alone.

    places   a run, or a folder of runs -> the runs that may be shown
    watched  what is shown of them, read again when their files have changed
    app      the addresses: pages, data, and events that tell of changes
    serve    a server on 127.0.0.1

Reads only. No address names a path: runs are looked up among those that were found, and nothing
outside the folder is among them.
"""
