output "bootstrap_brokers" {
  description = "Brokers to ask first, as `host:port,…`, for logins by SCRAM over TLS: `kafka.brokers`, with `kafka.security = \"sasl_tls\"` and `kafka.sasl_mechanism = \"SCRAM-SHA-512\"`. Part of the contract with the launcher."
  value       = aws_msk_cluster.this.bootstrap_brokers_sasl_scram

  # Before its logins are known the cluster lets nobody in.
  depends_on = [aws_msk_scram_secret_association.this]
}

output "topics" {
  description = "The topics to make, with all that `kafka-topics.sh --create` needs: partitions, copies, settings."
  value = {
    for name, topic in var.topics : name => {
      partitions         = topic.partitions
      replication_factor = local.replication
      config = merge({
        "cleanup.policy"      = topic.cleanup_policy
        "min.insync.replicas" = tostring(local.insync_min)
        "retention.ms"        = tostring(topic.retention_ms)
      }, topic.config)
    }
  }
}

output "job_settings" {
  description = "Options of a job that follow from the cluster: copies of its own topics. Before a job's first start; later its topics have to be altered first."
  value = {
    "job.replication" = local.replication
    "job.insync_min"  = local.insync_min
  }
}

output "scram_secret_arns" {
  description = "Where the password of each login is: `aws secretsmanager get-secret-value --secret-id ARN`."
  value       = { for user, secret in aws_secretsmanager_secret.scram : user => secret.arn }
}

output "cluster_arn" {
  description = "The cluster, for alarms and ACLs of your own."
  value       = aws_msk_cluster.this.arn
}
