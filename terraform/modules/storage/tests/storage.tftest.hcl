# Where the provider looks at the shape of an identifier, a made-up one must have it.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = {
      id  = "tide-state-123456789012-eu-central-1"
      arn = "arn:aws:s3:::tide-state-123456789012-eu-central-1"
    }
  }
}

variables {
  name = "tide"
}

run "the_bucket_is_called_after_account_and_region" {
  command = apply

  assert {
    condition     = aws_s3_bucket.state.bucket == "tide-state-123456789012-eu-central-1"
    error_message = "expected a name that nobody else has"
  }
  assert {
    condition     = output.state_url == "s3://tide-state-123456789012-eu-central-1/state"
    error_message = "expected the address that a job takes as `job.state`"
  }
}

run "nothing_is_public" {
  command = apply

  assert {
    condition = (
      aws_s3_bucket_public_access_block.state.block_public_acls == true &&
      aws_s3_bucket_public_access_block.state.block_public_policy == true &&
      aws_s3_bucket_public_access_block.state.ignore_public_acls == true &&
      aws_s3_bucket_public_access_block.state.restrict_public_buckets == true
    )
    error_message = "public access is not blocked in all four ways"
  }
  assert {
    condition     = one(aws_s3_bucket_ownership_controls.state.rule).object_ownership == "BucketOwnerEnforced"
    error_message = "access lists count"
  }
}

run "versioned_encrypted_and_over_tls_only" {
  command = apply

  assert {
    condition     = aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled"
    error_message = "the bucket is not versioned"
  }
  assert {
    condition = (
      one(aws_s3_bucket_server_side_encryption_configuration.state.rule).apply_server_side_encryption_by_default[0].sse_algorithm == "aws:kms" &&
      one(aws_s3_bucket_server_side_encryption_configuration.state.rule).apply_server_side_encryption_by_default[0].kms_master_key_id == output.kms_key_arn
    )
    error_message = "the bucket is not encrypted with its key"
  }
  assert {
    condition = anytrue([
      for statement in jsondecode(aws_s3_bucket_policy.state.policy).Statement :
      statement.Effect == "Deny" && try(statement.Condition.Bool["aws:SecureTransport"], "") == "false"
    ])
    error_message = "the bucket answers without TLS"
  }
}

run "old_versions_and_unfinished_uploads_go" {
  command = apply

  variables {
    old_version_days       = 3
    unfinished_upload_days = 1
  }
  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.state.rule[0].noncurrent_version_expiration[0].noncurrent_days == 3
    error_message = "old versions stay"
  }
  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.state.rule[1].abort_incomplete_multipart_upload[0].days_after_initiation == 1
    error_message = "parts of unfinished uploads stay"
  }
}

run "snapshots_are_not_destroyed_unasked" {
  command = apply

  assert {
    condition     = aws_s3_bucket.state.force_destroy == false
    error_message = "`terraform destroy` would take the snapshots with it"
  }
}

run "a_name_of_your_own" {
  command = apply

  variables {
    bucket_name = "snapshots-of-the-fleet"
    prefix      = "tideflow/prod"
  }
  assert {
    condition     = output.state_url == "s3://snapshots-of-the-fleet/tideflow/prod"
    error_message = "expected the bucket and the prefix that were asked for"
  }
}

run "a_bucket_with_dots_is_refused" {
  command = plan

  variables {
    bucket_name = "snapshots.example.com"
  }
  expect_failures = [var.bucket_name]
}

run "a_prefix_with_a_slash_in_front_is_refused" {
  command = plan

  variables {
    prefix = "/state"
  }
  expect_failures = [var.prefix]
}

run "old_versions_for_no_day_are_refused" {
  command = plan

  variables {
    old_version_days = 0
  }
  expect_failures = [var.old_version_days]
}
