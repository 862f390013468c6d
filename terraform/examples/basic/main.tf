# Nodes beside a Kafka that you have: a network, workers, a bucket.
#
#   terraform init
#   terraform apply -var 'bootstrap_brokers=kafka-0.example:9096' -var 'kafka_cidrs=["10.8.0.0/24"]' \
#       -var 'ssh_cidrs=["10.1.2.0/24"]' -var "ssh_public_key=$(cat ~/.ssh/id_ed25519.pub)"
#   terraform output -json > terraform.json        # what `cluster.toml` takes its hosts from
#
# The way to the brokers and from your office (peering, VPN) is yours to make: `route_table_id` of the
# module `network` is where it goes.

provider "aws" {
  region = var.region
}

locals {
  tags = { Project = var.name }
}

module "network" {
  source = "../../modules/network"

  name        = var.name
  kafka_cidrs = var.kafka_cidrs
  kafka_ports = var.kafka_ports
  ssh_cidrs   = var.ssh_cidrs
  tags        = local.tags
}

module "storage" {
  source = "../../modules/storage"

  name = var.name
  tags = local.tags
}

module "workers" {
  source = "../../modules/workers"

  name               = var.name
  worker_count       = var.worker_count
  subnet_ids         = module.network.subnet_ids
  security_group_ids = [module.network.worker_security_group_id]
  ssh_public_key     = var.ssh_public_key
  state_bucket_arn   = module.storage.bucket_arn
  state_kms_key_arn  = module.storage.kms_key_arn
  tags               = local.tags
}
