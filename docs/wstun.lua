-- Wireshark dissector for wstun, in the form without encryption: the records and the frame stream of docs/protocol.md §3 to §5
-- and §7.1 in binary WebSocket messages.
--
-- A session is sealed unless the client was started with --encryption off, which it is allowed over wss:// alone: to read one, give
-- Wireshark the TLS keys (NODE_OPTIONS=--tls-keylog=FILE at the client, preference tls.keylog_file). Sealed records show as data.
--
--   tshark -X lua_script:docs/wstun.lua -r capture.pcap -V
--   wireshark -X lua_script:docs/wstun.lua        (or put the file into the folder of personal Lua plugins)
--
-- A conversation is recognised by HELLO at the start of a record. Where a sender cuts HELLO itself, and on links that resume a
-- session, there is none: name the relay's port in the preference "Relay ports" (tshark -o wstun.ports:8080); every WebSocket
-- there is then taken for wstun.
--
-- The WebSocket dissector undoes masks and fragments. A frame that goes on in the next record is shown in the record that
-- completes it; both directions of each connection are kept apart.

local wstun = Proto('wstun', 'wstun multiplexer')

local ACKNOWLEDGES, UNNUMBERED, MAY_WAIT, PLACED, LEAVING, PIECE = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
local HEADER_BYTES = 8
local MAX_PAYLOAD_BYTES = 65511
local FIRST_IGNORABLE_TYPE = 0x80

local HELLO, OPEN, OPENED, OPEN_FAILED, DATA = 0x00, 0x01, 0x02, 0x03, 0x04
local CREDIT, FINISH, RESET, PING, PONG, GO_AWAY, LINKS, DATAGRAM = 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x81, 0x82
local RELAYS = 0x83

local UDP, UDP_LISTENER, ACCEPTED = 2, 5, 6
local IPV4, NAME, IPV6 = 1, 3, 4

local type_names = {
  [HELLO] = 'HELLO',
  [OPEN] = 'OPEN',
  [OPENED] = 'OPENED',
  [OPEN_FAILED] = 'OPEN_FAILED',
  [DATA] = 'DATA',
  [CREDIT] = 'CREDIT',
  [FINISH] = 'FINISH',
  [RESET] = 'RESET',
  [PING] = 'PING',
  [PONG] = 'PONG',
  [GO_AWAY] = 'GO_AWAY',
  [LINKS] = 'LINKS',
  [DATAGRAM] = 'DATAGRAM',
  [RELAYS] = 'RELAYS',
}

-- Least and greatest length of the payload, and whether the frame concerns a stream.
local shapes = {
  [HELLO] = { 8, 1024, false },
  [OPEN] = { 9, 263, true },
  [OPENED] = { 4, 23, true },
  [OPEN_FAILED] = { 2, 2, true },
  [DATA] = { 0, MAX_PAYLOAD_BYTES, true },
  [CREDIT] = { 4, 4, true },
  [FINISH] = { 0, 0, true },
  [RESET] = { 2, 2, true },
  [PING] = { 8, 8, false },
  [PONG] = { 8, 8, false },
  [GO_AWAY] = { 6, 6, false },
  [LINKS] = { 5, 5, false },
  [DATAGRAM] = { 0, 65500, true },
}

-- src/errors.ts; a test holds the two together.
local codes = {
  [1] = 'bad-frame',
  [2] = 'bad-version',
  [3] = 'bad-stream-id',
  [4] = 'window-exceeded',
  [5] = 'credit-overflow',
  [6] = 'peer-flood',
  [7] = 'peer-silent',
  [8] = 'out-of-ids',
  [9] = 'wrong-state',
  [10] = 'shutting-down',
  [11] = 'access-removed',
  [12] = 'link-lost',
  [13] = 'not-connected',
  [14] = 'exit-absent',
  [15] = 'internal',
  [16] = 'too-many-sessions',
  [17] = 'keys-rotated',
  [18] = 'overloaded',
  [19] = 'too-many-links',
  [20] = 'bad-record',
  [21] = 'session-unknown',
  [22] = 'session-expired',
  [23] = 'session-gap',
  [24] = 'session-closed',
  [32] = 'dial-refused',
  [33] = 'dial-host-unreachable',
  [34] = 'dial-network-unreachable',
  [35] = 'dial-not-allowed',
  [36] = 'dial-timed-out',
  [37] = 'dial-name-unknown',
  [38] = 'dial-name-failed',
  [39] = 'dial-bad-target',
  [40] = 'dial-busy',
  [41] = 'dial-failed',
  [42] = 'target-reset',
  [43] = 'dial-cancelled',
  [44] = 'quota-used',
  [45] = 'service-unknown',
  [46] = 'listen-not-allowed',
  [47] = 'listen-in-use',
  [48] = 'listen-failed',
}

local services = {
  [1] = 'TCP connection',
  [UDP] = 'UDP association',
  [3] = 'DNS resolver',
  [4] = 'TCP listener',
  [UDP_LISTENER] = 'UDP listener',
  [ACCEPTED] = 'accepted connection',
}
local kinds = { [IPV4] = 'IPv4 address', [NAME] = 'name', [IPV6] = 'IPv6 address' }

local f = {
  flags = ProtoField.uint8('wstun.record.flags', 'Flags', base.HEX),
  may_wait = ProtoField.bool('wstun.record.may_wait', 'Its acknowledgement may wait', 8, nil, MAY_WAIT),
  leaving = ProtoField.bool('wstun.record.leaving', 'The sender wants to be without this link', 8, nil, LEAVING),
  number = ProtoField.uint64('wstun.record.number', 'Number', base.DEC),
  floor = ProtoField.uint16('wstun.record.floor', 'Follows all up to so many before', base.DEC),
  followed = ProtoField.uint16('wstun.record.followed', 'Follows the one so many before', base.DEC),
  offset = ProtoField.uint16('wstun.record.offset', 'Offset of the piece', base.DEC),
  total = ProtoField.uint16('wstun.record.total', 'Bytes of the whole record', base.DEC),
  acknowledged = ProtoField.uint64('wstun.record.acknowledged', 'Acknowledged positions', base.DEC),
  received = ProtoField.uint32('wstun.record.received_us', 'Received at, µs of the sender of this', base.DEC),
  type = ProtoField.uint8('wstun.type', 'Type', base.HEX, type_names),
  length = ProtoField.uint24('wstun.length', 'Length', base.DEC),
  stream = ProtoField.uint32('wstun.stream', 'Stream', base.DEC),
  version = ProtoField.uint16('wstun.version', 'Version', base.DEC),
  features = ProtoField.uint16('wstun.features', 'Features', base.HEX),
  max_streams = ProtoField.uint32('wstun.max_streams', 'Max streams', base.DEC),
  credit = ProtoField.uint32('wstun.credit', 'Credit', base.DEC),
  service = ProtoField.uint8('wstun.service', 'Service', base.DEC, services),
  kind = ProtoField.uint8('wstun.kind', 'Kind', base.DEC, kinds),
  port = ProtoField.uint16('wstun.port', 'Port', base.DEC),
  host = ProtoField.bytes('wstun.host', 'Host'),
  target = ProtoField.string('wstun.target', 'Target'),
  address = ProtoField.string('wstun.address', 'Address'),
  listener = ProtoField.uint32('wstun.listener', 'Stream of the listener', base.DEC),
  code = ProtoField.uint16('wstun.code', 'Code', base.DEC, codes),
  data = ProtoField.bytes('wstun.data', 'Data'),
  opaque = ProtoField.bytes('wstun.opaque', 'Opaque'),
  wanted = ProtoField.uint8('wstun.links', 'Links wanted', base.DEC),
  max_bytes = ProtoField.uint32('wstun.links.max_bytes', 'Bytes that a link may carry', base.DEC),
  last_stream = ProtoField.uint32('wstun.last_stream', 'Last stream', base.DEC),
  rest = ProtoField.bytes('wstun.continued', 'Goes on in the next record'),
}
wstun.fields = f

local malformed =
  ProtoExpert.new('wstun.bad_frame', 'Malformed frame: the peer ends the session', expert.group.MALFORMED, expert.severity.ERROR)
wstun.experts = { malformed }

local tcp_stream = Field.new('tcp.stream')

-- By connection: is it wstun? By connection and direction: the beginning of a frame that has not come whole, and whether
-- the frame stream is lost. By packet and position in it: what the record was to be read behind, for later passes.
local known, directions, records
-- By connection and stream, of an association: whether its datagrams have addresses.
local addressed

function wstun.init()
  known, directions, records, addressed = {}, {}, {}, {}
end

local function connection()
  local field = tcp_stream()
  return field and field.value or -1
end

-- ── one frame ────────────────────────────────────────────────────────────────────────────────────────────────────────────

local function host_and_port(kind, port, host)
  if kind == IPV4 and host:len() == 4 then return tostring(host:ipv4()) .. ':' .. port end
  if kind == IPV6 and host:len() == 16 then return '[' .. tostring(host:ipv6()) .. ']:' .. port end
  if kind == NAME then return host:string() .. ':' .. port end
  return 'malformed'
end

-- Adds kind, port and host, which stand there, and what they say together.
local function add_address(tree, field, body, at, host)
  tree:add(f.kind, body(at, 1))
  tree:add(f.port, body(at + 1, 2))
  tree:add(f.host, host)
  local text = host_and_port(body(at, 1):uint(), body(at + 1, 2):uint(), host)
  tree:add(field, body(at), text):set_generated()
  return text
end

-- The address at the start of a datagram: where its host begins, and how long that is. Nothing if it is cut or unknown.
local function datagram_host(body)
  if body:len() < 4 then return nil end
  local kind = body(0, 1):uint()
  local start = kind == NAME and 4 or 3
  local size = kind == NAME and body(3, 1):uint() or (kind == IPV4 and 4) or (kind == IPV6 and 16) or 0
  if size == 0 or body:len() < start + size then return nil end
  return start, size
end

local function key_of(stream)
  return connection() .. '/' .. stream
end

local function code_name(code)
  return codes[code] or ('code ' .. code)
end

-- Each adds its payload to the tree and returns what the summary says of it.
local payloads = {
  [HELLO] = function(body, tree)
    tree:add(f.version, body(0, 2))
    tree:add(f.features, body(2, 2))
    tree:add(f.max_streams, body(4, 4))
    return 'version ' .. body(0, 2):uint() .. ', max streams ' .. body(4, 4):uint()
  end,
  [OPEN] = function(body, tree, stream)
    local service = body(4, 1):uint()
    tree:add(f.credit, body(0, 4))
    tree:add(f.service, body(4, 1))
    local host = 8
    local of = ''
    if service == ACCEPTED and body:len() > 12 then
      tree:add(f.listener, body(8, 4))
      of = ' of #' .. body(8, 4):uint()
      host = 12
    end
    local target = add_address(tree, f.target, body, 5, body(host))
    if service == UDP or service == UDP_LISTENER then
      addressed[key_of(stream)] = service == UDP_LISTENER or body(6, 2):uint() == 0
    end
    local what = service == 1 and '' or (services[service] or ('service ' .. service)) .. of .. ' '
    return what .. target .. ', credit ' .. body(0, 4):uint()
  end,
  [OPENED] = function(body, tree)
    tree:add(f.credit, body(0, 4))
    local credit = 'credit ' .. body(0, 4):uint()
    if body:len() == 4 then return credit end
    return 'at ' .. add_address(tree, f.address, body, 4, body(7)) .. ', ' .. credit
  end,
  [CREDIT] = function(body, tree)
    tree:add(f.credit, body(0, 4))
    return 'credit ' .. body(0, 4):uint()
  end,
  [OPEN_FAILED] = function(body, tree)
    tree:add(f.code, body(0, 2))
    return code_name(body(0, 2):uint())
  end,
  [DATA] = function(body, tree)
    tree:add(f.data, body)
    return body:len() .. ' bytes'
  end,
  [PING] = function(body, tree)
    tree:add(f.opaque, body)
    return tostring(body:bytes())
  end,
  [GO_AWAY] = function(body, tree)
    tree:add(f.code, body(0, 2))
    tree:add(f.last_stream, body(2, 4))
    return code_name(body(0, 2):uint()) .. ', last stream ' .. body(2, 4):uint()
  end,
  [LINKS] = function(body, tree)
    tree:add(f.wanted, body(0, 1))
    tree:add(f.max_bytes, body(1, 4))
    return body(0, 1):uint() .. ' wanted, ' .. body(1, 4):uint() .. ' bytes each'
  end,
}
payloads[DATAGRAM] = function(body, tree, stream)
  -- Of a session that was resumed, OPEN was on another connection.
  local start, size
  if addressed[key_of(stream)] then start, size = datagram_host(body) end
  if not start then return payloads[DATA](body, tree) end
  local address = add_address(tree, f.address, body, 0, body(start, size))
  local rest = body:len() - start - size
  if rest > 0 then tree:add(f.data, body(start + size)) end
  return address .. ' ' .. rest .. ' bytes'
end
payloads[RELAYS] = function(body, tree)
  local urls = {}
  local at = 1
  for _ = 1, body:len() > 0 and body(0, 1):uint() or 0 do
    local length = at + 2 <= body:len() and body(at, 2):uint() or 0
    if length == 0 or at + 2 + length > body:len() then break end
    urls[#urls + 1] = body(at + 2, length):string()
    at = at + 2 + length
  end
  tree:add(f.data, body)
  return table.concat(urls, ', ')
end
payloads[RESET] = payloads[OPEN_FAILED]
payloads[PONG] = payloads[PING]

local function is_well_formed(type, length, stream, numbered)
  if stream > 0x7fffffff or not numbered and type < FIRST_IGNORABLE_TYPE then return false end
  if type == OPENED and length > 4 and length ~= 11 and length ~= 23 then return false end
  local shape = shapes[type]
  if not shape then return type >= FIRST_IGNORABLE_TYPE and length <= MAX_PAYLOAD_BYTES end
  return length >= shape[1] and length <= shape[2] and (stream > 0) == shape[3]
end

local function summary(type, stream, said)
  local name = type_names[type] or string.format('0x%02x', type)
  local of = stream > 0 and (' #' .. stream) or ''
  return name .. of .. (said and (' ' .. said) or '')
end

-- `range` is the whole frame. Returns its summary, or nothing if it is malformed.
local function dissect_frame(range, tree)
  local type, length, stream = range(0, 1):uint(), range(1, 3):uint(), range(4, 4):uint()
  local branch = tree:add(wstun, range)
  branch:add(f.type, range(0, 1))
  branch:add(f.length, range(1, 3))
  branch:add(f.stream, range(4, 4))
  local payload = payloads[type]
  local said = payload and length > 0 and payload(range(HEADER_BYTES, length), branch, stream) or nil
  local text = summary(type, stream, said)
  branch:set_text('wstun ' .. text)
  return text
end

-- ── one record ───────────────────────────────────────────────────────────────────────────────────────────────────────────

local function has(flags, flag)
  return math.floor(flags / flag) % 2 == 1
end

-- The length of what stands before the frames, or nothing if it is no header.
local function header_length(tvb, flags)
  local length = has(flags, ACKNOWLEDGES) and 11 or 1
  if has(flags, PLACED) then
    if tvb:len() < length + 9 then return nil end
    length = length + 9 + 2 * tvb(length + 8, 1):uint()
  end
  if has(flags, PIECE) then length = length + 4 end
  return tvb:len() >= length and length or nil
end

-- Of a session with several links (docs/protocol.md §10.2).
local function dissect_placement(tvb, branch, at, flags, said)
  branch:add(f.number, tvb(at, 6))
  branch:add(f.floor, tvb(at + 6, 2))
  table.insert(said, 'record ' .. tostring(tvb(at, 6):uint64()))
  local count = tvb(at + 8, 1):uint()
  for i = 0, count - 1 do branch:add(f.followed, tvb(at + 9 + 2 * i, 2)) end
  if not has(flags, PIECE) then return end
  local piece = at + 9 + 2 * count
  branch:add(f.offset, tvb(piece, 2))
  branch:add(f.total, tvb(piece + 2, 2))
  table.insert(said, 'piece at ' .. tvb(piece, 2):uint() .. ' of ' .. tvb(piece + 2, 2):uint())
end

-- Shows what stands before the frames. Returns its length, or nothing if it is no header; and what follows: the frame
-- stream (`numbered`), frames of this record alone (`datagrams`), or a piece of a record.
local function dissect_header(tvb, root, said)
  local flags = tvb(0, 1):uint()
  local acknowledges, numbered = has(flags, ACKNOWLEDGES), not has(flags, UNNUMBERED)
  local length = flags < 2 * PIECE and header_length(tvb, flags)
  if not length then return nil end
  local branch = root:add(wstun, tvb(0, length), numbered and 'wstun record' or 'wstun record, not numbered')
  branch:add(f.flags, tvb(0, 1))
  branch:add(f.may_wait, tvb(0, 1))
  branch:add(f.leaving, tvb(0, 1))
  if acknowledges then
    branch:add(f.acknowledged, tvb(1, 6))
    branch:add(f.received, tvb(7, 4))
    table.insert(said, 'ack ' .. tostring(tvb(1, 6):uint64()))
  end
  if has(flags, PLACED) then dissect_placement(tvb, branch, acknowledges and 11 or 1, flags, said) end
  return length, has(flags, PIECE) and 'piece' or numbered and 'numbered' or 'datagrams'
end

local function dissect_malformed(range, tree, said)
  tree:add(wstun, range, 'wstun malformed frame'):add_proto_expert_info(malformed)
  table.insert(said, 'malformed')
end

-- Reads whole frames from `range`. Returns where what is left begins, or nothing when a frame is malformed.
local function dissect_frames(range, tree, said, numbered)
  local at, size = 0, range:len()
  while size - at >= HEADER_BYTES do
    local type, length, stream = range(at, 1):uint(), range(at + 1, 3):uint(), range(at + 4, 4):uint()
    if not is_well_formed(type, length, stream, numbered) then return dissect_malformed(range(at), tree, said) end
    if size - at < HEADER_BYTES + length then break end
    table.insert(said, dissect_frame(range(at, HEADER_BYTES + length), tree))
    at = at + HEADER_BYTES + length
  end
  return at
end

-- The state of the record's direction as it was before this record: on the first pass the running one, later what was kept.
local function state_before(pinfo)
  local position = tonumber(pinfo.private['wstun_records'] or '0') + 1
  pinfo.private['wstun_records'] = tostring(position)
  local record = pinfo.number .. '/' .. position
  local direction = connection() .. '/' .. tostring(pinfo.src) .. '/' .. pinfo.src_port
  if not records[record] then records[record] = directions[direction] or { begun = ByteArray.new() } end
  return records[record], direction
end

function wstun.dissector(tvb, pinfo, root)
  if tvb:len() == 0 then return 0 end
  known[connection()] = true
  local before, direction = state_before(pinfo)
  pinfo.cols.protocol = 'wstun'
  if before.lost then return tvb:len() end

  local said = {}
  local header, following = dissect_header(tvb, root, said)
  if not header then
    directions[direction] = { lost = true }
    return tvb:len()
  end
  if following ~= 'numbered' or header == tvb:len() then
    directions[direction] = before
    if following == 'datagrams' and header < tvb:len() then
      local rest = dissect_frames(tvb(header), root, said, false)
      if rest and header + rest < tvb:len() then dissect_malformed(tvb(header + rest), root, said) end
    end
    pinfo.cols.info = table.concat(said, ', ')
    return tvb:len()
  end
  local range = tvb(header)
  if before.begun:len() > 0 then
    local whole = ByteArray.new()
    whole:append(before.begun)
    whole:append(range:bytes())
    range = whole:tvb('wstun frames continued')()
  end
  local rest = dissect_frames(range, root, said, true)
  if not rest then
    directions[direction] = { lost = true }
  elseif rest < range:len() then
    root:add(f.rest, range(rest))
    table.insert(said, 'continued')
    directions[direction] = { begun = range(rest):bytes() }
  else
    directions[direction] = { begun = ByteArray.new() }
  end
  pinfo.cols.info = table.concat(said, ', ')
  return tvb:len()
end

-- ── registration ─────────────────────────────────────────────────────────────────────────────────────────────────────────

local function looks_like_hello(tvb)
  if tvb:len() < 1 or tvb(0, 1):uint() > ACKNOWLEDGES then return false end
  local at = tvb(0, 1):uint() == ACKNOWLEDGES and 11 or 1
  if tvb:len() < at + HEADER_BYTES + 8 then return false end
  local length = tvb(at + 1, 3):uint()
  local header = tvb(at, 1):uint() == HELLO and length >= 8 and length <= 1024 and tvb(at + 4, 4):uint() == 0
  -- As few features as there are so far: what looks less like HELLO is taken for somebody else's.
  return header and tvb(at + 8, 2):uint() == 1 and tvb(at + 10, 2):uint() < 0x100
end

wstun:register_heuristic('ws', function(tvb, pinfo, root)
  if not known[connection()] and not looks_like_hello(tvb) then return false end
  wstun.dissector(tvb, pinfo, root)
  return true
end)

wstun.prefs.ports = Pref.range('Relay ports', '', 'TCP ports whose WebSockets all carry wstun', 65535)

local claimed = ''

function wstun.prefs_changed()
  local table_of_ports = DissectorTable.get('ws.port')
  if claimed ~= '' then table_of_ports:remove(claimed, wstun) end
  claimed = wstun.prefs.ports
  if claimed ~= '' then table_of_ports:add(claimed, wstun) end
end
