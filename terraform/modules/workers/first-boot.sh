#!/usr/bin/env bash
# What a node does once, at its first start: `first-boot.sh USER`. It takes the name that its tag says,
# makes the folder of releases for that user, and starts the CloudWatch agent where it has settings.
set -euo pipefail
user=$1
metadata=http://169.254.169.254/latest

token=$(curl -sSf --retry 5 --max-time 5 -X PUT \
    -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$metadata/api/token")
name=$(curl -sSf --retry 5 --max-time 5 \
    -H "X-aws-ec2-metadata-token: $token" "$metadata/meta-data/tags/instance/Name")
hostnamectl set-hostname "$name"

install -d -o "$user" -g "$user" -m 755 /opt/tideflow
systemctl restart systemd-journald

agent=/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl
if [ -e /etc/tideflow/agent.json ]; then
    # Packages of Amazon Linux come from S3, by the network's gateway.
    [ -x "$agent" ] || dnf -q -y install amazon-cloudwatch-agent
    "$agent" -a fetch-config -m ec2 -s -c file:/etc/tideflow/agent.json
fi
