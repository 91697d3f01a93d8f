"""Sends one hook's JSON to the address of the setting `webhook`: a process of its own, run by
`dropscribe.supervisor.hooks`.

Guarantees: this process alone opens the connection, so the daemon never does; one POST, no
redirect followed; exit code 0 only for an answer of 2xx; the address, which may hold a secret, is
in no argument and in no message.
"""

from __future__ import annotations

import http.client
import os
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from dropscribe import __version__

if TYPE_CHECKING:
    from http.client import HTTPMessage
    from typing import IO

ADDRESS = "DROPSCRIBE_WEBHOOK"
"""Variable with the address: the setting's own."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        """Follow none: a POST would become a GET, perhaps at another server."""


def main() -> int:
    """Send standard input."""
    headers = {"Content-Type": "application/json", "User-Agent": f"dropscribe/{__version__}"}
    body = sys.stdin.buffer.read()
    try:
        request = urllib.request.Request(os.environ[ADDRESS], body, headers, method="POST")  # noqa: S310
        with urllib.request.build_opener(_NoRedirect).open(request) as answer:
            code = answer.status
    except urllib.error.HTTPError as error:
        code = error.code
        error.close()
    except OSError as error:
        sys.stderr.write(f"no connection: {getattr(error, 'reason', error)}\n")
        return 1
    except (http.client.HTTPException, ValueError) as error:  # whose text may hold the address
        sys.stderr.write(f"no answer as a web server gives it ({type(error).__name__})\n")
        return 1
    if 200 <= code < 300:
        return 0
    sys.stderr.write(f"the server answered {code}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
