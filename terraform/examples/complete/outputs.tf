output "hosts" {
  description = "The nodes in the order of the job's processes: `[{name, address}, …]`."
  value       = module.workers.hosts
}

output "bootstrap_brokers" {
  description = "Brokers to ask first: `kafka.brokers`, with `kafka.security = \"sasl_tls\"`."
  value       = module.kafka.bootstrap_brokers
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

output "topics" {
  description = "The topics to make, with partitions, copies and settings."
  value       = module.kafka.topics
}

output "job_settings" {
  description = "Options of a job that follow from the cluster."
  value       = module.kafka.job_settings
}

output "scram_secret_arns" {
  description = "Where the password of each login is."
  value       = module.kafka.scram_secret_arns
}
