-- wrk script: POST one fixed body for ever; print the result as one line of JSON for load.py.
-- Arguments after "--": the file that holds the body, then headers as "Name: value".

function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method = "POST"
  wrk.body = file:read("*a")
  file:close()
  for position = 2, #args do
    local name, value = args[position]:match("^([^:]+):%s*(.*)$")
    wrk.headers[name] = value
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "duration_us": %d, "body_and_head_bytes": %d, '
      .. '"p50_us": %d, "p99_us": %d, "max_us": %d, "bad_statuses": %d, '
      .. '"connect_errors": %d, "read_errors": %d, "write_errors": %d, "timeouts": %d}\n',
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99), latency.max, errors.status,
    errors.connect, errors.read, errors.write, errors.timeout))
end
