mock_provider "aws" {
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-central-1:123456789012:log-group:/tideflow/tide/nodes" }
  }
}

variables {
  name                     = "tide"
  role_name                = "tide-worker"
  worker_security_group_id = "sg-workers"
  instance_ids             = { tide-0 = "i-00000000000000000", tide-1 = "i-11111111111111111" }
}

run "nobody_scrapes_unasked" {
  command = apply

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.prometheus_cidr) + length(aws_vpc_security_group_ingress_rule.prometheus_group) == 0
    error_message = "the pages of jobs are open though nobody is to read them"
  }
}

run "prometheus_reaches_the_pages_and_nothing_else" {
  command = apply

  variables {
    prometheus_cidrs              = ["10.1.3.7/32"]
    prometheus_security_group_ids = { prometheus = "sg-prometheus" }
  }
  assert {
    condition = alltrue([
      for rule in concat(values(aws_vpc_security_group_ingress_rule.prometheus_cidr), values(aws_vpc_security_group_ingress_rule.prometheus_group)) :
      rule.from_port == 9464 && rule.to_port == 9464 && rule.ip_protocol == "tcp" && rule.security_group_id == "sg-workers"
    ])
    error_message = "more than the pages of workers is open"
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.prometheus_group["prometheus"].referenced_security_group_id == "sg-prometheus"
    error_message = "the pages are open to another group"
  }
}

run "every_node_has_its_alarms" {
  command = apply

  variables {
    alarm_topic_arns = ["arn:aws:sns:eu-central-1:123456789012:pager"]
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.gone["tide-1"].dimensions["InstanceId"] == "i-11111111111111111"
    error_message = "the alarm is of another node"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.gone["tide-0"].treat_missing_data == "breaching"
    error_message = "a node that is gone raises no alarm"
  }
  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.disk : contains(alarm.alarm_actions, "arn:aws:sns:eu-central-1:123456789012:pager")])
    error_message = "the alarm wakes nobody"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.disk["tide-0"].namespace == jsondecode(output.agent_config).metrics.namespace
    error_message = "the alarm looks elsewhere than where the agent sends its figures"
  }
}

run "the_agent_may_write_to_its_own_group_only" {
  command = apply

  assert {
    condition     = jsondecode(aws_iam_role_policy.agent.policy).Statement[0].Resource == "arn:aws:logs:eu-central-1:123456789012:log-group:/tideflow/tide/nodes:*"
    error_message = "the agent may write to other log groups"
  }
  assert {
    condition     = jsondecode(output.agent_config).metrics.append_dimensions.InstanceId == "$${aws:InstanceId}"
    error_message = "the agent does not say whose figures it sends"
  }
}

run "pages_for_the_whole_world_are_refused" {
  command = plan

  variables {
    prometheus_cidrs = ["0.0.0.0/0"]
  }
  expect_failures = [var.prometheus_cidrs]
}

run "more_than_all_cores_is_refused" {
  command = plan

  variables {
    cpu_percent_max = 120
  }
  expect_failures = [var.cpu_percent_max]
}

run "a_topic_that_is_none_is_refused" {
  command = plan

  variables {
    alarm_topic_arns = ["pager@example.com"]
  }
  expect_failures = [var.alarm_topic_arns]
}
