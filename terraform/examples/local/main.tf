# Hosts on this Linux machine that the launcher takes for nodes: no account, no cost, a second.
#
#   sudo terraform init
#   sudo terraform apply
#   terraform output -json > terraform.json        # what `cluster.toml` takes its hosts from
#   sudo ssh -i hosts/id_ed25519 -o UserKnownHostsFile=hosts/known_hosts root@10.77.5.1
#   sudo terraform destroy
#
# After a restart of the machine the hosts are gone and Terraform does not know: `terraform destroy`, then
# apply again. A network without one host for a while: `hosts.sh cut` in the module's folder.

module "hosts" {
  source = "../../modules/local"

  name              = var.name
  worker_count      = var.worker_count
  subnet            = var.subnet
  directory         = var.directory != "" ? var.directory : abspath("${path.root}/hosts")
  bootstrap_brokers = var.bootstrap_brokers
  hidden            = var.hidden
}
