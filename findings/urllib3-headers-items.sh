#!/usr/bin/env bash
# urllib3 2.8.0 (PyPI), Python 3.12 or newer.
#
# A server may send a header several times: RFC 9110, 5.3, lets a recipient join the values with commas, and RFC 8288 has
# an answer with a header Link for each link. urllib3's headers are a mapping. Of every mapping one would expect that
# dict(headers) and dict(headers.items()) are the same, as headers[name] gives all values joined. But items() yields each
# line of the answer by itself: dict(headers.items()), or a comprehension over items(), keeps the last line only, while
# dict(headers) has them all. So the link to the next page is lost without a word where another link comes behind it.
#
# Output seen:
#   headers["Link"]:             </2>; rel="next", </0>; rel="prev"
#   dict(headers)["Link"]:         </2>; rel="next", </0>; rel="prev"
#   dict(headers.items())["Link"]: </0>; rel="prev"
#   len(headers), len(list(headers.items())): differ by 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$(dirname "$0")" # whose Python is 3.12 or newer
python3 -m venv "$folder/venv"
cd "$folder"
venv/bin/python -m pip install --quiet --disable-pip-version-check "urllib3==2.8.0"
cat > ask.py <<'PY'
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import urllib3


class Host(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Link", '</2>; rel="next"')
        self.send_header("Link", '</0>; rel="prev"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_): ...


server = HTTPServer(("127.0.0.1", 0), Host)
threading.Thread(target=server.serve_forever, daemon=True).start()
headers = urllib3.PoolManager().request("GET", f"http://127.0.0.1:{server.server_port}/1").headers
server.shutdown()
both, last = '</2>; rel="next", </0>; rel="prev"', '</0>; rel="prev"'
print('headers["Link"]:            ', headers["Link"])
print('dict(headers)["Link"]:        ', dict(headers)["Link"])
print('dict(headers.items())["Link"]:', dict(headers.items())["Link"])
print("len(headers), len(list(headers.items())): differ by", len(list(headers.items())) - len(headers))
assert headers["Link"] == dict(headers)["Link"] == both
assert dict(headers.items())["Link"] == last
assert len(list(headers.items())) == len(headers) + 1
PY
venv/bin/python ask.py
