variable "name" {
  description = "What the log group and the alarms are called after, 2 to 20 of `a-z 0-9 -`: that of the workers."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "`name` must be 2 to 20 of `a-z 0-9 -`, with a letter in front and no `-` at the end."
  }
}

variable "instance_ids" {
  description = "The instance of each worker by its name, as the module `workers` gives them. Each gets alarms of its own."
  type        = map(string)
}

variable "role_name" {
  description = "The role of workers, as the module `workers` gives it: it is allowed to send logs and figures. With another one the agent on the nodes is turned away."
  type        = string
}

variable "worker_security_group_id" {
  description = "The group of workers, as the module `network` gives it: the pages of jobs are opened in it."
  type        = string
}

variable "http_port" {
  description = "The port of a job's pages, that of `http.bind`. Jobs listen on loopback unless `http.bind` names another address and `http.token` is set: without both nobody scrapes anything."
  type        = number
  default     = 9464

  validation {
    condition     = var.http_port >= 1024 && var.http_port <= 65535 && floor(var.http_port) == var.http_port
    error_message = "`http_port` must be a whole number from 1024 to 65535."
  }
}

variable "prometheus_cidrs" {
  description = "Addresses from which a Prometheus may reach `http_port`. Empty, with `prometheus_security_group_ids` empty too: nobody may."
  type        = set(string)
  default     = []

  validation {
    condition = alltrue([
      for cidr in var.prometheus_cidrs : can(cidrnetmask(cidr)) && try(tonumber(split("/", cidr)[1]), 0) >= 8
    ])
    error_message = "`prometheus_cidrs` must be blocks of IPv4 addresses of /8 or smaller, such as `10.1.3.7/32`."
  }
}

variable "prometheus_security_group_ids" {
  description = "Groups whose members may reach `http_port`, by names of your choice, as `{ prometheus = \"sg-…\" }`."
  type        = map(string)
  default     = {}
}

variable "alarm_topic_arns" {
  description = "SNS topics that are told of alarms and of their end. Empty: alarms show in CloudWatch and wake nobody."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.alarm_topic_arns : can(regex("^arn:[a-z-]+:sns:", arn))])
    error_message = "`alarm_topic_arns` must look like `arn:aws:sns:REGION:ACCOUNT:TOPIC`."
  }
}

variable "cpu_percent_max" {
  description = "Use of all cores over a quarter of an hour above which there is an alarm. A job that catches up uses all there is; one that always does falls behind at the next peak. Lower tells sooner that a node is to be added."
  type        = number
  default     = 85

  validation {
    condition     = var.cpu_percent_max >= 1 && var.cpu_percent_max <= 100
    error_message = "`cpu_percent_max` must be from 1 to 100."
  }
}

variable "disk_percent_max" {
  description = "Use of a node's disk above which there is an alarm. A full one stops uploads of releases and the job's logs. It rests on the agent, and says nothing where there is none."
  type        = number
  default     = 80

  validation {
    condition     = var.disk_percent_max >= 1 && var.disk_percent_max <= 100
    error_message = "`disk_percent_max` must be from 1 to 100."
  }
}

variable "log_days" {
  description = "Days that logs of nodes are kept. Longer costs more, and tells more after a trouble that is noticed late."
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
