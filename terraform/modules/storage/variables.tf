variable "name" {
  description = "What the bucket is called after, 2 to 20 of `a-z 0-9 -`: `NAME-state-ACCOUNT-REGION`. Another name is another, empty bucket, and a job that has run before refuses to start on it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "`name` must be 2 to 20 of `a-z 0-9 -`, with a letter in front and no `-` at the end."
  }
}

variable "bucket_name" {
  description = "The bucket's whole name, where that is not to be made of `name`. Names of buckets are taken for the whole world."
  type        = string
  default     = ""

  validation {
    condition     = var.bucket_name == "" || can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "`bucket_name` must be empty or 3 to 63 of `a-z 0-9 -`; without dots, with which TLS does not work."
  }
}

variable "prefix" {
  description = "Where in the bucket jobs keep their state. Another one is an empty place: move what is there first."
  type        = string
  default     = "state"

  validation {
    condition     = can(regex("^[a-zA-Z0-9_-]+(/[a-zA-Z0-9_-]+)*$", var.prefix))
    error_message = "`prefix` must be names of `a-z A-Z 0-9 _ -` with `/` between them."
  }
}

variable "old_version_days" {
  description = "Days for which what a job has deleted or replaced can be had back. Jobs delete old snapshots all the time: each day costs about the bytes that are written on it."
  type        = number
  default     = 7

  validation {
    condition     = var.old_version_days >= 1 && floor(var.old_version_days) == var.old_version_days
    error_message = "`old_version_days` must be a whole number from 1."
  }
}

variable "unfinished_upload_days" {
  description = "Days after which the parts of an upload that nobody finished, as of a node that died, are deleted. Until then they cost, and do not show in listings."
  type        = number
  default     = 2

  validation {
    condition     = var.unfinished_upload_days >= 1 && floor(var.unfinished_upload_days) == var.unfinished_upload_days
    error_message = "`unfinished_upload_days` must be a whole number from 1."
  }
}

variable "force_destroy" {
  description = "Whether `terraform destroy` takes the snapshots with it. `false` refuses while there are any; with `true` every job of the bucket is over for good."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of all that is made here: how a bill is split."
  type        = map(string)
  default     = {}
}
