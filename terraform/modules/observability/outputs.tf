output "agent_config" {
  description = "Settings of the CloudWatch agent, for the module `workers`: a node takes them when it is made."
  value       = jsonencode(local.agent)
}

output "log_group_name" {
  description = "Where the logs of nodes are. What a job writes to the journal stays on its node: `tideflow logs`."
  value       = aws_cloudwatch_log_group.nodes.name
}
