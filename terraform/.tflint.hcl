# All rules that tflint has for Terraform itself. Those for AWS are a plugin that is not used: what they look
# at, the provider and checkov look at too.
plugin "terraform" {
  enabled = true
  preset  = "all"
}
