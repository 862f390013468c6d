"""A stand-in for the control plane of Amazon MSK on loopback, for `scripts/terraform.sh aws`.

usage: emulated_msk.py PORT [BROKERS]

moto, which stands in for all else, leaves a cluster in creation for ever, and knows neither configurations
nor bootstrap brokers. Here a cluster is there at once, and says that its brokers are BROKERS.
"""

import json
import re
import sys
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

NOW = "2026-01-01T00:00:00Z"
ARN = r"(arn:[^/]+/[^/]+/[^/]+)"


class Refused(Exception):
    """An answer that is an error of Amazon's, by its name."""

    def __init__(self, status, name, message):
        super().__init__(message)
        self.status, self.name, self.message = status, name, message


def arn(kind, name):
    return f"arn:aws:kafka:eu-central-1:123456789012:{kind}/{name}/{uuid.uuid4()}-1"


class Msk:
    """What there is: configurations, clusters, and the tags of both, by ARN."""

    def __init__(self, brokers):
        self.brokers = brokers
        self.configurations, self.clusters, self.tags = {}, {}, {}
        self.routes = [
            (r"/v1/configurations", {"POST": self.create_configuration}),
            (
                rf"/v1/configurations/{ARN}",
                {
                    "GET": self.configuration,
                    "PUT": self.revise_configuration,
                    "DELETE": self.delete_configuration,
                },
            ),
            (rf"/v1/configurations/{ARN}/revisions/(\d+)", {"GET": self.revision}),
            (r"/(?:v1|api/v2)/clusters", {"POST": self.create_cluster}),
            (rf"/v1/clusters/{ARN}", {"GET": self.cluster, "DELETE": self.delete_cluster}),
            (rf"/api/v2/clusters/{ARN}", {"GET": self.cluster_v2}),
            (rf"/v1/clusters/{ARN}/bootstrap-brokers", {"GET": self.bootstrap_brokers}),
            (
                rf"/v1/clusters/{ARN}/scram-secrets",
                {"GET": self.secrets, "POST": self.add_secrets, "PATCH": self.drop_secrets},
            ),
            (r"/v1/tags/(.+)", {"GET": self.tags_of, "POST": self.add_tags, "DELETE": self.drop_tags}),
        ]

    def answer(self, method, path, body):
        for pattern, methods in self.routes:
            found = re.fullmatch(pattern, path)
            if found and method in methods:
                return methods[method](*found.groups(), body)
        raise Refused(404, "NotFoundException", f"no such call: {method} {path}")

    # ---- configurations

    def create_configuration(self, body):
        made = arn("configuration", body["name"])
        self.configurations[made] = {
            "arn": made,
            "name": body["name"],
            "description": body.get("description", ""),
            "kafkaVersions": body.get("kafkaVersions", []),
            "revisions": [body["serverProperties"]],
        }
        return self.configuration(made, None)

    def known_configuration(self, which):
        if which not in self.configurations:
            # The provider takes this message for "it is gone".
            raise Refused(400, "BadRequestException", "Configuration ARN does not exist")
        return self.configurations[which]

    def configuration(self, which, _):
        known = self.known_configuration(which)
        latest = {
            "revision": len(known["revisions"]),
            "creationTime": NOW,
            "description": known["description"],
        }
        shown = {key: value for key, value in known.items() if key != "revisions"}
        return shown | {"creationTime": NOW, "state": "ACTIVE", "latestRevision": latest}

    def revise_configuration(self, which, body):
        known = self.known_configuration(which)
        known["revisions"].append(body["serverProperties"])
        known["description"] = body.get("description", "")
        return self.configuration(which, None)

    def delete_configuration(self, which, _):
        self.known_configuration(which)
        del self.configurations[which]
        return {"arn": which, "state": "DELETING"}

    def revision(self, which, number, _):
        known = self.known_configuration(which)
        return {
            "arn": which,
            "creationTime": NOW,
            "description": known["description"],
            "revision": int(number),
            "serverProperties": known["revisions"][int(number) - 1],
        }

    # ---- clusters

    def create_cluster(self, body):
        made = arn("cluster", body["clusterName"])
        self.clusters[made] = {"asked": body | body.get("provisioned", {}), "secrets": []}
        self.tags[made] = body.get("tags") or {}
        return {"clusterArn": made, "clusterName": body["clusterName"], "state": "CREATING"}

    def known_cluster(self, which):
        if which not in self.clusters:
            raise Refused(404, "NotFoundException", f"no such cluster: {which}")
        return self.clusters[which]

    def head(self, which):
        return {
            "clusterArn": which,
            "clusterName": self.known_cluster(which)["asked"]["clusterName"],
            "creationTime": NOW,
            "currentVersion": "K1",
            "state": "ACTIVE",
            "tags": self.tags.get(which, {}),
        }

    def provisioned(self, which):
        asked = self.known_cluster(which)["asked"]
        software = {"kafkaVersion": asked.get("kafkaVersion")}
        if configuration := asked.get("configurationInfo"):
            software |= {
                "configurationArn": configuration["arn"],
                "configurationRevision": configuration["revision"],
            }
        same = (
            "brokerNodeGroupInfo",
            "clientAuthentication",
            "encryptionInfo",
            "loggingInfo",
            "numberOfBrokerNodes",
            "openMonitoring",
        )
        return {key: asked.get(key) for key in same} | {
            "currentBrokerSoftwareInfo": software,
            "enhancedMonitoring": asked.get("enhancedMonitoring") or "DEFAULT",
            "storageMode": asked.get("storageMode") or "LOCAL",
            "zookeeperConnectString": "127.0.0.1:2181",
            "zookeeperConnectStringTls": "127.0.0.1:2182",
        }

    def cluster(self, which, _):
        return {"clusterInfo": self.head(which) | self.provisioned(which)}

    def cluster_v2(self, which, _):
        kind = {"clusterType": "PROVISIONED", "provisioned": self.provisioned(which)}
        return {"clusterInfo": self.head(which) | kind}

    def delete_cluster(self, which, _):
        self.known_cluster(which)
        del self.clusters[which]
        return {"clusterArn": which, "state": "DELETING"}

    def bootstrap_brokers(self, which, _):
        logins = self.known_cluster(which)["asked"].get("clientAuthentication") or {}
        scram = (logins.get("sasl") or {}).get("scram") or {}
        kind = "SaslScram" if scram.get("enabled") else "Tls"
        return {f"bootstrapBrokerString{kind}": self.brokers}

    # ---- logins and tags

    def secrets(self, which, _):
        return {"secretArnList": self.known_cluster(which)["secrets"]}

    def add_secrets(self, which, body):
        secrets = self.known_cluster(which)["secrets"]
        secrets += [secret for secret in body["secretArnList"] if secret not in secrets]
        return {"clusterArn": which, "unprocessedScramSecrets": []}

    def drop_secrets(self, which, body):
        cluster = self.known_cluster(which)
        cluster["secrets"] = [s for s in cluster["secrets"] if s not in body["secretArnList"]]
        return {"clusterArn": which, "unprocessedScramSecrets": []}

    def tags_of(self, which, _):
        return {"tags": self.tags.get(which, {})}

    def add_tags(self, which, body):
        self.tags.setdefault(which, {}).update(body["tags"])
        return {}

    def drop_tags(self, which, _):
        self.tags.pop(which, None)
        return {}


def handler(msk):
    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            size = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(size) or b"{}") if size else {}
            status, name = 200, None
            try:
                said = msk.answer(self.command, unquote(urlsplit(self.path).path), body)
            except Refused as refused:
                status, name = refused.status, refused.name
                said = {"message": refused.message, "invalidParameter": ""}
            data = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            if name:
                self.send_header("x-amzn-errortype", name)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    return Handler


if __name__ == "__main__":
    brokers = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:9096"
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), handler(Msk(brokers))).serve_forever()
