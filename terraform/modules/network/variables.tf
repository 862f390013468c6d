variable "name" {
  description = "What everything here is called after, 2 to 20 of `a-z 0-9 -`. Another name is another network: changing it replaces all of it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "`name` must be 2 to 20 of `a-z 0-9 -`, with a letter in front and no `-` at the end."
  }
}

variable "cidr_block" {
  description = "The network's addresses, /16 to /20. It must not overlap with networks that it is to be joined to, as the one that you reach the workers from; it cannot be changed without replacing everything."
  type        = string
  default     = "10.40.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.cidr_block)) && contains([16, 17, 18, 19, 20], try(tonumber(split("/", var.cidr_block)[1]), 0))
    error_message = "`cidr_block` must be a block of IPv4 addresses from /16 to /20, such as `10.40.0.0/16`."
  }
}

variable "zone_count" {
  description = "Availability zones, and private subnets, one in each. 3 bears the loss of a zone: with 2, a loss leaves Kafka one copy of what it holds. Traffic between zones is paid for, and takes about a millisecond."
  type        = number
  default     = 3

  validation {
    condition     = contains([2, 3], var.zone_count)
    error_message = "`zone_count` must be 2 or 3."
  }
}

variable "cluster_port" {
  description = "The port on which a worker's process is reached by the others, the one port that is open between workers. The same as in `cluster.toml`: with another one the processes never meet."
  type        = number
  default     = 2101

  validation {
    condition     = var.cluster_port >= 1024 && var.cluster_port <= 65535 && floor(var.cluster_port) == var.cluster_port
    error_message = "`cluster_port` must be a whole number from 1024 to 65535."
  }
}

variable "kafka_ports" {
  description = "Ports of the brokers that workers may reach: 9094 for TLS and 9096 for SCRAM over TLS, as MSK has them. Without the port of `bootstrap_brokers` a job finds no broker."
  type        = set(number)
  default     = [9094, 9096]

  validation {
    condition     = length(var.kafka_ports) > 0 && alltrue([for port in var.kafka_ports : port >= 1 && port <= 65535])
    error_message = "`kafka_ports` must have one port or more, from 1 to 65535."
  }
}

variable "kafka_cidrs" {
  description = "Addresses of brokers that are not of the module `kafka`, as those of a cluster that you have. Workers may reach `kafka_ports` there; the way to them (peering, transit gateway) is yours to make."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.kafka_cidrs : can(cidrnetmask(cidr))])
    error_message = "`kafka_cidrs` must be blocks of IPv4 addresses, such as `10.8.0.0/24`."
  }
}

variable "kafka_client_cidrs" {
  description = "Addresses from which others than workers reach the brokers of the module `kafka`, as the gateways that send readings. Empty: workers only."
  type        = set(string)
  default     = []

  validation {
    condition = alltrue([
      for cidr in var.kafka_client_cidrs : can(cidrnetmask(cidr)) && try(tonumber(split("/", cidr)[1]), 0) >= 8
    ])
    error_message = "`kafka_client_cidrs` must be blocks of IPv4 addresses of /8 or smaller, such as `10.9.0.0/24`."
  }
}

variable "ssh_cidrs" {
  description = "Addresses from which ssh is let in, as those of your VPN: where `tideflow up` runs. Empty lets nobody in by the network; Session Manager remains. Never the whole world: a block larger than /8 is refused."
  type        = set(string)
  default     = []

  validation {
    condition = alltrue([
      for cidr in var.ssh_cidrs : can(cidrnetmask(cidr)) && try(tonumber(split("/", cidr)[1]), 0) >= 8
    ])
    error_message = "`ssh_cidrs` must be blocks of IPv4 addresses of /8 or smaller, such as `10.1.2.0/24`; not `0.0.0.0/0`."
  }
}

variable "interface_endpoints" {
  description = "Services of AWS that instances reach from inside the network; there is no other way out. `ssm`, `ssmmessages` and `ec2messages` are for Session Manager, `logs` and `monitoring` for the CloudWatch agent. Each costs by the hour and zone; without one, what needs it does not work, and jobs run all the same."
  type        = set(string)
  default     = ["ec2messages", "logs", "monitoring", "ssm", "ssmmessages"]

  validation {
    condition     = alltrue([for service in var.interface_endpoints : can(regex("^[a-z][a-z0-9.-]*$", service))])
    error_message = "`interface_endpoints` must be names of services as in `com.amazonaws.REGION.NAME`, such as `logs`."
  }
}

variable "tags" {
  description = "Tags of all that is made here, besides `Name`: how a bill is split."
  type        = map(string)
  default     = {}
}
