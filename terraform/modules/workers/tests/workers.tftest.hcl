# Where the provider looks at the shape of an identifier, a made-up one must have it.
mock_provider "aws" {
  mock_data "aws_ssm_parameter" {
    defaults = { insecure_value = "ami-0123456789abcdef0" }
  }
  mock_resource "aws_iam_instance_profile" {
    defaults = { arn = "arn:aws:iam::123456789012:instance-profile/tide-worker" }
  }
  mock_resource "aws_launch_template" {
    defaults = { id = "lt-0123456789abcdef0", latest_version = 1 }
  }
  mock_resource "aws_instance" {
    defaults = { id = "i-0123456789abcdef0", private_ip = "10.40.1.7" }
  }
}

variables {
  name               = "tide"
  subnet_ids         = ["subnet-a", "subnet-b"]
  security_group_ids = ["sg-workers"]
  state_bucket_arn   = "arn:aws:s3:::tide-state"
  state_kms_key_arn  = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  ssh_public_key     = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJcNnQfJ0DVlQn5FV9gSxQ5oCkUuQ2mGmK1u0oTq3X5v test"
}

run "hosts_are_a_list_of_names_and_addresses" {
  command = apply

  assert {
    condition     = join(" ", [for host in output.hosts : host.name]) == "tide-0 tide-1 tide-2"
    error_message = "expected the hosts tide-0, tide-1 and tide-2, in this order"
  }
  assert {
    condition     = alltrue([for host in output.hosts : host.address == "10.40.1.7" && length(keys(host)) == 2])
    error_message = "expected a name and a private address of each host, and nothing else"
  }
  assert {
    condition     = toset(keys(output.instance_ids)) == toset(["tide-0", "tide-1", "tide-2"])
    error_message = "expected the instances by the names of their hosts"
  }
  assert {
    condition     = output.ssh_user == "ec2-user"
    error_message = "expected the user of Amazon Linux"
  }
}

run "twelve_hosts_are_in_the_order_of_their_numbers" {
  command = apply

  variables {
    worker_count = 12
  }
  assert {
    condition     = output.hosts[10].name == "tide-10" && output.hosts[2].name == "tide-2"
    error_message = "hosts are in the order of letters, not of numbers"
  }
}

run "workers_are_spread_over_subnets" {
  command = apply

  assert {
    condition = (
      aws_instance.worker["tide-0"].subnet_id == "subnet-a" &&
      aws_instance.worker["tide-1"].subnet_id == "subnet-b" &&
      aws_instance.worker["tide-2"].subnet_id == "subnet-a"
    )
    error_message = "workers are not in the subnets in turn"
  }
}

run "fewer_workers_are_the_first_ones" {
  command = apply

  variables {
    worker_count = 1
  }
  assert {
    condition     = join(" ", keys(aws_instance.worker)) == "tide-0"
    error_message = "another worker than the first one is left"
  }
}

run "disks_are_encrypted_and_credentials_guarded" {
  command = apply

  assert {
    condition     = aws_launch_template.worker.block_device_mappings[0].ebs[0].encrypted == "true"
    error_message = "the disk is not encrypted"
  }
  assert {
    condition = (
      aws_launch_template.worker.metadata_options[0].http_tokens == "required" &&
      aws_launch_template.worker.metadata_options[0].http_put_response_hop_limit == 1
    )
    error_message = "credentials are to be had without IMDSv2, or a hop away"
  }
}

run "a_node_may_use_its_bucket_and_no_other" {
  command = apply

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.state.policy).Statement :
      contains([
        "arn:aws:s3:::tide-state",
        "arn:aws:s3:::tide-state/*",
        "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000",
      ], statement.Resource)
    ])
    error_message = "the role reaches more than the bucket of snapshots and its key"
  }
  assert {
    condition = !anytrue([
      for action in flatten([for statement in jsondecode(aws_iam_role_policy.state.policy).Statement : statement.Action]) :
      endswith(action, "*") || strcontains(action, "Delete") && action != "s3:DeleteObject"
    ])
    error_message = "the role may do more than read, write, list and delete objects"
  }
}

run "without_session_manager" {
  command = apply

  variables {
    session_manager = false
  }
  assert {
    condition     = length(aws_iam_role_policy.session_manager) == 0
    error_message = "nodes may talk to Session Manager though they must not"
  }
}

run "a_first_start_says_what_to_do" {
  command = apply

  variables {
    agent_config = "{\"agent\":{}}"
  }
  assert {
    condition     = startswith(base64decode(aws_launch_template.worker.user_data), "#cloud-config\n")
    error_message = "cloud-init would not read that"
  }
  assert {
    condition = toset([for file in yamldecode(base64decode(aws_launch_template.worker.user_data)).write_files : file.path]) == toset([
      "/usr/local/sbin/tideflow-first-boot",
      "/etc/systemd/journald.conf.d/tideflow.conf",
      "/etc/tideflow/agent.json",
    ])
    error_message = "expected the script of the first start, the journal's limit and the agent's settings"
  }
}

run "an_image_of_your_own" {
  command = apply

  variables {
    image_id = "ami-0fedcba9876543210"
  }
  assert {
    condition     = aws_launch_template.worker.image_id == "ami-0fedcba9876543210" && length(data.aws_ssm_parameter.image) == 0
    error_message = "nodes have another image than the one that was asked for"
  }
}

run "no_worker_is_refused" {
  command = plan

  variables {
    worker_count = 0
  }
  expect_failures = [var.worker_count]
}

run "half_a_worker_is_refused" {
  command = plan

  variables {
    worker_count = 2.5
  }
  expect_failures = [var.worker_count]
}

run "a_burstable_type_is_refused" {
  command = plan

  variables {
    instance_type = "t3.large"
  }
  expect_failures = [var.instance_type]
}

run "an_arm_type_is_refused" {
  command = plan

  variables {
    instance_type = "c7g.xlarge"
  }
  expect_failures = [var.instance_type]
}

run "a_key_that_is_none_is_refused" {
  command = plan

  variables {
    ssh_public_key = "-----BEGIN OPENSSH PRIVATE KEY-----"
  }
  expect_failures = [var.ssh_public_key]
}

run "no_subnet_is_refused" {
  command = plan

  variables {
    subnet_ids = []
  }
  expect_failures = [var.subnet_ids]
}

run "a_tag_that_nodes_cannot_read_is_refused" {
  command = plan

  variables {
    tags = { "cost/centre" = "42" }
  }
  expect_failures = [var.tags]
}

run "a_tiny_disk_is_refused" {
  command = plan

  variables {
    disk_gb = 5
  }
  expect_failures = [var.disk_gb]
}
