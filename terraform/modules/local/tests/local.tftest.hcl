# Plans only: an apply needs root, and is what `scripts/terraform.sh local` does.

variables {
  directory = "/tmp/tideflow-hosts"
}

run "hosts_are_a_list_of_names_and_addresses" {
  command = plan

  assert {
    condition     = join(" ", [for host in output.hosts : "${host.name}=${host.address}"]) == "tide-0=10.77.5.1 tide-1=10.77.5.2 tide-2=10.77.5.3"
    error_message = "expected three hosts with the first three addresses"
  }
  assert {
    condition     = alltrue([for host in output.hosts : length(keys(host)) == 2])
    error_message = "expected a name and an address of each host, and nothing else"
  }
  assert {
    condition     = output.bootstrap_brokers == "10.77.5.254:9092"
    error_message = "expected a broker on this machine"
  }
  assert {
    condition     = output.ssh_key == "/tmp/tideflow-hosts/id_ed25519" && output.ssh_known_hosts == "/tmp/tideflow-hosts/known_hosts"
    error_message = "expected the key and the keys of hosts in the directory"
  }
}

run "another_network" {
  command = plan

  variables {
    name              = "other"
    subnet            = "192.168.77.0/24"
    worker_count      = 2
    bootstrap_brokers = "kafka-0:9092,kafka-1:9092"
  }
  assert {
    condition     = output.hosts[1].name == "other-1" && output.hosts[1].address == "192.168.77.2" && output.machine_address == "192.168.77.254"
    error_message = "hosts have other names or addresses than were asked for"
  }
  assert {
    condition     = output.bootstrap_brokers == "kafka-0:9092,kafka-1:9092"
    error_message = "expected the brokers that were given"
  }
}

run "a_public_subnet_is_refused" {
  command = plan

  variables {
    subnet = "8.8.8.0/24"
  }
  expect_failures = [var.subnet]
}

run "a_large_subnet_is_refused" {
  command = plan

  variables {
    subnet = "10.77.0.0/16"
  }
  expect_failures = [var.subnet]
}

run "a_host_for_a_subnet_is_refused" {
  command = plan

  variables {
    subnet = "10.77.5.1/24"
  }
  expect_failures = [var.subnet]
}

run "a_relative_directory_is_refused" {
  command = plan

  variables {
    directory = "hosts"
  }
  expect_failures = [var.directory]
}

run "a_long_name_is_refused" {
  command = plan

  variables {
    name = "averylongname"
  }
  expect_failures = [var.name]
}

run "no_host_is_refused" {
  command = plan

  variables {
    worker_count = 0
  }
  expect_failures = [var.worker_count]
}
