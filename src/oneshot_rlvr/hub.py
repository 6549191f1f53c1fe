"""Whether the model hub can be reached: asked once, before its own library waits for it.

huggingface_hub 1.24 tries each of several requests six times with pauses, a minute in all, on a
machine that has no network; then it looks into its cache. Not here: reading anything from it.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from functools import cache
from urllib.parse import urlsplit
from urllib.request import getproxies

TRIES, PAUSE_SECONDS, TIMEOUT_SECONDS = 2, 1.0, 5.0

log = logging.getLogger(__name__)


def look() -> None:
    """Tells huggingface_hub to use its cache alone where its server does not answer, tried twice.

    Does nothing where that is set already, or where a proxy stands between. For this process.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or _reachable(constants.ENDPOINT):
        return
    log.warning(
        "%s does not answer; only what is in the cache or on this machine is used.",
        constants.ENDPOINT,
    )
    constants.HF_HUB_OFFLINE = True
    os.environ["HF_HUB_OFFLINE"] = "1"  # of processes that are started from here on
    if (datasets := sys.modules.get("datasets")) is not None:
        datasets.config.HF_HUB_OFFLINE = True


@cache
def _reachable(endpoint: str) -> bool:
    place = urlsplit(endpoint)
    if place.hostname is None or getproxies().keys() & {"https", "http", "all"}:
        return True
    port = place.port or (80 if place.scheme == "http" else 443)
    for number in range(TRIES):
        if number:
            time.sleep(PAUSE_SECONDS)
        try:
            socket.create_connection((place.hostname, port), TIMEOUT_SECONDS).close()
        except OSError:
            continue
        return True
    return False
