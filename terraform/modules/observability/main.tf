# What is watched of nodes, whatever runs on them: whether they are there, cores, disk, logs of the
# system; and who may read the pages of jobs. Figures of jobs are Prometheus's.

locals {
  # What the agent of each node sends.
  namespace = "Tideflow/${var.name}"

  agent = {
    agent = { metrics_collection_interval = 60 }
    metrics = {
      namespace              = local.namespace
      append_dimensions      = { InstanceId = "$${aws:InstanceId}" }
      aggregation_dimensions = [["InstanceId"]]
      metrics_collected = {
        mem  = { measurement = ["mem_used_percent"] }
        disk = { measurement = ["disk_used_percent"], resources = ["/"] }
      }
    }
    logs = {
      logs_collected = {
        files = {
          collect_list = [
            for stream, path in { first-boot = "/var/log/cloud-init-output.log", tideflow = "/var/log/tideflow/*.log" } : {
              file_path                      = path
              log_group_name                 = aws_cloudwatch_log_group.nodes.name
              log_stream_name                = "{instance_id}/${stream}"
            }
          ]
        }
      }
    }
  }
}

# ---- who may scrape --------------------------------------------------------------------------------

resource "aws_vpc_security_group_ingress_rule" "prometheus_cidr" {
  for_each = var.prometheus_cidrs

  security_group_id = var.worker_security_group_id
  description       = "Prometheus reads the pages of jobs"
  cidr_ipv4         = each.key
  ip_protocol       = "tcp"
  from_port         = var.http_port
  to_port           = var.http_port
}

resource "aws_vpc_security_group_ingress_rule" "prometheus_group" {
  for_each = var.prometheus_security_group_ids

  security_group_id            = var.worker_security_group_id
  description                  = "Prometheus reads the pages of jobs"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = var.http_port
  to_port                      = var.http_port
}

# ---- logs and figures of nodes ---------------------------------------------------------------------

resource "aws_cloudwatch_log_group" "nodes" {
  name              = "/tideflow/${var.name}/nodes"
  retention_in_days = var.log_days
  tags              = var.tags
}

resource "aws_iam_role_policy" "agent" {
  # checkov:skip=CKV_AWS_290:PutMetricData knows no resource; the condition holds it to one namespace
  # checkov:skip=CKV_AWS_355:PutMetricData knows no resource; the condition holds it to one namespace
  name = "cloudwatch-agent"
  role = var.role_name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Logs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.nodes.arn}:*"
      },
      {
        Sid       = "Figures"
        Effect    = "Allow"
        Action    = ["cloudwatch:PutMetricData"]
        Resource  = "*"
        Condition = { StringEquals = { "cloudwatch:namespace" = local.namespace } }
      },
    ]
  })
}

# ---- alarms ----------------------------------------------------------------------------------------

resource "aws_cloudwatch_metric_alarm" "gone" {
  for_each = var.instance_ids

  alarm_name          = "${each.key}-gone"
  alarm_description   = "The node ${each.key} does not answer. Its job has ended everywhere and waits for it: replace the node, or `tideflow rescale` to those that are left."
  namespace           = "AWS/EC2"
  metric_name         = "StatusCheckFailed"
  dimensions          = { InstanceId = each.value }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 2
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  # A node that is gone says nothing at all.
  treat_missing_data = "breaching"
  alarm_actions      = var.alarm_topic_arns
  ok_actions         = var.alarm_topic_arns
  tags               = var.tags
}

resource "aws_cloudwatch_metric_alarm" "cpu" {
  for_each = var.instance_ids

  alarm_name          = "${each.key}-cpu"
  alarm_description   = "The node ${each.key} is busy all the time: look at the job's lag, and add a node with `tideflow rescale`."
  namespace           = "AWS/EC2"
  metric_name         = "CPUUtilization"
  dimensions          = { InstanceId = each.value }
  statistic           = "Average"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.cpu_percent_max
  treat_missing_data  = "missing"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "disk" {
  for_each = var.instance_ids

  alarm_name          = "${each.key}-disk"
  alarm_description   = "The disk of the node ${each.key} fills up: the next release may not fit on it. Old releases are in `/opt/tideflow`."
  namespace           = local.namespace
  metric_name         = "disk_used_percent"
  dimensions          = { InstanceId = each.value }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.disk_percent_max
  treat_missing_data  = "missing"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags
}
