# All there is: a network, Kafka, workers, a bucket, alarms.
#
#   terraform init
#   terraform apply -var 'ssh_cidrs=["10.1.2.0/24"]' -var "ssh_public_key=$(cat ~/.ssh/id_ed25519.pub)"
#   terraform output -json > terraform.json        # what `cluster.toml` takes its hosts from
#   aws secretsmanager get-secret-value --query SecretString --output text \
#       --secret-id "$(terraform output -json scram_secret_arns | jq -r .tideflow)"
#
# Kafka takes about half an hour. The state has Kafka's password in it: keep it in a backend that encrypts.

provider "aws" {
  region = var.region
}

locals {
  tags = { Project = var.name }
}

module "network" {
  source = "../../modules/network"

  name               = var.name
  ssh_cidrs          = var.ssh_cidrs
  kafka_ports        = [9096]
  kafka_client_cidrs = var.kafka_client_cidrs
  tags               = local.tags
}

module "kafka" {
  source = "../../modules/kafka"

  name                 = var.name
  subnet_ids           = module.network.subnet_ids
  security_group_ids   = [module.network.kafka_security_group_id]
  secret_recovery_days = var.force_destroy ? 0 : 7
  tags                 = local.tags

  topics = {
    for topic in ["readings", "windows", "scores", "alarms", "late", "rejects"] :
    topic => { partitions = var.partitions }
  }
}

module "storage" {
  source = "../../modules/storage"

  name          = var.name
  force_destroy = var.force_destroy
  tags          = local.tags
}

module "workers" {
  source = "../../modules/workers"

  name               = var.name
  worker_count       = var.worker_count
  instance_type      = var.instance_type
  subnet_ids         = module.network.subnet_ids
  security_group_ids = [module.network.worker_security_group_id]
  ssh_public_key     = var.ssh_public_key
  state_bucket_arn   = module.storage.bucket_arn
  state_kms_key_arn  = module.storage.kms_key_arn
  agent_config       = module.observability.agent_config
  tags               = local.tags
}

module "observability" {
  source = "../../modules/observability"

  name                     = var.name
  instance_ids             = module.workers.instance_ids
  role_name                = module.workers.role_name
  worker_security_group_id = module.network.worker_security_group_id
  prometheus_cidrs         = var.prometheus_cidrs
  alarm_topic_arns         = var.alarm_topic_arns
  tags                     = local.tags
}
