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
  mock_resource "aws_secretsmanager_secret" {
    defaults = {
      id  = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:AmazonMSK_tideflow-000000"
      arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:AmazonMSK_tideflow-000000"
    }
  }
  mock_resource "aws_msk_configuration" {
    defaults = {
      arn             = "arn:aws:kafka:eu-central-1:123456789012:configuration/tideflow/00000000-0000-0000-0000-000000000000-1"
      latest_revision = 1
    }
  }
  mock_resource "aws_msk_cluster" {
    defaults = {
      arn                          = "arn:aws:kafka:eu-central-1:123456789012:cluster/tideflow/00000000-0000-0000-0000-000000000000-1"
      bootstrap_brokers_sasl_scram = "b-1.tideflow:9096,b-2.tideflow:9096,b-3.tideflow:9096"
    }
  }
}

variables {
  ssh_cidrs      = ["10.1.2.0/24"]
  ssh_public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJcNnQfJ0DVlQn5FV9gSxQ5oCkUuQ2mGmK1u0oTq3X5v test"
}

run "the_contract_holds" {
  command = apply

  assert {
    condition     = join(" ", [for host in output.hosts : "${host.name}=${host.address}"]) == "tideflow-0=10.40.1.7 tideflow-1=10.40.1.7 tideflow-2=10.40.1.7"
    error_message = "`hosts` is no list of names and addresses"
  }
  assert {
    condition     = output.bootstrap_brokers == "b-1.tideflow:9096,b-2.tideflow:9096,b-3.tideflow:9096"
    error_message = "`bootstrap_brokers` are not those for logins by SCRAM"
  }
  assert {
    condition     = output.state_url == "s3://tideflow-state-123456789012-eu-central-1/state"
    error_message = "`state_url` is no place that a job takes"
  }
  assert {
    condition     = output.ssh_user == "ec2-user" && output.cluster_port == 2101
    error_message = "`ssh_user` or `cluster_port` is not what the launcher needs"
  }
  assert {
    condition     = output.topics["readings"].partitions == 12 && output.topics["readings"].replication_factor == 3
    error_message = "`topics` does not say how to make them"
  }
}

run "five_workers" {
  command = apply

  variables {
    worker_count = 5
  }
  assert {
    condition     = length(output.hosts) == 5 && length(output.instance_ids) == 5
    error_message = "expected five hosts"
  }
}
