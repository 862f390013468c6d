variable "name" {
  description = "The cluster's name, 2 to 20 of `a-z 0-9 -`. Another name is another cluster: what the old one holds is gone, and no job goes on."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "`name` must be 2 to 20 of `a-z 0-9 -`, with a letter in front and no `-` at the end."
  }
}

variable "subnet_ids" {
  description = "Private subnets in different zones, 2 or 3, with `brokers_per_zone` brokers in each. 3 bears the loss of a zone with no wait; with 2 there are two copies, and a loss leaves one."
  type        = list(string)

  validation {
    condition     = contains([2, 3], length(var.subnet_ids))
    error_message = "`subnet_ids` must name 2 or 3 subnets: MSK takes no other number."
  }
}

variable "security_group_ids" {
  description = "Groups of the brokers, as the module `network` makes one: they say who reaches them."
  type        = list(string)

  validation {
    condition     = length(var.security_group_ids) > 0
    error_message = "`security_group_ids` must name one group or more."
  }
}

variable "kafka_version" {
  description = "The version of Kafka as MSK names it. A newer one is rolled out broker by broker while jobs run; there is no way back."
  type        = string
  default     = "3.8.x"

  validation {
    condition     = can(regex("^([3-9])\\.[0-9]+\\.([0-9]+|x)(\\.kraft)?$", var.kafka_version))
    error_message = "`kafka_version` must be one of MSK's from 3 on, such as `3.8.x`."
  }
}

variable "broker_type" {
  description = "The kind of brokers. Larger ones carry more bytes and more partitions; a change is rolled out broker by broker."
  type        = string
  default     = "kafka.m7g.large"

  validation {
    condition     = can(regex("^kafka\\.[a-z0-9]+\\.[a-z0-9]+$", var.broker_type))
    error_message = "`broker_type` must be a standard one of MSK, such as `kafka.m7g.large`."
  }
}

variable "brokers_per_zone" {
  description = "Brokers in each zone. More carry more; partitions that are there already stay where they are until somebody moves them. Fewer than before is refused by MSK."
  type        = number
  default     = 1

  validation {
    condition     = var.brokers_per_zone >= 1 && var.brokers_per_zone <= 10 && floor(var.brokers_per_zone) == var.brokers_per_zone
    error_message = "`brokers_per_zone` must be a whole number from 1 to 10."
  }
}

variable "disk_gb" {
  description = "Disk of each broker, in GB. It holds a copy of all that topics keep: bytes a second, times the retention, times 3, over the brokers. It can grow and never shrink; a full one stops the cluster."
  type        = number
  default     = 100

  validation {
    condition     = var.disk_gb >= 1 && var.disk_gb <= 16384 && floor(var.disk_gb) == var.disk_gb
    error_message = "`disk_gb` must be a whole number from 1 to 16384."
  }
}

variable "scram_users" {
  description = "Logins, each with a password that is made once and lies in a secret, and in Terraform's state: keep that encrypted and to yourself. A new password comes with `-replace` of its `aws_secretsmanager_secret_version`. Until you make ACLs every login may do everything."
  type        = set(string)
  default     = ["tideflow"]

  validation {
    condition     = length(var.scram_users) > 0 && alltrue([for user in var.scram_users : can(regex("^[a-z][a-z0-9_-]{0,31}$", user))])
    error_message = "`scram_users` must be one name or more, each of `a-z 0-9 _ -` with a letter in front."
  }
}

variable "secret_recovery_days" {
  description = "For how long a destroyed secret can be had back, 7 to 30 days, or 0. For so long no secret of its name can be made again: 0 for clusters that come and go."
  type        = number
  default     = 7

  validation {
    condition     = var.secret_recovery_days == 0 || var.secret_recovery_days >= 7 && var.secret_recovery_days <= 30
    error_message = "`secret_recovery_days` must be 0, or from 7 to 30."
  }
}

variable "topics" {
  description = "Topics of your graphs by name, for whoever makes them: nothing here does. `partitions` bounds how many workers read at once, and cannot be lowered. `retention_ms` is how far back a job can begin or be replayed; -1 keeps everything. `cleanup_policy` is `delete`, or `compact` for changelogs and registries. `config` is any other setting of Kafka's."
  type = map(object({
    partitions     = number
    retention_ms   = optional(number, 604800000)
    cleanup_policy = optional(string, "delete")
    config         = optional(map(string), {})
  }))
  default = {}

  validation {
    condition     = alltrue([for name, topic in var.topics : can(regex("^[a-zA-Z0-9._-]{1,249}$", name))])
    error_message = "`topics`: a name must be 1 to 249 of `a-z A-Z 0-9 . _ -`."
  }
  validation {
    condition     = alltrue([for topic in values(var.topics) : topic.partitions >= 1 && floor(topic.partitions) == topic.partitions])
    error_message = "`topics`: `partitions` must be a whole number from 1."
  }
  validation {
    condition     = alltrue([for topic in values(var.topics) : contains(["delete", "compact", "compact,delete"], topic.cleanup_policy)])
    error_message = "`topics`: `cleanup_policy` must be `delete`, `compact` or `compact,delete`."
  }
  validation {
    condition     = alltrue([for topic in values(var.topics) : topic.retention_ms == -1 || topic.retention_ms >= 60000])
    error_message = "`topics`: `retention_ms` must be -1, or at least a minute."
  }
}

variable "log_days" {
  description = "Days that the brokers' logs are kept. Longer costs more, and tells more after a trouble that is noticed late."
  type        = number
  default     = 14

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_days)
    error_message = "`log_days` must be one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731."
  }
}

variable "tags" {
  description = "Tags of all that is made here: how a bill is split."
  type        = map(string)
  default     = {}
}
