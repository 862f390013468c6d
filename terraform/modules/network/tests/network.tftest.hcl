mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["eu-central-1a", "eu-central-1b", "eu-central-1c", "eu-central-1d"] }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
}

variables {
  name = "tide"
}

run "workers_reach_each_other_on_the_cluster_port_only" {
  command = apply

  assert {
    condition = (
      aws_vpc_security_group_ingress_rule.cluster.from_port == 2101 &&
      aws_vpc_security_group_ingress_rule.cluster.to_port == 2101 &&
      aws_vpc_security_group_ingress_rule.cluster.ip_protocol == "tcp"
    )
    error_message = "more than the cluster port is open between workers"
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.cluster.referenced_security_group_id == aws_security_group.workers.id
    error_message = "the cluster port is open to others than workers"
  }
  assert {
    condition = (
      aws_vpc_security_group_egress_rule.cluster.from_port == 2101 &&
      aws_vpc_security_group_egress_rule.cluster.to_port == 2101
    )
    error_message = "workers may call others on more than the cluster port"
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.ssh) == 0
    error_message = "ssh is open though nobody is to be let in"
  }
}

run "another_cluster_port" {
  command = apply

  variables {
    cluster_port = 4000
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.cluster.from_port == 4000 && output.cluster_port == 4000
    error_message = "the cluster port is not the one that was asked for"
  }
}

run "brokers_are_reached_on_encrypted_ports" {
  command = apply

  assert {
    condition = (
      toset([for rule in aws_vpc_security_group_egress_rule.kafka : tostring(rule.from_port)]) == toset(["9094", "9096"]) &&
      toset([for rule in aws_vpc_security_group_ingress_rule.kafka_from_workers : tostring(rule.to_port)]) == toset(["9094", "9096"])
    )
    error_message = "workers reach other ports of brokers than 9094 and 9096"
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.kafka_from_outside) == 0
    error_message = "others than workers reach the brokers"
  }
}

run "brokers_elsewhere" {
  command = apply

  variables {
    kafka_cidrs = ["10.8.0.0/24", "10.8.1.0/24"]
    kafka_ports = [9096]
  }
  assert {
    condition     = toset([for rule in aws_vpc_security_group_egress_rule.outside_kafka : rule.cidr_ipv4]) == toset(["10.8.0.0/24", "10.8.1.0/24"])
    error_message = "workers do not reach the brokers elsewhere"
  }
}

run "subnets_lie_in_different_zones" {
  command = apply

  assert {
    condition     = length(distinct(aws_subnet.private[*].availability_zone)) == 3 && length(distinct(aws_subnet.private[*].cidr_block)) == 3
    error_message = "expected 3 subnets in 3 zones"
  }
  assert {
    condition     = alltrue([for subnet in aws_subnet.private : subnet.map_public_ip_on_launch == false])
    error_message = "a subnet gives out public addresses"
  }
  assert {
    condition     = aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway" && contains(keys(aws_vpc_endpoint.service), "ssm")
    error_message = "S3 or Session Manager cannot be reached from inside"
  }
}

run "ssh_from_an_office" {
  command = apply

  variables {
    ssh_cidrs = ["10.1.2.0/24"]
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.ssh["10.1.2.0/24"].from_port == 22 && aws_vpc_security_group_ingress_rule.ssh["10.1.2.0/24"].to_port == 22
    error_message = "ssh is not let in from where it was asked for"
  }
}

run "ssh_from_the_whole_world_is_refused" {
  command = plan

  variables {
    ssh_cidrs = ["0.0.0.0/0"]
  }
  expect_failures = [var.ssh_cidrs]
}

run "a_port_that_is_none_is_refused" {
  command = plan

  variables {
    cluster_port = 80
  }
  expect_failures = [var.cluster_port]
}

run "one_zone_is_refused" {
  command = plan

  variables {
    zone_count = 1
  }
  expect_failures = [var.zone_count]
}

run "a_region_with_too_few_zones_is_refused" {
  command = plan

  override_data {
    target = data.aws_availability_zones.available
    values = { names = ["eu-central-1a", "eu-central-1b"] }
  }
  expect_failures = [data.aws_availability_zones.available]
}

run "a_small_network_is_refused" {
  command = plan

  variables {
    cidr_block = "10.40.0.0/24"
  }
  expect_failures = [var.cidr_block]
}

run "a_name_with_capitals_is_refused" {
  command = plan

  variables {
    name = "Tide"
  }
  expect_failures = [var.name]
}
