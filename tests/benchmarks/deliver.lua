-- Sends the requests of a prepared file (see prepared.py), each once, from `skip` on, and prints what it measured as JSON.
-- One file and one thread a run: two threads would send the same requests.
local file, spent

function init(args)
  file = assert(io.open(args[1], "rb"))
  file:setvbuf("full", 1048576)
  for _ = 1, tonumber(args[2] or 0) do next_request() end
end

function next_request()
  local line = file:read("*l")
  if not line then return nil end
  return file:read(tonumber(line))
end

function request()
  local found = next_request()
  if not found then
    -- Nothing may be sent twice: the run is void, and says so.
    spent = true
    io.stderr:write("the prepared requests are spent\n")
    os.exit(3)
  end
  return found
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "p999_ms": %f, "max_ms": %f, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    latency:percentile(99.9) / 1000, latency.max / 1000, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
