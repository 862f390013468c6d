"""A server on a free port of this machine that speaks TLS and passes everything on to a port that does not:
`tls.py PORT`. Prints its own port. Nobody has signed its certificate, which is in `127.0.0.1.pem` beside it, but
itself."""

import pathlib
import select
import socket
import socketserver
import ssl
import sys

# With its key, which guards nothing; until 2126.
OWN = pathlib.Path(__file__).with_name("127.0.0.1.pem")


def pass_on(encrypted, plain):
    """Passes on what comes from either side, until one ends: on one thread, as TLS wants it."""
    while True:
        ready = [encrypted] if encrypted.pending() else select.select([encrypted, plain], [], [])[0]
        for source in ready:
            some = source.recv(65536)
            if not some:
                return
            (plain if source is encrypted else encrypted).sendall(some)


class PassOn(socketserver.BaseRequestHandler):
    """A connection."""

    def handle(self):
        try:
            self.request.do_handshake()
            with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as plain:
                pass_on(self.request, plain)
        except OSError:
            pass


class Server(socketserver.ThreadingTCPServer):
    """As many connections at a time as are wanted."""

    daemon_threads = True


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(OWN)
with Server(("127.0.0.1", 0), PassOn) as server:
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print(server.server_address[1], flush=True)
    server.serve_forever()
