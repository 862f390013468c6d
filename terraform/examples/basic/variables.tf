variable "region" {
  description = "The region of AWS: that of your brokers, or near to it. Every epoch waits for them."
  type        = string
  default     = "eu-central-1"
}

variable "name" {
  description = "What everything is called after. Another name makes everything anew."
  type        = string
  default     = "tideflow"
}

variable "worker_count" {
  description = "Nodes. Before it gets smaller: `tideflow rescale`."
  type        = number
  default     = 3
}

variable "bootstrap_brokers" {
  description = "The brokers that you have, as `host:port,…`. It is only handed on; a wrong one shows in `tideflow doctor`."
  type        = string

  validation {
    condition     = can(regex("^[^\\s,:]+:[0-9]+(,[^\\s,:]+:[0-9]+)*$", var.bootstrap_brokers))
    error_message = "`bootstrap_brokers` must be `host:port`, separated by commas."
  }
}

variable "kafka_cidrs" {
  description = "The addresses of those brokers. Workers may reach nothing else; without them a job finds no broker."
  type        = set(string)

  validation {
    condition     = length(var.kafka_cidrs) > 0
    error_message = "`kafka_cidrs` must name the addresses of your brokers: workers may reach nothing else."
  }
}

variable "kafka_ports" {
  description = "The ports of those brokers."
  type        = set(number)
  default     = [9094, 9096]
}

variable "ssh_cidrs" {
  description = "From where ssh is let in: where `tideflow up` runs."
  type        = set(string)
}

variable "ssh_public_key" {
  description = "The public half of the key that `tideflow up` logs in with."
  type        = string
}
