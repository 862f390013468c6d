"""Amazon's services on loopback, by moto, for `scripts/terraform.sh aws`.

usage: emulated_aws.py PORT

moto forgets what a rule of a security group is said to be for, unless the rule is of addresses. Terraform
would want to say it again in every plan, so it is remembered here.
"""

import sys

from moto.ec2.models.security_groups import SecurityGroupRule
from moto.server import main


def remember_descriptions():
    make = SecurityGroupRule.__init__

    def make_and_remember(
        rule, backend, protocol, group, from_port, to_port, addresses, source=None, prefixes=None, **rest
    ):
        make(rule, backend, protocol, group, from_port, to_port, addresses, source, prefixes, **rest)
        said = [of.get("Description") for of in (addresses, source, prefixes) if of]
        rule.said = said[0] if said else None

    SecurityGroupRule.__init__ = make_and_remember
    SecurityGroupRule.description = property(lambda rule: rule.said)


if __name__ == "__main__":
    remember_descriptions()
    main(["-H", "127.0.0.1", "-p", sys.argv[1]])
