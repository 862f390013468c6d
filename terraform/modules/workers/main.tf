# Nodes: one instance for each process, with a name that stays, made from one template.

data "aws_ssm_parameter" "image" {
  count = var.image_id == "" ? 1 : 0

  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
}

locals {
  workers  = { for index in range(var.worker_count) : "${var.name}-${index}" => index }
  image_id = var.image_id != "" ? var.image_id : data.aws_ssm_parameter.image[0].insecure_value

  # What a node is told at its first start. JSON is YAML.
  first_boot = jsonencode({
    # The name is that of the tag, not the one that Amazon gives at every start.
    preserve_hostname = true
    write_files = concat(
      [
        {
          path        = "/usr/local/sbin/tideflow-first-boot"
          permissions = "0755"
          content     = file("${path.module}/first-boot.sh")
        },
        {
          path        = "/etc/systemd/journald.conf.d/tideflow.conf"
          permissions = "0644"
          content     = "[Journal]\nStorage=persistent\nSystemMaxUse=1G\n"
        },
      ],
      [
        for config in compact([var.agent_config]) : {
          path        = "/etc/tideflow/agent.json"
          permissions = "0644"
          content     = config
        }
      ],
    )
    runcmd = [["/usr/local/sbin/tideflow-first-boot", var.ssh_user]]
  })
}

# ---- what a node may do ----------------------------------------------------------------------------

resource "aws_iam_role" "worker" {
  name        = "${var.name}-worker"
  description = "Workers of Tideflow: their bucket of snapshots"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
  tags = var.tags
}

resource "aws_iam_role_policy" "state" {
  name = "state"
  role = aws_iam_role.worker.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # Without a condition on the prefix: that does not hold for the question whether an object is
        # there, and S3 would answer "forbidden" where a job asks for one that is not.
        Sid      = "List"
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = var.state_bucket_arn
      },
      {
        Sid    = "Snapshots"
        Effect = "Allow"
        Action = [
          "s3:GetObject",
          "s3:PutObject",
          "s3:DeleteObject",
          "s3:AbortMultipartUpload",
          "s3:ListMultipartUploadParts",
        ]
        Resource = "${var.state_bucket_arn}/*"
      },
      {
        Sid      = "Encryption"
        Effect   = "Allow"
        Action   = ["kms:GenerateDataKey", "kms:Decrypt"]
        Resource = var.state_kms_key_arn
      },
    ]
  })
}

resource "aws_iam_role_policy" "session_manager" {
  # checkov:skip=CKV_AWS_290:these actions know no resource; what they open is a session with the node itself
  # checkov:skip=CKV_AWS_355:these actions know no resource; what they open is a session with the node itself
  count = var.session_manager ? 1 : 0

  name = "session-manager"
  role = aws_iam_role.worker.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Action = [
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
        "ec2messages:AcknowledgeMessage",
        "ec2messages:DeleteMessage",
        "ec2messages:FailMessage",
        "ec2messages:GetEndpoint",
        "ec2messages:GetMessages",
        "ec2messages:SendReply",
      ]
      Resource = "*"
    }]
  })
}

resource "aws_iam_instance_profile" "worker" {
  name = "${var.name}-worker"
  role = aws_iam_role.worker.name
  tags = var.tags
}

# ---- nodes -----------------------------------------------------------------------------------------

resource "aws_key_pair" "operator" {
  count = var.ssh_public_key == "" ? 0 : 1

  key_name   = "${var.name}-operator"
  public_key = var.ssh_public_key
  tags       = var.tags
}

resource "aws_launch_template" "worker" {
  name                   = "${var.name}-worker"
  description            = "A node of Tideflow"
  image_id               = local.image_id
  instance_type          = var.instance_type
  key_name               = one(aws_key_pair.operator[*].key_name)
  vpc_security_group_ids = var.security_group_ids
  ebs_optimized          = true
  user_data              = base64encode("#cloud-config\n${local.first_boot}\n")

  iam_instance_profile {
    arn = aws_iam_instance_profile.worker.arn
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = var.disk_gb
      volume_type           = "gp3"
      encrypted             = true
      delete_on_termination = true
    }
  }

  # Credentials of the node only for who can speak first and listen (IMDSv2), and never a hop further.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    # The node learns its name from its tag.
    instance_metadata_tags = "enabled"
  }

  monitoring {
    enabled = true
  }
}

resource "aws_instance" "worker" {
  # checkov:skip=CKV_AWS_8:the launch template encrypts the disk
  # checkov:skip=CKV_AWS_79:the launch template asks for IMDSv2
  # checkov:skip=CKV_AWS_126:the launch template switches detailed monitoring on
  # checkov:skip=CKV_AWS_135:the launch template makes it EBS optimized
  # checkov:skip=CKV2_AWS_41:the launch template gives it its role
  for_each = local.workers

  subnet_id = var.subnet_ids[each.value % length(var.subnet_ids)]
  tags      = merge(var.tags, { Name = each.key })

  launch_template {
    id      = aws_launch_template.worker.id
    version = aws_launch_template.worker.latest_version
  }

  lifecycle {
    # A new image or a new kind of node must not replace all nodes of a running job at once. One by one:
    # `terraform apply -replace='module.workers.aws_instance.worker["NAME-0"]'`.
    # What they do at their first boot is the template's too; the provider would stop a node to say it again.
    ignore_changes = [launch_template, user_data]
  }
}
