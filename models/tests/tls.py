"""A server on a free port of this machine that speaks TLS and passes everything on to a port that does not:
`tls.py PORT`. Prints its own port. Nobody has signed its certificate, which is in `127.0.0.1.pem` beside it, but
itself."""

import pathlib
import socket
import socketserver
import ssl
import sys
import threading

# With its key, which guards nothing; until 2126.
OWN = pathlib.Path(__file__).with_name("127.0.0.1.pem")


def pump(source, sink):
    """Passes on what comes, to its end."""
    try:
        while some := source.recv(65536):
            sink.sendall(some)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class PassOn(socketserver.BaseRequestHandler):
    """A connection."""

    def handle(self):
        try:
            self.request.do_handshake()
        except OSError:
            return
        with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as plain:
            asked = threading.Thread(target=pump, args=(self.request, plain), daemon=True)
            asked.start()
            pump(plain, self.request)


class Server(socketserver.ThreadingTCPServer):
    """As many connections at a time as are wanted."""

    daemon_threads = True


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(OWN)
with Server(("127.0.0.1", 0), PassOn) as server:
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print(server.server_address[1], flush=True)
    server.serve_forever()
