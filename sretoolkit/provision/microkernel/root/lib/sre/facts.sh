# The check-in's JSON, from the kernel's own files. Sourced.

count() { ls -d "$@" 2>/dev/null | wc -l; }

memory() {
  local block blocks
  block=$(cat /sys/devices/system/memory/block_size_bytes 2>/dev/null)
  blocks=$(count /sys/devices/system/memory/memory[0-9]*)
  if [ -n "$block" ] && [ "$blocks" -gt 0 ]; then
    echo $((0x$block * blocks))
  else
    echo $(($(awk '/^MemTotal:/ { print $2 }' /proc/meminfo) * 1024))
  fi
}

# The firmware's own variable: 4 bytes of attributes, then 1 where signatures are enforced.
secure_boot() {
  local said
  [ -d /sys/firmware/efi ] || { echo 0; return; }
  mount -t efivarfs efivarfs /sys/firmware/efi/efivars 2>/dev/null
  said=$(window /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c 4 1)
  [ "$said" = 01 ] && echo 1 || echo 0
}

# The identity as kind=value lines, in the words in which it was sent.
who_am_i() { awk -f /lib/sre/facts.awk -v mode=identity -v nics="$(nics | tr '\n' ' ')" >/run/identity; }

# By what describe_disks has found.
facts() {
  local nodes
  nodes=$(count /sys/devices/system/node/node[0-9]*)
  [ "$nodes" = 0 ] && nodes=1
  awk -f /lib/sre/facts.awk -v mode=facts -v nics="$(nics | tr '\n' ' ')" -v disks="$(disks | tr '\n' ' ')" \
    -v cpus="$(count /sys/devices/system/cpu/cpu[0-9]*)" -v memory="$(memory)" -v numa="$nodes" -v machine="$(uname -m)" \
    -v firmware="$([ -d /sys/firmware/efi ] && echo uefi || echo bios)" -v secure="$(secure_boot)" \
    -v kernel="$(uname -r)" -v ip="$(cat /run/lease.* | head -n 1)" -v up="$(seconds_up)"
}
