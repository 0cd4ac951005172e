#!/bin/busybox sh
# Says what this machine is, and does what the server says: wait, reboot, poweroff, install, wipe or rescue.
. /lib/sre/system.sh
. /lib/sre/http.sh
. /lib/sre/lldp.sh
. /lib/sre/disks.sh
. /lib/sre/facts.sh
. /lib/sre/install.sh

API=$(argument sre.api)
TOKEN=
SHELLS=
LAST=
SEEN=

# What is told at once when it changes: a disk, a card, or that a card's neighbour was heard for the first time.
news() { hardware; heard; }

check_in() {
  TOKEN=
  [ -n "$SEEN" ] && describe_disks # the first time it was done while the network came up
  SEEN=$(news)
  facts >/run/facts.json
  persist /svc/checkin /run/facts.json application/json
  case $STATUS in
    200) TOKEN=$(word token /run/answer); say "this is node $(word node /run/answer)" ;;
    409) say "two machines say that they are this one; a person has to decide ($(cat /run/identity | tr '\n' ' '))"; sleep 15 ;;
    *) say "the server refused the check-in ($STATUS)"; pause 20 ;;
  esac
}

# go_on WHAT: after an order
go_on() {
  case $1 in
    reboot) sync; reboot -f; sleep 60 ;;
    poweroff) sync; poweroff -f; sleep 60 ;;
  esac
}

# A mistake on the server must not make machines that reboot all the time.
not_too_soon() {
  until [ "$(seconds_up | cut -d. -f1)" -ge 10 ]; do sleep 0.5; done
}

# A shell on each console, for who stands before it; nothing listens on the network.
open_shell() {
  local console
  [ -n "$SHELLS" ] && return
  say "rescue: a shell is on the console"
  for console in $(consoles); do
    setsid sh -c 'while :; do setsid -c sh; sleep 1; done' <"/dev/$console" >"/dev/$console" 2>&1 &
    SHELLS="$SHELLS $!"
  done
}

close_shell() {
  local shell
  for shell in $SHELLS; do
    kill -9 "-$shell" "$shell" 2>/dev/null
  done
  SHELLS=
}

# An order that was just refused, or failed, is not tried again at once.
once_in_a_while() {
  [ "$(word order /run/order)" = "$LAST" ] && pause 15
  LAST=$(word order /run/order)
}

obey() {
  local every action
  cp /run/answer /run/order
  every=$(word every /run/order)
  case $every in '' | *[!0-9.]*) every=5 ;; esac
  action=$(word action /run/order)
  [ "$action" = rescue ] || close_shell
  case $action in
    reboot | poweroff) say "$action"; not_too_soon; go_on "$action" ;;
    install | wipe) once_in_a_while; $action ;;
    rescue) open_shell ;;
  esac
  sleep "$every"
}

say "starts ($(uname -r), $(seconds_up) s)"
load_drivers
[ -n "$API" ] || { say "the kernel's command line has no sre.api=URL: the boot server's configuration is at fault"; exit 1; }
{
  settle
  describe_disks
} &
looking=$!
network_up
wait $looking
who_am_i
say "has the address $(cat /run/lease.* | head -n 1), reports to $API"
while :; do
  [ -n "$TOKEN" ] || check_in
  [ -n "$TOKEN" ] || continue
  obey
  [ "$(news)" = "$SEEN" ] || { TOKEN=; continue; }
  : >/run/nothing
  persist /svc/poll /run/nothing text/plain
  case $STATUS in
    200) ;;
    401) TOKEN= ;;
    *) say "the server refused to be asked ($STATUS)"; pause 10; TOKEN= ;;
  esac
done
