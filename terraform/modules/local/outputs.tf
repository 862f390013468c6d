output "hosts" {
  description = "The hosts in the order of the job's processes: a name, and the address at which the others and ssh reach it. Part of the contract with the launcher."
  value       = local.hosts
  depends_on  = [terraform_data.hosts]
}

output "bootstrap_brokers" {
  description = "Brokers to ask first: `kafka.brokers`. Part of the contract with the launcher."
  value       = var.bootstrap_brokers != "" ? var.bootstrap_brokers : "${local.machine}:9092"
}

output "state_url" {
  description = "Where jobs keep their state, `job.state`: a folder that all hosts share. Part of the contract with the launcher."
  value       = "/var/lib/tideflow-shared/state"
  depends_on  = [terraform_data.hosts]
}

output "ssh_user" {
  description = "Whom the launcher logs in as."
  value       = "root"
}

output "ssh_key" {
  description = "The private key that logs in, a file on this machine."
  value       = "${var.directory}/id_ed25519"
  depends_on  = [terraform_data.hosts]
}

output "ssh_known_hosts" {
  description = "The keys of the hosts, a file on this machine."
  value       = "${var.directory}/known_hosts"
  depends_on  = [terraform_data.hosts]
}

output "machine_address" {
  description = "This machine as hosts see it: where a broker has to listen."
  value       = local.machine
}
