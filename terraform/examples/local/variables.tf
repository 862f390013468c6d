variable "name" {
  description = "Hosts are called `NAME-0`, `NAME-1`, …. Two networks on a machine need two names."
  type        = string
  default     = "tide"
}

variable "worker_count" {
  description = "Hosts. Another number makes all of them anew, empty."
  type        = number
  default     = 3
}

variable "subnet" {
  description = "Addresses of the hosts: a private /24 that this machine does not use."
  type        = string
  default     = "10.77.5.0/24"
}

variable "directory" {
  description = "Where the key, `known_hosts` and the hosts' disks are: a path that is not there yet. Empty: `hosts` beside this file."
  type        = string
  default     = ""
}

variable "bootstrap_brokers" {
  description = "Brokers to ask first. Empty: port 9092 of this machine, as hosts see it."
  type        = string
  default     = ""
}

variable "hidden" {
  description = "Further folders that hosts must not see."
  type        = list(string)
  default     = []
}
