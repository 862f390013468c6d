output "hosts" {
  description = "The nodes in the order of the job's processes: `[{name, address}, …]`."
  value       = module.workers.hosts
}

output "bootstrap_brokers" {
  description = "Brokers to ask first: `kafka.brokers`."
  value       = var.bootstrap_brokers
}

output "state_url" {
  description = "Where jobs keep their state: `job.state`."
  value       = module.storage.state_url
}

output "ssh_user" {
  description = "Whom the launcher logs in as."
  value       = module.workers.ssh_user
}

output "cluster_port" {
  description = "The port that is open between workers."
  value       = module.network.cluster_port
}

output "instance_ids" {
  description = "The instance of each node by its name: `aws ec2 get-console-output` has its host keys."
  value       = module.workers.instance_ids
}
