# Where the provider looks at the shape of an identifier, a made-up one must have it.
mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["eu-central-1a", "eu-central-1b", "eu-central-1c"] }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_ssm_parameter" {
    defaults = { insecure_value = "ami-0123456789abcdef0" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::tideflow-state-123456789012-eu-central-1" }
  }
  mock_resource "aws_iam_instance_profile" {
    defaults = { arn = "arn:aws:iam::123456789012:instance-profile/tideflow-worker" }
  }
  mock_resource "aws_launch_template" {
    defaults = { id = "lt-0123456789abcdef0", latest_version = 1 }
  }
  mock_resource "aws_instance" {
    defaults = { id = "i-0123456789abcdef0", private_ip = "10.40.1.7" }
  }
}

variables {
  bootstrap_brokers = "kafka-0.example:9096,kafka-1.example:9096"
  kafka_cidrs       = ["10.8.0.0/24"]
  ssh_cidrs         = ["10.1.2.0/24"]
  ssh_public_key    = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJcNnQfJ0DVlQn5FV9gSxQ5oCkUuQ2mGmK1u0oTq3X5v test"
}

run "the_contract_holds" {
  command = apply

  assert {
    condition     = join(" ", [for host in output.hosts : "${host.name}=${host.address}"]) == "tideflow-0=10.40.1.7 tideflow-1=10.40.1.7 tideflow-2=10.40.1.7"
    error_message = "`hosts` is no list of names and addresses"
  }
  assert {
    condition     = output.bootstrap_brokers == "kafka-0.example:9096,kafka-1.example:9096"
    error_message = "`bootstrap_brokers` is not what was given"
  }
  assert {
    condition     = output.state_url == "s3://tideflow-state-123456789012-eu-central-1/state"
    error_message = "`state_url` is no place that a job takes"
  }
  assert {
    condition     = output.ssh_user == "ec2-user" && output.cluster_port == 2101
    error_message = "`ssh_user` or `cluster_port` is not what the launcher needs"
  }
}

run "brokers_without_a_port_are_refused" {
  command = plan

  variables {
    bootstrap_brokers = "kafka-0.example"
  }
  expect_failures = [var.bootstrap_brokers]
}

run "brokers_without_addresses_are_refused" {
  command = plan

  variables {
    kafka_cidrs = []
  }
  expect_failures = [var.kafka_cidrs]
}
