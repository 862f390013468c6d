# Kafka (Amazon MSK): encrypted on the wire and on disk, logins by SCRAM, settings on which exactly once rests.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  brokers     = var.brokers_per_zone * length(var.subnet_ids)
  replication = min(3, local.brokers)
  insync_min  = max(1, local.replication - 1)

  settings = {
    # A topic that is made by a typing error has neither partitions nor copies that anybody chose.
    "auto.create.topics.enable"  = "false"
    "default.replication.factor" = local.replication
    "min.insync.replicas"        = local.insync_min
    # A copy that lags and becomes the leader has lost what was acknowledged: results, and a job's bindings.
    "unclean.leader.election.enable"           = "false"
    "offsets.topic.replication.factor"         = local.replication
    "transaction.state.log.replication.factor" = local.replication
    "transaction.state.log.min.isr"            = local.insync_min
    # The most that `job.transaction_timeout_ms` may be, which is 30 s unless it is set.
    "transaction.max.timeout.ms" = 900000
  }
}

# ---- keys and logins -------------------------------------------------------------------------------

resource "aws_kms_key" "this" {
  description         = "Kafka ${var.name}: disks and logins"
  enable_key_rotation = true
  # The account's own rules say who may use it: the same as without a policy, and said.
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Account"
      Effect    = "Allow"
      Principal = { AWS = "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root" }
      Action    = "kms:*"
      Resource  = "*"
    }]
  })
  tags = var.tags
}

data "aws_secretsmanager_random_password" "scram" {
  for_each = var.scram_users

  password_length     = 40
  exclude_punctuation = true
}

# MSK takes secrets of this prefix only, and only with a key of the account's own.
resource "aws_secretsmanager_secret" "scram" {
  for_each = var.scram_users

  name                    = "AmazonMSK_${var.name}_${each.key}"
  description             = "Login of ${each.key} to Kafka ${var.name}"
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = var.secret_recovery_days
  tags                    = var.tags
}

resource "aws_secretsmanager_secret_version" "scram" {
  for_each = var.scram_users

  secret_id = aws_secretsmanager_secret.scram[each.key].id
  secret_string = jsonencode({
    username = each.key
    password = data.aws_secretsmanager_random_password.scram[each.key].random_password
  })

  lifecycle {
    # A password is made with the secret; that of every later plan is another one.
    ignore_changes = [secret_string]
  }
}

resource "aws_secretsmanager_secret_policy" "scram" {
  for_each = var.scram_users

  secret_arn = aws_secretsmanager_secret.scram[each.key].arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AWSKafkaResourcePolicy"
      Effect    = "Allow"
      Principal = { Service = "kafka.amazonaws.com" }
      Action    = "secretsmanager:getSecretValue"
      Resource  = aws_secretsmanager_secret.scram[each.key].arn
    }]
  })
}

resource "aws_msk_scram_secret_association" "this" {
  cluster_arn     = aws_msk_cluster.this.arn
  secret_arn_list = [for secret in aws_secretsmanager_secret.scram : secret.arn]

  # MSK reads a secret when it is given it.
  depends_on = [aws_secretsmanager_secret_version.scram, aws_secretsmanager_secret_policy.scram]
}

# ---- the cluster -----------------------------------------------------------------------------------

resource "aws_cloudwatch_log_group" "brokers" {
  name              = "/tideflow/${var.name}/kafka"
  retention_in_days = var.log_days
  tags              = var.tags
}

resource "aws_msk_configuration" "this" {
  name              = var.name
  description       = "What exactly once rests on"
  kafka_versions    = [var.kafka_version]
  server_properties = join("\n", [for name, value in local.settings : "${name}=${value}"])
}

resource "aws_msk_cluster" "this" {
  cluster_name           = var.name
  kafka_version          = var.kafka_version
  number_of_broker_nodes = local.brokers
  tags                   = var.tags

  broker_node_group_info {
    instance_type   = var.broker_type
    client_subnets  = var.subnet_ids
    security_groups = var.security_group_ids

    storage_info {
      ebs_storage_info {
        volume_size = var.disk_gb
      }
    }
  }

  client_authentication {
    sasl {
      scram = true
    }
  }

  configuration_info {
    arn      = aws_msk_configuration.this.arn
    revision = aws_msk_configuration.this.latest_revision
  }

  encryption_info {
    encryption_at_rest_kms_key_arn = aws_kms_key.this.arn

    encryption_in_transit {
      client_broker = "TLS"
      in_cluster    = true
    }
  }

  logging_info {
    broker_logs {
      cloudwatch_logs {
        enabled   = true
        log_group = aws_cloudwatch_log_group.brokers.name
      }
    }
  }
}
