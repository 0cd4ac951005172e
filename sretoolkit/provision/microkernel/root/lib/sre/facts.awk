# Texts from hardware are whatever a vendor, or somebody else, wrote there: no shell ever reads one as code.
# mode=facts: the check-in; mode=identity: `kind=value` lines; mode=object: JSON of `key=text` and `key:=number` arguments;
# mode=clean: a text as it is sent (at most 1024 bytes, well-formed UTF-8, no blanks at its end).

BEGIN {
  for (i = 1; i < 256; i++) code[sprintf("%c", i)] = i
  dmi = "/sys/class/dmi/id/"
  if (mode == "object") { object(); exit }
  if (mode == "identity") { identity(); exit }
  if (mode == "facts") { facts(); exit }
}
mode == "clean" { all = all (NR > 1 ? "\n" : "") $0 }
END { if (mode == "clean") printf "%s", clean(all) }

function text(path,   line, whole, between) {
  whole = between = ""
  while ((getline line < path) > 0) { whole = whole between line; between = "\n" }
  close(path)
  return whole
}

function first(command,   line) {
  line = ""
  command | getline line
  close(command)
  return line
}

# bytes of the well-formed character at a place; 0: there is none
function width(raw, place,   lead, bytes, next_, more) {
  lead = code[substr(raw, place, 1)]
  if (lead < 128) return 1
  bytes = lead < 194 ? 0 : lead < 224 ? 2 : lead < 240 ? 3 : lead < 245 ? 4 : 0
  for (more = 1; more < bytes; more++) {
    next_ = code[substr(raw, place + more, 1)] + 0
    if (next_ < 128 || next_ > 191) return 0
    if (more == 1 && (lead == 224 && next_ < 160 || lead == 237 && next_ > 159)) return 0
    if (more == 1 && (lead == 240 && next_ < 144 || lead == 244 && next_ > 143)) return 0
  }
  return bytes
}

function clean(raw,   out, place, bytes) {
  raw = substr(raw, 1, 1024)
  sub(/[ \t\r\n]+$/, "", raw)
  out = ""
  for (place = 1; place <= length(raw); place += bytes) {
    bytes = width(raw, place)
    out = out (bytes ? substr(raw, place, bytes) : "\357\277\275")
    if (!bytes) bytes = 1
  }
  return out
}

function quoted(raw,   out, place, letter) {
  raw = clean(raw)
  out = ""
  for (place = 1; place <= length(raw); place++) {
    letter = substr(raw, place, 1)
    if (letter == "\"" || letter == "\\") out = out "\\" letter
    else if (code[letter] < 32 || code[letter] == 127) out = out sprintf("\\u%04x", code[letter])
    else out = out letter
  }
  return "\"" out "\""
}

function number(raw) { return raw ~ /^-?(0|[1-9][0-9]*)(\.[0-9]+)?$/ ? raw : "null" }
function truth(raw) { return raw + 0 ? "true" : "false" }
function pair(key, value) { return quoted(key) ":" value }
function told(key, path) { return pair(key, quoted(text(path))) "," }

function object(   i, place, out) {
  out = ""
  for (i = 1; i < ARGC; i++) {
    place = index(ARGV[i], "=")
    if (substr(ARGV[i], place - 1, 1) == ":")
      out = out (out ? "," : "") pair(substr(ARGV[i], 1, place - 2), number(substr(ARGV[i], place + 1)))
    else out = out (out ? "," : "") pair(substr(ARGV[i], 1, place - 1), quoted(substr(ARGV[i], place + 1)))
  }
  print "{" out "}"
}

function identity(   i, count, name) {
  print "uuid=" clean(text(dmi "product_uuid"))
  print "serial=" clean(text(dmi "product_serial"))
  count = split(nics, name, " ")
  for (i = 1; i <= count; i++) print "mac=" text("/sys/class/net/" name[i] "/address")
}

function macs(   i, count, name, out) {
  count = split(nics, name, " ")
  out = ""
  for (i = 1; i <= count; i++) out = out (i > 1 ? "," : "") quoted(text("/sys/class/net/" name[i] "/address"))
  return "[" out "]"
}

# A frame is hexadecimal digits, longer than a text may be.
function neighbour(name,   frame) {
  frame = text("/run/lldp/" name)
  return frame ~ /^[0-9a-f]+$/ ? "," pair("lldp", "\"" frame "\"") : ""
}

function cards(   i, count, name, place, out, speed) {
  count = split(nics, name, " ")
  out = ""
  for (i = 1; i <= count; i++) {
    place = "/sys/class/net/" name[i] "/"
    speed = text(place "speed")
    out = out (i > 1 ? "," : "") "{" pair("name", quoted(name[i])) "," told("mac", place "address") \
      pair("speed", speed > 0 ? number(speed) : "null") "," pair("carrier", truth(text(place "carrier"))) "," \
      pair("driver", quoted(first("basename $(readlink " place "device/driver)"))) neighbour(name[i]) "}"
  }
  return "[" out "]"
}

function stores(   i, count, name, place, out, content) {
  count = split(disks, name, " ")
  out = ""
  for (i = 1; i <= count; i++) {
    place = "/run/disks/" name[i] "/"
    content = text(place "content")
    out = out (i > 1 ? "," : "") "{" pair("name", quoted(name[i])) "," pair("bytes", number(text(place "bytes"))) "," \
      told("serial", place "serial") told("model", place "model") \
      pair("rotational", truth(text(place "rotational"))) "," pair("empty", truth(content == "none")) "," \
      told("fingerprint", place "fingerprint") pair("content", quoted(content)) "," \
      (content == "half-written" ? told("half_order", place "half_order") : "") \
      pair("last_mount", number(text(place "last_mount"))) "}"
  }
  return "[" out "]"
}

function processor(   line, found, key) {
  while ((getline line < "/proc/cpuinfo") > 0) {
    key = line
    sub(/[ \t]*:.*/, "", key)
    sub(/^[^:]*:[ \t]*/, "", line)
    if (key == "model name") { found = line; break }
    if (key == "CPU implementer") found = "implementer " line
    if (key == "CPU part") { found = found " part " line; break }
  }
  close("/proc/cpuinfo")
  return found
}

function facts(   said) {
  printf "{%s:{%s:%s,%s%s%s", quoted("hw"), quoted("mac"), macs(), told("uuid", dmi "product_uuid"), \
    told("serial", dmi "product_serial"), pair("asset", quoted(text(dmi "chassis_asset_tag")))
  printf "},%s:{", quoted("facts")
  printf "%s,%s,", pair("cpus", number(cpus)), pair("cpu_model", quoted(processor()))
  printf "%s,%s,", pair("memory_bytes", number(memory)), pair("numa_nodes", number(numa))
  printf "%s,", pair("architecture", quoted(machine == "aarch64" ? "arm64" : machine))
  printf "%s%s%s", told("vendor", dmi "sys_vendor"), told("product", dmi "product_name"), told("version", dmi "product_version")
  printf "%s%s", told("serial", dmi "product_serial"), told("uuid", dmi "product_uuid")
  printf "%s%s", told("asset", dmi "chassis_asset_tag"), told("chassis_serial", dmi "chassis_serial")
  printf "%s%s", told("board_serial", dmi "board_serial"), told("bios_version", dmi "bios_version")
  printf "%s%s,", told("bios_date", dmi "bios_date"), pair("firmware", quoted(firmware))
  printf "%s,%s,", pair("secure_boot", truth(secure)), pair("kernel", quoted(kernel))
  printf "%s,%s", pair("ip", quoted(ip)), told("boot_id", "/proc/sys/kernel/random/boot_id")
  printf "%s,%s,%s}}\n", pair("uptime", number(up)), pair("nics", cards()), pair("disks", stores())
}
