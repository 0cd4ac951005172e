# What the machine has: words of the kernel's command line, drivers, network. Sourced.

consoles() { cat /sys/class/tty/console/active 2>/dev/null || echo console; }

say() {
  local console
  for console in $(consoles); do
    printf 'sretoolkit: %s\n' "$*" >"/dev/$console"
  done
}

seconds_up() { cut -d' ' -f1 /proc/uptime; }

# argument NAME: its value on the kernel's command line, which holds nothing secret
argument() {
  local word
  for word in $(cat /proc/cmdline); do
    case $word in "$1"=*) echo "${word#*=}"; return ;; esac
  done
}

# On these lie disks, cards and keyboards; the last two are how firmware names Hyper-V's bus and virtio on a board.
BUSES='^(pci|virtio|usb|hid|scsi|vmbus|xen|of|mmc):|^acpi:(VMBUS|LNRO0005)'

# A loaded bus shows devices that ask for more drivers: again until nothing new asks.
load_drivers() {
  local round asks
  echo nothing >/run/asked
  for round in 1 2 3 4 5; do
    asks=$(find /sys/devices -name modalias -exec cat {} + 2>/dev/null | grep -E "$BUSES" | sort -u | grep -vxF -f /run/asked)
    [ -n "$asks" ] || break
    echo "$asks" >>/run/asked
    set -f
    modprobe -a -b -q $asks 2>/dev/null
    set +f
  done
}

nics() {
  local nic
  for nic in /sys/class/net/*; do
    [ -e "$nic/device" ] && echo "${nic##*/}"
  done
}

# Asks for an address on every card with a carrier that has not asked yet; those go on asking, and renew, by themselves.
# From then on its neighbour is listened for, which nothing waits for.
start_dhcp() {
  local nic
  for nic in $(nics); do
    [ -e "/run/asking.$nic" ] && continue
    ip link set "$nic" up 2>/dev/null
    [ "$(cat "/sys/class/net/$nic/carrier" 2>/dev/null)" = 1 ] || continue
    : >"/run/asking.$nic"
    udhcpc -f -i "$nic" -s /lib/sre/lease.sh -t 5 -T 1 -A 3 >/dev/null 2>&1 &
    listen "$nic" >/dev/null 2>&1 &
  done
}

has_address() { [ -n "$(ls /run/lease.* 2>/dev/null)" ]; }

network_up() {
  local waited
  ip link set lo up
  waited=0
  until start_dhcp; has_address; do
    sleep 0.2
    waited=$((waited + 1))
    [ $((waited % 50)) = 0 ] && say "no address yet, after $((waited / 5)) s; cards: $(nics | tr '\n' ' ')"
  done
}

# The disks and cards there are, to see whether that has changed.
hardware() { ls /sys/block | grep -v '^loop'; nics; }

# Controllers find their disks a moment after their driver: wait until nothing new came for a moment.
settle() {
  local waited=0 before= now
  while [ $waited -lt 20 ]; do
    now=$(hardware)
    [ "$now" = "$before" ] && [ -n "$(disks)" ] && return
    before=$now
    sleep 0.25
    waited=$((waited + 1))
  done
}
