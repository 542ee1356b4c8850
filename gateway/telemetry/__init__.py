"""What others see of the gateway with tools of their own: metrics, log lines, traces.

``definitions`` is the one table of metrics: what is exposed, the tables of the documentation, the
dashboards and the alert rules in ``deploy/`` are made from it.
"""

from gateway.telemetry.folds import Metrics as Metrics
from gateway.telemetry.log import JsonFormatter as JsonFormatter
from gateway.telemetry.log import log_line as log_line
