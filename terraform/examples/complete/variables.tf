variable "region" {
  description = "The region of AWS: near to your devices. A job stays within it."
  type        = string
  default     = "eu-central-1"
}

variable "name" {
  description = "What everything is called after. Another name makes everything anew, Kafka and the bucket too."
  type        = string
  default     = "tideflow"
}

variable "worker_count" {
  description = "Nodes. Before it gets smaller: `tideflow rescale`."
  type        = number
  default     = 3
}

variable "instance_type" {
  description = "The kind of all nodes, x86-64: they need the same kind of processor for the same scores."
  type        = string
  default     = "c6i.xlarge"
}

variable "ssh_cidrs" {
  description = "From where ssh is let in: where `tideflow up` runs. Empty: nobody, and Session Manager is the only way in."
  type        = set(string)
  default     = []
}

variable "ssh_public_key" {
  description = "The public half of the key that `tideflow up` logs in with."
  type        = string
}

variable "kafka_client_cidrs" {
  description = "From where readings are sent to Kafka, as your gateways."
  type        = set(string)
  default     = []
}

variable "prometheus_cidrs" {
  description = "From where a Prometheus reads the pages of jobs."
  type        = set(string)
  default     = []
}

variable "alarm_topic_arns" {
  description = "SNS topics that are told of alarms of nodes. Empty wakes nobody."
  type        = list(string)
  default     = []
}

variable "partitions" {
  description = "Partitions of the topics of `device_health`: at most so many threads read at once. It can grow, never shrink."
  type        = number
  default     = 12
}

variable "force_destroy" {
  description = "Whether `terraform destroy` takes snapshots and secrets with it, for good. `false` refuses while there are snapshots, and keeps the names of secrets for a week."
  type        = bool
  default     = false
}
