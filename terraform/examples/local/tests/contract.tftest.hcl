# A plan only: an apply needs root, and is what `scripts/terraform.sh local` does.

run "the_contract_holds" {
  command = plan

  variables {
    directory = "/tmp/tideflow-hosts"
  }
  assert {
    condition     = join(" ", [for host in output.hosts : "${host.name}=${host.address}"]) == "tide-0=10.77.5.1 tide-1=10.77.5.2 tide-2=10.77.5.3"
    error_message = "`hosts` is no list of names and addresses"
  }
  assert {
    condition     = output.bootstrap_brokers == "10.77.5.254:9092" && output.machine_address == "10.77.5.254"
    error_message = "`bootstrap_brokers` is not on this machine"
  }
  assert {
    condition     = startswith(output.state_url, "/")
    error_message = "`state_url` is no folder that all hosts share"
  }
  assert {
    condition = (
      output.ssh_user == "root" &&
      output.ssh_key == "/tmp/tideflow-hosts/id_ed25519" &&
      output.ssh_known_hosts == "/tmp/tideflow-hosts/known_hosts"
    )
    error_message = "the launcher is not told how to log in"
  }
}

run "the_folder_is_beside_the_example_unless_it_is_named" {
  command = plan

  assert {
    condition     = endswith(output.ssh_key, "/hosts/id_ed25519") && startswith(output.ssh_key, "/")
    error_message = "expected a folder of an absolute path, beside the example"
  }
}
