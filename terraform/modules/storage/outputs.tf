output "state_url" {
  description = "Where jobs keep their state: `job.state`. Part of the contract with the launcher."
  value       = "s3://${aws_s3_bucket.state.bucket}/${var.prefix}"

  # A job must find the bucket as it is to be, not before it is encrypted.
  depends_on = [
    aws_s3_bucket_versioning.state,
    aws_s3_bucket_server_side_encryption_configuration.state,
    aws_s3_bucket_public_access_block.state,
    aws_s3_bucket_policy.state,
  ]
}

output "bucket_arn" {
  description = "The bucket, for the rights of workers."
  value       = aws_s3_bucket.state.arn
}

output "kms_key_arn" {
  description = "The key that it is encrypted with, for the rights of workers."
  value       = aws_kms_key.state.arn
}
