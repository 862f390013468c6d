output "hosts" {
  description = "The nodes in the order of the job's processes: a name, and the address at which the others and ssh reach it. Part of the contract with the launcher."
  value = [
    for index in range(var.worker_count) : {
      name    = "${var.name}-${index}"
      address = aws_instance.worker["${var.name}-${index}"].private_ip
    }
  ]
}

output "instance_ids" {
  description = "The instance of each node, by its name: for alarms, and for `aws ec2 get-console-output`, which has its host keys."
  value       = { for name, worker in aws_instance.worker : name => worker.id }
}

output "role_name" {
  description = "The role of nodes, for whoever has to let them do more."
  value       = aws_iam_role.worker.name
}

output "ssh_user" {
  description = "Whom the launcher logs in as."
  value       = var.ssh_user
}
