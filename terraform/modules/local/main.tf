# Hosts on this one Linux machine, for tries and for tests of the launcher: network namespaces on a bridge,
# each with an address, an sshd and mounts of its own. `hosts.sh` makes them, as root.

locals {
  script = abspath("${path.module}/hosts.sh")

  hosts = [
    for index in range(var.worker_count) : {
      name    = "${var.name}-${index}"
      address = cidrhost(var.subnet, index + 1)
    }
  ]
  # This machine, as hosts see it.
  machine = cidrhost(var.subnet, 254)
}

resource "terraform_data" "hosts" {
  # What a host is cannot be changed while it runs.
  triggers_replace = [var.name, var.subnet, var.worker_count, var.directory, var.hidden]

  # A provisioner that destroys sees nothing else.
  input = {
    script    = local.script
    directory = var.directory
    name      = var.name
  }

  provisioner "local-exec" {
    command = "bash \"$SCRIPT\" up \"$DIRECTORY\" \"$NAME\" \"$SUBNET\" \"$COUNT\""
    environment = {
      SCRIPT    = local.script
      DIRECTORY = var.directory
      NAME      = var.name
      SUBNET    = var.subnet
      COUNT     = var.worker_count
      HIDE      = join(":", var.hidden)
    }
  }

  provisioner "local-exec" {
    when    = destroy
    command = "bash \"$SCRIPT\" down \"$DIRECTORY\" \"$NAME\""
    environment = {
      SCRIPT    = self.input.script
      DIRECTORY = self.input.directory
      NAME      = self.input.name
    }
  }
}
