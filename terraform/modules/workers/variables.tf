variable "name" {
  description = "Workers are called `NAME-0`, `NAME-1`, …, 2 to 20 of `a-z 0-9 -`. Another name replaces all of them."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "`name` must be 2 to 20 of `a-z 0-9 -`, with a letter in front and no `-` at the end."
  }
}

variable "worker_count" {
  description = "Nodes, of which each runs one process. More carry more readings, as long as the input topic has a partition for each of their threads. Fewer takes away the last ones: `tideflow rescale` first, then apply, or the job loses a process."
  type        = number
  default     = 3

  validation {
    condition     = var.worker_count >= 1 && var.worker_count <= 64 && floor(var.worker_count) == var.worker_count
    error_message = "`worker_count` must be a whole number from 1 to 64."
  }
}

variable "instance_type" {
  description = "The kind of all nodes, x86-64. All have the same: the last bits of a model's scores may differ between kinds of processor. No burstable one (`t3`): when its credits are used up a job falls behind. A change takes a node when it is replaced."
  type        = string
  default     = "c6i.xlarge"

  validation {
    condition     = can(regex("^[a-z]+[0-9][a-z0-9-]*\\.[a-z0-9-]+$", var.instance_type)) && !can(regex("^(t[0-9]|[a-z]+[0-9]+g)", var.instance_type))
    error_message = "`instance_type` must be an x86-64 one that is not burstable, such as `c6i.xlarge`."
  }
}

variable "image_id" {
  description = "The image of nodes. Empty takes the newest Amazon Linux 2023, which has glibc 2.34, Session Manager's agent and Amazon's clock; a program built on a newer glibc needs an image of your own. Nodes that run keep theirs until they are replaced."
  type        = string
  default     = ""

  validation {
    condition     = var.image_id == "" || can(regex("^ami-[0-9a-f]{8,17}$", var.image_id))
    error_message = "`image_id` must be empty or look like `ami-0123456789abcdef0`."
  }
}

variable "ssh_user" {
  description = "The user of that image, who may `sudo` without a password: whom `tideflow up` logs in as. `ec2-user` on Amazon Linux; with a wrong one no login works."
  type        = string
  default     = "ec2-user"

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_-]{0,31}$", var.ssh_user))
    error_message = "`ssh_user` must be the name of a user, such as `ec2-user`."
  }
}

variable "ssh_public_key" {
  description = "The public half of the key that logs in, as in `id_ed25519.pub`. Empty: no key, and only Session Manager gets in, which the launcher does not use. Another key takes a node when it is replaced."
  type        = string
  default     = ""

  validation {
    condition     = var.ssh_public_key == "" || can(regex("^(ssh-ed25519|ssh-rsa) [A-Za-z0-9+/=]+( .*)?$", var.ssh_public_key))
    error_message = "`ssh_public_key` must be empty or one line that begins with `ssh-ed25519` or `ssh-rsa`."
  }
}

variable "subnet_ids" {
  description = "Private subnets that workers are spread over in turn. One zone is sooner for the traffic between workers and goes as one; several outlive a zone, as far as there are nodes left."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) > 0
    error_message = "`subnet_ids` must name one subnet or more."
  }
}

variable "security_group_ids" {
  description = "Groups of workers, as the module `network` makes one: they say who reaches them."
  type        = list(string)

  validation {
    condition     = length(var.security_group_ids) > 0
    error_message = "`security_group_ids` must name one group or more: the default one lets nothing through."
  }
}

variable "disk_gb" {
  description = "The encrypted disk of a node, in GB: the system takes 3, a release with TensorFlow 1, and a few releases are kept. State is not on it but in the bucket. Too small a disk stops uploads, and then the job's logs."
  type        = number
  default     = 30

  validation {
    condition     = var.disk_gb >= 10 && var.disk_gb <= 1000 && floor(var.disk_gb) == var.disk_gb
    error_message = "`disk_gb` must be a whole number from 10 to 1000."
  }
}

variable "state_bucket_arn" {
  description = "The bucket of snapshots. Workers may read, write and list it and no other."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:s3:::[a-z0-9.-]+$", var.state_bucket_arn))
    error_message = "`state_bucket_arn` must look like `arn:aws:s3:::BUCKET`."
  }
}

variable "state_kms_key_arn" {
  description = "The key that the bucket is encrypted with. Workers may use it for that; without the right one every snapshot fails."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.state_kms_key_arn))
    error_message = "`state_kms_key_arn` must look like `arn:aws:kms:REGION:ACCOUNT:key/ID`."
  }
}

variable "session_manager" {
  description = "Whether nodes may talk to Session Manager, a shell without ssh. `false` leaves ssh as the only way in, and none where there is no key."
  type        = bool
  default     = true
}

variable "agent_config" {
  description = "Settings of the CloudWatch agent in JSON, as the module `observability` gives them. Empty: no agent. A node takes them when it is made."
  type        = string
  default     = ""

  validation {
    condition     = var.agent_config == "" || can(jsondecode(var.agent_config))
    error_message = "`agent_config` must be empty or JSON."
  }
}

variable "tags" {
  description = "Tags of all that is made here, besides `Name`: how a bill is split. Nodes can read theirs, and that bears neither spaces nor `/` in a key."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key in keys(var.tags) : can(regex("^[A-Za-z0-9+=.,_:@-]{1,128}$", key))])
    error_message = "`tags`: a key must be 1 to 128 of `a-z A-Z 0-9 + - = . , _ : @`."
  }
}
