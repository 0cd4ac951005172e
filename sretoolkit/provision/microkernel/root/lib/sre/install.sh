# Writing an image to the disk that was meant, and wiping one. Sourced.
#
# The image's first MiB is written last: until all the rest was read back, and the seed is in place, the disk bears a mark
# from which nothing boots. So power may go at any moment.

STALLED=120 # seconds without a byte

order() { word "$1" /run/order; }

refuse() { stage refused "reason=$1"; }

fail() {
  dmesg | tail -c 20000 >/run/log.txt
  cat /run/fetch.err /run/unpack.err /run/write.err >>/run/log.txt 2>/dev/null
  stage failed "reason=$1"
  ask /svc/log /run/log.txt text/plain
}

install() {
  local bytes sum began
  ORDER=$(order order)
  check_target || { refuse "$WHY"; return; }
  check_image || { refuse "$WHY"; return; }
  stage accepted "disk=$DISK" "serial=$(disk_serial "$DISK")"
  [ "$STATUS" = 200 ] || { say "the order $ORDER does not stand any more"; return; }
  began=$(seconds_up)
  set_mark || { fail "the disk $DISK cannot be written: $(tail -n 1 /run/write.err)"; return; }
  stage writing "bytes:=0"
  stream || { [ -n "$WHY" ] && fail "$WHY"; return; }
  stage written "bytes:=$bytes" "seconds:=$(since "$began")"
  read_back || { fail "$WHY"; return; }
  stage verified "sha256=$sum" "bytes:=$bytes" "seconds:=$(since "$began")"
  [ "$STATUS" = 200 ] || return
  if [ "$(order seed)" = yes ]; then
    seed || { fail "$WHY"; return; }
    stage seeded
  fi
  finish || { fail "$WHY"; return; }
  stage rebooting "then=$(order then)" "disk_fingerprint=$(fingerprint "$DISK")" "seconds:=$(since "$began")"
  go_on "$(order then)"
}

since() { awk -v a="$1" -v b="$(seconds_up)" 'BEGIN { printf "%.2f", b - a }'; }

check_image() {
  case $(order image_format) in raw | gz | xz) ;; *) WHY="images of the format $(order image_format) cannot be unpacked here"; return 1 ;; esac
  bytes=$(order image_bytes)
  case $bytes in '' | 0* | *[!0-9]*) WHY="the order does not say how long the image is"; return 1 ;; esac
  [ "$bytes" -le "$(disk_bytes "$DISK")" ] || { WHY="the image of $bytes bytes does not fit on the disk $DISK"; return 1; }
  case $(order image_sha256) in *[!0-9a-f]* | '') WHY="the order does not say the image's sha256"; return 1 ;; esac
}

# The last MiB too: an old backup of a partition table, or of a RAID, must not come back.
set_mark() {
  local last
  last=$(($(disk_bytes "$DISK") / 512 - 2048))
  mark "$ORDER" | dd of="/dev/$DISK" bs=1M conv=notrunc,fsync 2>/run/write.err &&
    dd if=/dev/zero of="/dev/$DISK" bs=512 seek=$last count=2048 conv=notrunc,fsync 2>/run/write.err
}

unpack() {
  case $(order image_format) in
    raw) cat ;;
    gz) gunzip -c ;;
    xz) unxz -c ;;
  esac
}

# stream: the image to the disk, from its second MiB on; the first is kept in /run/first. Sets WHY and fails; WHY is empty
# when the order was taken back meanwhile.
stream() {
  local got
  rm -f /run/*.rc /run/first
  exec 3<>"/dev/$DISK" || { WHY="the disk $DISK cannot be written"; return 1; }
  {
    wget -q -O - "$(order image)" 2>/run/fetch.err
    echo $? >/run/fetch.rc
  } | {
    unpack 2>/run/unpack.err
    echo $? >/run/unpack.rc
  } | {
    dd bs=1M count=1 iflag=fullblock of=/run/first 2>/run/write.err
    dd bs=1M iflag=fullblock seek=1 conv=notrunc,fsync >&3 2>/run/write.err
    echo $? >/run/write.rc
    cat >/dev/null
    : >/run/stream.rc
  } &
  WHY=
  watch_stream || return 1
  got=$(($(stat -c %s /run/first) + $(position) - MIB))
  exec 3>&-
  [ -n "$WHY" ] && return 1
  [ "$(cat /run/fetch.rc)" = 0 ] || WHY="the image broke off after $got bytes: $(tail -n 1 /run/fetch.err)"
  [ "$(cat /run/write.rc)" = 0 ] || WHY="the disk took $got bytes: $(tail -n 1 /run/write.err)"
  [ -n "$WHY" ] && return 1
  [ "$(cat /run/unpack.rc)" = 0 ] || WHY="the image cannot be unpacked after $got bytes: $(tail -n 1 /run/unpack.err)"
  [ "$got" = "$bytes" ] || WHY="${WHY:-the image has $got bytes, the order says $bytes}"
  [ -z "$WHY" ]
}

# How far the disk is written, by the descriptor that is shared with the writer.
position() { sed -n 's/^pos:[^0-9]*//p' "/proc/$$/fdinfo/3"; }

# Tell of it every few seconds, and end it when it stands still or the order was taken back.
watch_stream() {
  local got
  ticks=0
  still=0
  seen=
  until [ -e /run/stream.rc ]; do
    sleep 0.2
    ticks=$((ticks + 1))
    now=$(position)
    if [ "$now" = "$seen" ]; then still=$((still + 1)); else still=0; fi
    seen=$now
    [ $still -gt $((STALLED * 5)) ] && { WHY="no byte of the image came for $STALLED s"; killall wget; still=0; }
    [ $((ticks % 15)) = 0 ] || continue
    describe writing "bytes:=${now:-0}"
    PATIENCE=5 ask "/svc/stage?order=$ORDER&name=writing" /run/stage.json application/json
    [ "$STATUS" = 409 ] || continue
    say "the order $ORDER was taken back; the disk $DISK stays marked as half-written"
    killall wget
    until [ -e /run/stream.rc ]; do sleep 0.1; done
    exec 3>&-
    return 1
  done
}

# read_back: sums the first MiB as it was kept, and all the rest as the disk gives it. Sets sum.
read_back() {
  local rest
  forget "$DISK"
  rest=$((bytes > MIB ? bytes - MIB : 0))
  sum=$({ cat /run/first; dd if="/dev/$DISK" bs=1M skip=1 count=$rest iflag=count_bytes 2>/dev/null; } | sha256sum | cut -c1-64)
  [ "$sum" = "$(order image_sha256)" ] && return
  WHY="what was read back has the sha256 $sum, the image should have $(order image_sha256)"
  return 1
}

# partition_offset FILE NUMBER: where a partition begins, in bytes, by the table in the file; nothing when there is none
partition_offset() {
  local sector table size begin
  for sector in 512 4096; do
    [ "$(window "$1" $sector 8)" = 4546492050415254 ] || continue
    table=$(little "$(window "$1" $((sector + 72)) 8)")
    size=$(little "$(window "$1" $((sector + 84)) 4)")
    begin=$(little "$(window "$1" $((table * sector + size * ($2 - 1) + 32)) 8)")
    [ "$begin" -gt 0 ] && echo $((begin * sector))
    return
  done
  [ "$2" -le 4 ] || return
  begin=$(little "$(window "$1" $((446 + 16 * ($2 - 1) + 8)) 4)")
  [ "$begin" -gt 0 ] && echo $((begin * 512))
}

# seed: unpack what the server gives for this order into the image's file system.
seed() {
  local number offset
  number=$(order seed_partition)
  case $number in '' | *[!0-9]* | 0*) WHY="the order names no partition for the seed"; return 1 ;; esac
  offset=$(partition_offset /run/first "$number")
  [ -n "$offset" ] || { WHY="the image has no partition $number for the seed"; return 1; }
  persist "/svc/seed?order=$ORDER"
  [ "$STATUS" = 200 ] || { WHY="the server does not give the seed of $ORDER ($STATUS)"; return 1; }
  mv /run/answer /run/seed.tar
  modprobe -q loop
  losetup -o "$offset" /dev/loop0 "/dev/$DISK" || { WHY="partition $number cannot be reached"; return 1; }
  plant || WHY=${WHY:-"the seed cannot be written to partition $number"}
  sync
  umount /mnt 2>/dev/null
  losetup -d /dev/loop0
  rm -f /run/seed.tar
  [ -z "$WHY" ]
}

plant() {
  local kind place
  kind=$(content /dev/loop0)
  case $kind in ext4 | xfs | vfat) ;; *) WHY="partition $number holds $kind, where no seed can be put"; return 1 ;; esac
  mount -t "$kind" /dev/loop0 /mnt || { WHY="the $kind of partition $number cannot be mounted"; return 1; }
  place=/mnt/$(order seed_path)
  mkdir -p "$place"
  case $(realpath "$place")/ in /mnt/*) ;; *) WHY="the seed's folder leads out of the image"; return 1 ;; esac
  tar -x -f /run/seed.tar -C "$place"
}

# finish: the first MiB, by which the disk becomes bootable.
finish() {
  dd if=/run/first of="/dev/$DISK" bs=1M conv=notrunc,fsync 2>/run/write.err || { WHY="the first MiB cannot be written"; return 1; }
  forget "$DISK"
  dd if="/dev/$DISK" bs=1M count="$(stat -c %s /run/first)" iflag=count_bytes 2>/dev/null | cmp -s - /run/first && return
  WHY="the first MiB reads back otherwise than it was written"
  return 1
}

# wipe: zeros over the whole disk, and every byte read back.
wipe() {
  local whole left head tail
  ORDER=$(order order)
  check_target || { refuse "$WHY"; return; }
  stage accepted "disk=$DISK" "serial=$(disk_serial "$DISK")"
  [ "$STATUS" = 200 ] || return
  whole=$(disk_bytes "$DISK")
  set_mark || { fail "the disk $DISK cannot be written: $(tail -n 1 /run/write.err)"; return; }
  stage writing "bytes:=0"
  overwrite || { fail "the disk $DISK cannot be overwritten: $(tail -n 1 /run/write.err)"; return; }
  forget "$DISK"
  left=$(tr -d '\000' <"/dev/$DISK" | head -c 1 | wc -c)
  [ "$left" = 0 ] || { fail "the disk $DISK still holds something after it was overwritten"; return; }
  head=$(fingerprint "$DISK")
  tail=$(dd if="/dev/$DISK" bs=512 skip=$((whole / 512 - 2048)) count=2048 2>/dev/null | sha256sum | cut -c1-64)
  stage wiped "method=zeros" "zero_bytes:=$whole" "first_mib=$head" "last_mib=$tail" "serial=$(disk_serial "$DISK")"
  go_on "$(order then)"
}

overwrite() {
  dd if=/dev/zero of="/dev/$DISK" bs=1M count=$((whole / MIB)) conv=notrunc,fsync 2>/run/write.err || return 1
  dd if=/dev/zero of="/dev/$DISK" bs=512 seek=$((whole / MIB * 2048)) count=$((whole % MIB / 512)) conv=notrunc,fsync \
    2>/run/write.err
}
