# A network without a way to the internet: workers talk to each other on one port, to brokers, to S3
# through a gateway, and to the services of AWS that have an endpoint here.

data "aws_region" "current" {}

data "aws_availability_zones" "available" {
  state = "available"

  lifecycle {
    postcondition {
      condition     = length(self.names) >= var.zone_count
      error_message = "`zone_count` is ${var.zone_count}, and the region has ${length(self.names)} availability zones."
    }
  }
}

locals {
  zones = slice(data.aws_availability_zones.available.names, 0, var.zone_count)

  outside_brokers = {
    for pair in setproduct(var.kafka_cidrs, var.kafka_ports) :
    "${pair[0]}:${pair[1]}" => { cidr = pair[0], port = tonumber(pair[1]) }
  }
  outside_clients = {
    for pair in setproduct(var.kafka_client_cidrs, var.kafka_ports) :
    "${pair[0]}:${pair[1]}" => { cidr = pair[0], port = tonumber(pair[1]) }
  }
}

resource "aws_vpc" "this" {
  cidr_block = var.cidr_block
  # Names of endpoints and of brokers resolve to addresses in here with both.
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = merge(var.tags, { Name = var.name })
}

# What is put into no group gets this one, which lets nothing through.
resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.this.id
  tags   = merge(var.tags, { Name = "${var.name}-closed" })
}

resource "aws_subnet" "private" {
  count = var.zone_count

  vpc_id                  = aws_vpc.this.id
  cidr_block              = cidrsubnet(var.cidr_block, 4, count.index)
  availability_zone       = local.zones[count.index]
  map_public_ip_on_launch = false
  tags                    = merge(var.tags, { Name = "${var.name}-private-${count.index}" })
}

resource "aws_route_table" "private" {
  vpc_id = aws_vpc.this.id
  tags   = merge(var.tags, { Name = "${var.name}-private" })
}

resource "aws_route_table_association" "private" {
  count = var.zone_count

  subnet_id      = aws_subnet.private[count.index].id
  route_table_id = aws_route_table.private.id
}

# ---- ways to AWS -----------------------------------------------------------------------------------

resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${data.aws_region.current.name}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [aws_route_table.private.id]
  tags              = merge(var.tags, { Name = "${var.name}-s3" })
}

resource "aws_vpc_endpoint" "service" {
  for_each = var.interface_endpoints

  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${data.aws_region.current.name}.${each.key}"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = aws_subnet.private[*].id
  security_group_ids  = [aws_security_group.endpoints.id]
  private_dns_enabled = true
  tags                = merge(var.tags, { Name = "${var.name}-${each.key}" })
}

resource "aws_security_group" "endpoints" {
  name        = "${var.name}-endpoints"
  description = "Endpoints of AWS services, for workers"
  vpc_id      = aws_vpc.this.id
  tags        = merge(var.tags, { Name = "${var.name}-endpoints" })
}

resource "aws_vpc_security_group_ingress_rule" "endpoints_from_workers" {
  security_group_id            = aws_security_group.endpoints.id
  description                  = "workers call services of AWS"
  referenced_security_group_id = aws_security_group.workers.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

# ---- workers ---------------------------------------------------------------------------------------

resource "aws_security_group" "workers" {
  name        = "${var.name}-workers"
  description = "Workers of Tideflow: each other on the cluster port only"
  vpc_id      = aws_vpc.this.id
  tags        = merge(var.tags, { Name = "${var.name}-workers" })
}

resource "aws_vpc_security_group_ingress_rule" "cluster" {
  security_group_id            = aws_security_group.workers.id
  description                  = "workers meet on the cluster port"
  referenced_security_group_id = aws_security_group.workers.id
  ip_protocol                  = "tcp"
  from_port                    = var.cluster_port
  to_port                      = var.cluster_port
}

resource "aws_vpc_security_group_egress_rule" "cluster" {
  security_group_id            = aws_security_group.workers.id
  description                  = "workers meet on the cluster port"
  referenced_security_group_id = aws_security_group.workers.id
  ip_protocol                  = "tcp"
  from_port                    = var.cluster_port
  to_port                      = var.cluster_port
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  for_each = var.ssh_cidrs

  security_group_id = aws_security_group.workers.id
  description       = "operators"
  cidr_ipv4         = each.key
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
}

resource "aws_vpc_security_group_egress_rule" "kafka" {
  for_each = toset([for port in var.kafka_ports : tostring(port)])

  security_group_id            = aws_security_group.workers.id
  description                  = "workers read from and write to brokers"
  referenced_security_group_id = aws_security_group.kafka.id
  ip_protocol                  = "tcp"
  from_port                    = tonumber(each.key)
  to_port                      = tonumber(each.key)
}

resource "aws_vpc_security_group_egress_rule" "outside_kafka" {
  for_each = local.outside_brokers

  security_group_id = aws_security_group.workers.id
  description       = "workers read from and write to brokers elsewhere"
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "endpoints" {
  security_group_id            = aws_security_group.workers.id
  description                  = "workers call services of AWS"
  referenced_security_group_id = aws_security_group.endpoints.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_vpc_security_group_egress_rule" "s3" {
  security_group_id = aws_security_group.workers.id
  description       = "snapshots, and packages of Amazon Linux"
  prefix_list_id    = aws_vpc_endpoint.s3.prefix_list_id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

# ---- brokers ---------------------------------------------------------------------------------------

resource "aws_security_group" "kafka" {
  name        = "${var.name}-kafka"
  description = "Brokers: encrypted ports only"
  vpc_id      = aws_vpc.this.id
  tags        = merge(var.tags, { Name = "${var.name}-kafka" })
}

resource "aws_vpc_security_group_ingress_rule" "kafka_from_workers" {
  for_each = toset([for port in var.kafka_ports : tostring(port)])

  security_group_id            = aws_security_group.kafka.id
  description                  = "workers read and write"
  referenced_security_group_id = aws_security_group.workers.id
  ip_protocol                  = "tcp"
  from_port                    = tonumber(each.key)
  to_port                      = tonumber(each.key)
}

resource "aws_vpc_security_group_ingress_rule" "kafka_from_outside" {
  for_each = local.outside_clients

  security_group_id = aws_security_group.kafka.id
  description       = "clients that are no workers"
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}
