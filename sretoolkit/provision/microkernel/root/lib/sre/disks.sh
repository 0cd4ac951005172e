# Disks: which there are, what is on them, and whether one is the disk that was meant. Sourced.

MIB=1048576
ZEROS=30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58 # sha256 of a MiB of zeros

# Fixed disks that can be written, by the kernel's names.
disks() {
  local disk
  for disk in /sys/block/*; do
    case ${disk##*/} in loop* | ram* | zram* | sr* | fd* | dm-* | md* | nbd* | *boot[01] | *rpmb) continue ;; esac
    [ -e "$disk/device" ] || continue
    [ "$(cat "$disk/removable")$(cat "$disk/ro")" = 00 ] || continue
    [ "$(cat "$disk/size")" -gt 0 ] && echo "${disk##*/}"
  done
}

disk_bytes() { echo $(($(cat "/sys/block/$1/size") * 512)); }

# The serial as the disk says it; SCSI and SATA disks have it in a page of vital product data, behind 4 bytes.
raw_serial() {
  local place
  for place in "/sys/block/$1/serial" "/sys/block/$1/device/serial"; do
    [ -s "$place" ] && { cat "$place"; return; }
  done
  tail -c +5 "/sys/block/$1/device/vpd_pg80" 2>/dev/null
}

disk_serial() { raw_serial "$1" | awk -f /lib/sre/facts.awk -v mode=clean; }

# Forget what was read before: the next read is answered by the disk.
forget() {
  sync
  blockdev --flushbufs "/dev/$1"
  echo 3 >/proc/sys/vm/drop_caches
}

fingerprint() { forget "$1"; dd if="/dev/$1" bs=1M count=1 2>/dev/null | sha256sum | cut -c1-64; }

# window DEVICE OFFSET BYTES: so many bytes as hexadecimal digits
window() { dd if="$1" bs=64k skip="$2" count="$3" iflag=skip_bytes,count_bytes 2>/dev/null | hexdump -v -e '1/1 "%02x"'; }

# little HEX: a little-endian number
little() {
  local rest=$1 number=
  while [ -n "$rest" ]; do
    number=${rest:0:2}$number
    rest=${rest:2}
  done
  echo $((0x${number:-0}))
}

# content DEVICE: what its first bytes say that it holds
content() {
  local head
  head=$(window "$1" 0 4608)
  case $head in
    737265746f6f6c6b69742068616c662d7772697474656e*) echo half-written; return ;; # "sretoolkit half-written"
    58465342*) echo xfs; return ;;
    4c554b53babe*) echo luks; return ;;
    fc4e2ba9*) echo md; return ;;
  esac
  case ${head:1024:16}:${head:8192:16} in
    4546492050415254:* | *:4546492050415254) echo gpt; return ;; # "EFI PART", of sectors of 512 or 4096 bytes
    4c4142454c4f4e45:*) echo lvm; return ;;                      # "LABELONE"
    *:fc4e2ba9*) echo md; return ;;
  esac
  [ "${head:2160:4}" = 53ef ] && { echo ext4; return; }
  [ "${head:8172:20}" = 53574150535041434532 ] && { echo swap; return; } # "SWAPSPACE2"
  [ "${head:6:8}" = 4e544653 ] && { echo ntfs; return; }
  case ${head:108:8}:${head:164:8} in 46415431:* | *:46415433) echo vfat; return ;; esac # "FAT1", "FAT3"
  [ "$(window "$1" 65600 8)" = 5f42485266535f4d ] && { echo btrfs; return; }
  [ "$(window "$1" 32769 5)" = 4344303031 ] && { echo iso9660; return; }
  [ "${head:1020:4}" = 55aa ] && { echo mbr; return; }
  echo unknown
}

# last_mount NAME: the newest mount that an ext file system on the disk, or on its first partitions, remembers
last_mount() {
  local newest= device super mounted
  for device in "/dev/$1" $(ls -d /sys/block/"$1"/"$1"* 2>/dev/null | sed 's/.*\//\/dev\//' | head -n 16); do
    super=$(window "$device" 1024 64)
    [ "${super:112:4}" = 53ef ] || continue
    mounted=$(little "${super:88:8}")
    [ "$mounted" -gt "${newest:-0}" ] && newest=$mounted
  done
  echo "$newest"
}

# zeros DEVICE BLOCK: whether 64 KiB at that place are zero
zeros() { [ -z "$(dd if="$1" bs=65536 skip="$2" count=1 2>/dev/null | tr -d '\000' | head -c 1)" ]; }

# empty NAME: nothing in the first MiB, nor in the last, nor in samples between
empty() {
  local last place
  [ "$print" = $ZEROS ] || return 1
  last=$(($(disk_bytes "$1") / 65536))
  for place in $((last - 16)) $((last - 8)) $((last - 1)) 1 2 3 4 5 6 7; do
    [ "$place" -lt 8 ] && place=$((last / 8 * place))
    zeros "/dev/$1" "$place" || return 1
  done
}

# Write down what each disk is, for the facts: /run/disks/NAME/WHAT
describe_disks() {
  local name place print
  rm -rf /run/disks
  for name in $(disks); do
    place=/run/disks/$name
    mkdir -p "$place"
    print=$(fingerprint "$name")
    disk_bytes "$name" >"$place/bytes"
    disk_serial "$name" >"$place/serial"
    awk -f /lib/sre/facts.awk -v mode=clean "/sys/block/$name/device/model" >"$place/model" 2>/dev/null
    cat "/sys/block/$name/queue/rotational" >"$place/rotational"
    echo "$print" >"$place/fingerprint"
    last_mount "$name" >"$place/last_mount"
    if empty "$name"; then
      echo none >"$place/content"
    else
      content "/dev/$name" >"$place/content"
    fi
    [ "$(cat "$place/content")" = half-written ] &&
      head -n 1 "/dev/$name" | sed -n 's/.*order=\([A-Za-z0-9._-]*\)$/\1/p' >"$place/half_order"
  done
}

# mark ORDER: the MiB that says that a disk is half-way through an order, and from which nothing boots
mark() {
  printf 'sretoolkit half-written order=%s\n' "$1" >/run/mark
  truncate -s $MIB /run/mark
  cat /run/mark
}

# check_target: is this the machine and is one disk the disk of /run/order? Sets DISK, or WHY and fails.
check_target() {
  local wanted named name serial size
  DISK=
  identity || return 1
  wanted=$(word disk_serial /run/order)
  named=$(word disk_name /run/order)
  for name in $(disks); do
    serial=$(disk_serial "$name")
    if [ -n "$wanted" ]; then
      [ "$serial" = "$wanted" ] || continue
      [ -n "$DISK" ] && { WHY="two disks have the serial $wanted"; return 1; }
    else
      [ "$name" = "$named" ] || continue
      [ -n "$serial" ] && { WHY="the disk $name has the serial $serial, the order's disk has none"; return 1; }
    fi
    DISK=$name
  done
  [ -n "$DISK" ] || { WHY="there is no disk ${wanted:-$named}"; return 1; }
  size=$(word disk_bytes /run/order)
  [ "$(disk_bytes "$DISK")" = "$size" ] || { WHY="the disk $DISK has $(disk_bytes "$DISK") bytes, not $size"; return 1; }
  same_content
}

# The disk holds what it held when it was decided on, or the mark of this very order, which lost power on its way.
same_content() {
  local meant found
  meant=$(word disk_fingerprint /run/order)
  found=$(fingerprint "$DISK")
  [ -n "$meant" ] || { WHY="the order does not say what the disk $DISK holds"; return 1; }
  [ "$found" = "$meant" ] && return
  [ "$found" = "$(mark "$ORDER" | sha256sum | cut -c1-64)" ] && return
  WHY="the disk $DISK holds something else than when it was decided on (fingerprint $found, not $meant)"
  return 1
}

# Each identity that the order names must be this machine's; an order that names none is none.
identity() {
  local checked kind meant
  who_am_i
  checked=0
  for kind in uuid serial mac; do
    meant=$(word "expect_$kind" /run/order)
    [ -n "$meant" ] || continue
    checked=$((checked + 1))
    grep -qixF -- "$kind=$meant" /run/identity || { WHY="this machine's $kind is not $meant"; return 1; }
  done
  [ $checked -gt 0 ] || { WHY="the order does not say which machine it is for"; return 1; }
}
