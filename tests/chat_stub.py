"""A server with OpenAI's chat endpoint, as a process: it answers as the model that is asked for is called.

usage: python chat_stub.py LOG       prints its port, and adds a line to LOG for each request
"""

from __future__ import annotations

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LOG = Path(sys.argv[1])


def answer(model: str, text: str) -> str:
    """Return what a model says about a text."""
    times = re.findall(r"\[(\d\d:\d\d:\d\d)\]", text)
    good: dict[str, Any] = {
        "title": f"A talk of {len(times)} lines",
        "summary": "It says <b>this</b>.",
        "points": [{"time": times[0], "text": "First [a](b)."}, {"time": times[-1], "text": "# Last."}],
        "chapters": [{"time": times[0], "title": "Beginning"}, {"time": times[len(times) // 2], "title": "A --> B"}],
    }
    match model:
        case "chatty":
            return f"Sure! Here it is:\n```json\n{json.dumps(good)}\n```\nAnything else?"
        case "wild":
            wild = [{"time": "99:00:00", "text": "Never."}, {"time": 7, "text": 5}, "no", {"text": "No time."}]
            return json.dumps({"title": 3, "summary": None, "points": wild, "chapters": "none"})
        case "mute":
            return "I cannot do that."
    return json.dumps(good)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        self.reply(200, {"data": [{"id": "usual"}, {"id": "other"}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = asked["messages"][1]["content"]
        with LOG.open("a") as log:
            facts = {"model": asked["model"], "characters": len(text), "key": self.headers.get("Authorization")}
            log.write(json.dumps(facts) + "\n")
        if asked["model"] == "broken":
            self.reply(500, {"error": "out of memory"})
        elif asked["model"] == "elsewhere":
            self.send_response(307)
            self.send_header("Location", "/v1/other")
            self.end_headers()
        else:
            content = answer(asked["model"], text)
            self.reply(200, {"choices": [{"message": {"role": "assistant", "content": content}}]})

    def reply(self, code: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
