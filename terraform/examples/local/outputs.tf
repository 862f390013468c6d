output "hosts" {
  description = "The hosts in the order of the job's processes: `[{name, address}, …]`."
  value       = module.hosts.hosts
}

output "bootstrap_brokers" {
  description = "Brokers to ask first: `kafka.brokers`."
  value       = module.hosts.bootstrap_brokers
}

output "state_url" {
  description = "Where jobs keep their state: `job.state`."
  value       = module.hosts.state_url
}

output "ssh_user" {
  description = "Whom the launcher logs in as."
  value       = module.hosts.ssh_user
}

output "ssh_key" {
  description = "The private key that logs in, a file on this machine."
  value       = module.hosts.ssh_key
}

output "ssh_known_hosts" {
  description = "The keys of the hosts, a file on this machine."
  value       = module.hosts.ssh_known_hosts
}

output "machine_address" {
  description = "This machine as hosts see it: where a broker has to listen."
  value       = module.hosts.machine_address
}
