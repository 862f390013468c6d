"""A server on a free port of this machine whose certificate nobody has signed but itself; prints the port."""

import http.server
import pathlib
import ssl
import tempfile

# For 127.0.0.1, until 2126. The key guards nothing.
OWN = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg86SOSz97vfzFAU2F
u9xL6iYw0sZJgbJxI1ViyDOyLOGhRANCAAR1FklaBfmlTfOGG8aGoeh/eU6ZPqDr
cTYOEmrb1ZQ5p/NuWH44qdM4okZKkWKYtWzKKybn2SXs//bGNDJCg2YM
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBkDCCATagAwIBAgIUaBaVg7VMnPKn0IGb/GYI1raDVCYwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJMTI3LjAuMC4xMCAXDTI2MTEyNzE4MzkzOFoYDzIxMjYxMTAz
MTgzOTM4WjAUMRIwEAYDVQQDDAkxMjcuMC4wLjEwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAR1FklaBfmlTfOGG8aGoeh/eU6ZPqDrcTYOEmrb1ZQ5p/NuWH44qdM4
okZKkWKYtWzKKybn2SXs//bGNDJCg2YMo2QwYjAdBgNVHQ4EFgQUUO0MogTiXZ4e
zdnwLQJBNUwYX6owHwYDVR0jBBgwFoAUUO0MogTiXZ4ezdnwLQJBNUwYX6owDwYD
VR0TAQH/BAUwAwEB/zAPBgNVHREECDAGhwR/AAABMAoGCCqGSM49BAMCA0gAMEUC
IGpKnXqwl8xO5UPjTYoZTZgVLoR8QHDjtgQGZywGdND8AiEAiGYQd1a1G5LW+7vu
wSd3LAE9QZNm8BurYh0N3Bruu2o=
-----END CERTIFICATE-----
"""

server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder, "own.pem")
    file.write_text(OWN)
    context.load_cert_chain(file)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
while True:
    try:
        server.handle_request()
    except OSError:
        pass
