local math = setmetatable({pow = false}, {__index = math})
local table = setmetatable({unpack = unpack, getn = false}, {__index = table})
local unpack, loadstring, setfenv, getfenv = nil, nil, nil, nil
local redis = (function(redis)
  local real = {call = redis.call, pcall = redis.pcall}
  -- What is refused while memory is full; XGROUP in all its forms.
  local adds = {HINCRBY = true, HSET = true, HSETNX = true, PSETEX = true, SET = true, XADD = true, XGROUP = true, ZADD = true}
  -- A write that changes nothing tells whether it is.
  local probe = real.pcall('SETRANGE', 'probe', 0, '')
  local is_full = type(probe) == 'table' and probe.err ~= nil
  local function known(key, group, consumer)
    local consumers = real.pcall('XINFO', 'CONSUMERS', key, group)
    for i = 1, consumers.err and 0 or #consumers do
      if consumers[i][2] == consumer then return true end
    end
    return false
  end
  local function ask(command, ...)
    local words = {...}
    -- Also under pcall: the server itself stops, there is no error to catch.
    if not safe[command] and not safe[command .. ' ' .. tostring(words[1])] then
      error({err = stops .. ' ' .. command})
    end
    for i = 1, #words do
      if words[i] == 'BLOCK' or (command == 'XCLAIM' and (words[i] == 'IDLE' or words[i] == 'TIME')) then
        return {err = 'ERR not as it is on Redis: ' .. command .. ' ' .. words[i]}
      end
    end
    if command == 'XPENDING' then
      -- The filter by a consumer that does not exist is ignored.
      local whole = words[3] == 'IDLE' and 7 or 5
      if #words > whole and not known(words[1], words[2], words[#words]) then words[#words] = nil end
    end
    -- Also after the script has written: Redis lets a script go on that has begun to write.
    if is_full and adds[command] then return {err = '-ERR Out of memory'} end
    local reply = real.pcall(command, table.unpack(words))
    if type(reply) == 'table' and reply.err then
      if command == 'XCLAIM' and string.find(reply.err, 'NOGROUP', 1, true) then return {} end
      if command == 'XPENDING' and string.find(reply.err, 'NOGROUP', 1, true) then return {err = '-ERR no such key'} end
      if string.find(reply.err, 'OOM', 1, true) then return {err = '-ERR Out of memory'} end
      return {err = '-' .. reply.err}
    end
    if command == 'TIME' then return {tonumber(reply[1]), math.floor(tonumber(reply[2]) / 1000) * 1000} end
    if command == 'ZSCORE' and reply then return tonumber(reply) end
    return reply
  end
  return {
    pcall = ask,
    call = function(...)
      local reply = ask(...)
      if type(reply) == 'table' and reply.err then
        error({err = '-ERR Error running script (call to it): @user_script:1: ' .. reply.err})
      end
      return reply
    end,
  }
end)(redis)
