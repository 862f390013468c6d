variable "name" {
  description = "Hosts are called `NAME-0`, `NAME-1`, …, 1 to 10 of `a-z 0-9`. Two networks on a machine need two names; another name makes all hosts anew."
  type        = string
  default     = "tide"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{0,9}$", var.name))
    error_message = "`name` must be 1 to 10 of `a-z 0-9`, with a letter in front: names of network interfaces are short."
  }
}

variable "worker_count" {
  description = "Hosts. Each takes 5 MB until something runs on it; all share the cores and the memory of this machine. Another number makes all hosts anew, empty."
  type        = number
  default     = 3

  validation {
    condition     = var.worker_count >= 1 && var.worker_count <= 32 && floor(var.worker_count) == var.worker_count
    error_message = "`worker_count` must be a whole number from 1 to 32."
  }
}

variable "subnet" {
  description = "Addresses of the hosts, a private /24: hosts are .1, .2, …, and this machine is .254 to them. One that this machine uses already is refused."
  type        = string
  default     = "10.77.5.0/24"

  validation {
    condition     = can(regex("^(10\\.[0-9]+|192\\.168|172\\.(1[6-9]|2[0-9]|3[01]))\\.[0-9]+\\.[0-9]+/24$", var.subnet)) && try(cidrhost(var.subnet, 0) == split("/", var.subnet)[0], false)
    error_message = "`subnet` must be a private block of 256 addresses, such as `10.77.5.0/24`."
  }
}

variable "directory" {
  description = "An absolute path: where the key, `known_hosts`, `hosts.json`, the disks of the hosts and the folder that they share are. It must not be there yet, or be empty; what is made in it goes with the hosts, state of jobs too."
  type        = string

  validation {
    condition     = can(regex("^/[^\\s'\"]+$", var.directory)) && var.directory != "/"
    error_message = "`directory` must be an absolute path without spaces and quotes."
  }
}

variable "bootstrap_brokers" {
  description = "Brokers to ask first, as `host:port,…`. Empty: port 9092 of this machine as hosts see it, where a broker of yours has to listen, and to say so to its clients."
  type        = string
  default     = ""

  validation {
    condition     = var.bootstrap_brokers == "" || can(regex("^[^\\s,:]+:[0-9]+(,[^\\s,:]+:[0-9]+)*$", var.bootstrap_brokers))
    error_message = "`bootstrap_brokers` must be empty or `host:port`, separated by commas."
  }
}

variable "hidden" {
  description = "Further folders of this machine that hosts must not see, absolute paths. The checkout and the caches of builds are hidden anyway, as are `/home`, `/opt` and `/root`."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for path in var.hidden : can(regex("^/[^\\s:]+$", path))])
    error_message = "`hidden` must be absolute paths without spaces and colons."
  }
}
