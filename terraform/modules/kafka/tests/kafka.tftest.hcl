# Where the provider looks at the shape of an identifier, a made-up one must have it.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
  }
  mock_resource "aws_secretsmanager_secret" {
    defaults = {
      id  = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:AmazonMSK_tide-000000"
      arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:AmazonMSK_tide-000000"
    }
  }
  mock_resource "aws_msk_configuration" {
    defaults = {
      arn             = "arn:aws:kafka:eu-central-1:123456789012:configuration/tide/00000000-0000-0000-0000-000000000000-1"
      latest_revision = 1
    }
  }
  mock_resource "aws_msk_cluster" {
    defaults = {
      arn                          = "arn:aws:kafka:eu-central-1:123456789012:cluster/tide/00000000-0000-0000-0000-000000000000-1"
      bootstrap_brokers_sasl_scram = "b-1.tide:9096,b-2.tide:9096,b-3.tide:9096"
    }
  }
}

variables {
  name               = "tide"
  subnet_ids         = ["subnet-a", "subnet-b", "subnet-c"]
  security_group_ids = ["sg-kafka"]
}

run "three_zones_have_three_copies_of_which_two_must_have_a_record" {
  command = apply

  assert {
    condition = alltrue([
      for line in [
        "auto.create.topics.enable=false",
        "default.replication.factor=3",
        "min.insync.replicas=2",
        "unclean.leader.election.enable=false",
        "transaction.state.log.replication.factor=3",
        "transaction.state.log.min.isr=2",
        "offsets.topic.replication.factor=3",
        "transaction.max.timeout.ms=900000",
      ] : contains(split("\n", aws_msk_configuration.this.server_properties), line)
    ])
    error_message = "a setting that exactly once rests on is missing"
  }
  assert {
    condition     = output.job_settings["job.replication"] == 3 && output.job_settings["job.insync_min"] == 2
    error_message = "a job is told of other copies than the cluster has"
  }
  assert {
    condition     = aws_msk_cluster.this.number_of_broker_nodes == 3
    error_message = "expected a broker in each zone"
  }
}

run "two_zones_have_two_copies" {
  command = apply

  variables {
    subnet_ids = ["subnet-a", "subnet-b"]
  }
  assert {
    condition     = output.job_settings["job.replication"] == 2 && output.job_settings["job.insync_min"] == 1
    error_message = "expected two copies of which one must have a record"
  }
}

run "everything_is_encrypted_and_logins_are_by_scram" {
  command = apply

  assert {
    condition = (
      aws_msk_cluster.this.encryption_info[0].encryption_in_transit[0].client_broker == "TLS" &&
      aws_msk_cluster.this.encryption_info[0].encryption_in_transit[0].in_cluster == true &&
      aws_msk_cluster.this.encryption_info[0].encryption_at_rest_kms_key_arn == aws_kms_key.this.arn
    )
    error_message = "something is not encrypted"
  }
  assert {
    condition     = aws_msk_cluster.this.client_authentication[0].sasl[0].scram == true
    error_message = "logins are not by SCRAM"
  }
  assert {
    condition = (
      aws_secretsmanager_secret.scram["tideflow"].name == "AmazonMSK_tide_tideflow" &&
      aws_secretsmanager_secret.scram["tideflow"].kms_key_id == aws_kms_key.this.arn
    )
    error_message = "MSK would refuse the secret: it wants its prefix, and a key of the account's own"
  }
  assert {
    condition     = output.bootstrap_brokers == "b-1.tide:9096,b-2.tide:9096,b-3.tide:9096"
    error_message = "the brokers are not those for logins by SCRAM"
  }
}

run "topics_come_out_with_all_that_makes_them" {
  command = apply

  variables {
    topics = {
      readings = { partitions = 12 }
      registry = { partitions = 4, retention_ms = -1, cleanup_policy = "compact", config = { "min.compaction.lag.ms" = "86400000" } }
    }
  }
  assert {
    condition     = output.topics["readings"].partitions == 12 && output.topics["readings"].replication_factor == 3
    error_message = "expected 12 partitions with 3 copies"
  }
  assert {
    condition = (
      output.topics["registry"].config["cleanup.policy"] == "compact" &&
      output.topics["registry"].config["retention.ms"] == "-1" &&
      output.topics["registry"].config["min.compaction.lag.ms"] == "86400000" &&
      output.topics["registry"].config["min.insync.replicas"] == "2"
    )
    error_message = "a setting of the topic is missing"
  }
}

run "one_zone_is_refused" {
  command = plan

  variables {
    subnet_ids = ["subnet-a"]
  }
  expect_failures = [var.subnet_ids]
}

run "nobody_to_log_in_is_refused" {
  command = plan

  variables {
    scram_users = []
  }
  expect_failures = [var.scram_users]
}

run "a_topic_without_partitions_is_refused" {
  command = plan

  variables {
    topics = { readings = { partitions = 0 } }
  }
  expect_failures = [var.topics]
}

run "a_policy_that_kafka_does_not_know_is_refused" {
  command = plan

  variables {
    topics = { readings = { partitions = 1, cleanup_policy = "compress" } }
  }
  expect_failures = [var.topics]
}

run "an_express_broker_is_refused" {
  command = plan

  variables {
    broker_type = "express.m7g.large"
  }
  expect_failures = [var.broker_type]
}

run "an_old_kafka_is_refused" {
  command = plan

  variables {
    kafka_version = "2.8.1"
  }
  expect_failures = [var.kafka_version]
}
