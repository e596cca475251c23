-- Sends the requests of a file in turn: `<length>\n<bytes>` each. Prints what came of it as JSON.
-- wrk -s wrk.lua URL -- FILE PREFIX
local requests, turn, serial = {}, 0, 0
local prefix = ""

function init(args)
  local file = assert(io.open(args[1], "rb"))
  prefix = args[2]
  local length = file:read("*n")
  while length do
    file:read(1)
    requests[#requests + 1] = file:read(length)
    length = file:read("*n")
  end
  file:close()
  if requests[1]:find("@@@@@@@@@@@@", 1, true) then
    request = function()
      turn = turn % #requests + 1
      serial = serial + 1
      return (requests[turn]:gsub("@@@@@@@@@@@@", string.format("%s%06d", prefix, serial)))
    end
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "max_ms": %f, ' ..
    '"refused": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3,
    e.status, e.connect + e.read + e.write + e.timeout))
end
