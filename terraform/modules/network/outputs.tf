output "vpc_id" {
  description = "The network, for what else is to be in it."
  value       = aws_vpc.this.id
}

output "subnet_ids" {
  description = "The private subnets, one in each zone."
  value       = aws_subnet.private[*].id
}

output "route_table_id" {
  description = "The routes of all private subnets, for a way to other networks; there is none as it is."
  value       = aws_route_table.private.id
}

output "worker_security_group_id" {
  description = "The group of workers. A broker elsewhere lets this group in."
  value       = aws_security_group.workers.id
}

output "kafka_security_group_id" {
  description = "The group of brokers."
  value       = aws_security_group.kafka.id
}

output "cluster_port" {
  description = "The port that is open between workers, for `cluster.toml`."
  value       = var.cluster_port
}
