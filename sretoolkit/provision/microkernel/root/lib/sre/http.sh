# Speaking with the server. Sourced; API is its address, TOKEN the secret of this boot once there is one.

# ask PATH [FILE TYPE]: GET, or POST of a file; the body is in /run/answer, the status in STATUS (000: no answer).
ask() {
  local address failed
  address=$API$1
  set -- ${2:+--post-file "$2" --header "Content-Type: $3"}
  [ -n "$TOKEN" ] && set -- "$@" --header "Authorization: Bearer $TOKEN"
  timeout "${PATIENCE:-30}" wget -S -O /run/answer "$@" "$address" >/dev/null 2>/run/answer.head
  failed=$?
  STATUS=$(sed -n 's/^.*HTTP\/1\.[01] \([0-9][0-9][0-9]\).*/\1/p' /run/answer.head | tail -n 1)
  STATUS=${STATUS:-000}
  # a body that broke off is no answer
  case $STATUS in 2*) [ $failed = 0 ] || STATUS=000 ;; esac
}

# The seconds that the server asked for, or those given.
retry_after() {
  local asked
  asked=$(sed -n 's/^ *[Rr]etry-[Aa]fter: *\([0-9][0-9]*\).*/\1/p' /run/answer.head | tail -n 1)
  echo "${asked:-$1}"
}

# pause SECONDS: that, and up to half as much again, so that a rack does not come back as one.
pause() { sleep "$(awk -v s="$1" -v r="$(od -An -N2 -tu2 /dev/urandom)" 'BEGIN { printf "%.2f", s * (1 + r / 131070) }')"; }

# persist PATH [FILE TYPE]: the same until the server answers with something that stands; slower each time, 30 s at most.
persist() {
  local wait_for=1
  while :; do
    ask "$@"
    case $STATUS in
      000 | 5*) say "the server does not answer ($STATUS)"; start_dhcp; pause $wait_for ;;
      429) pause "$(retry_after 10)" ;;
      *) return ;;
    esac
    wait_for=$((wait_for * 2))
    [ $wait_for -gt 30 ] && wait_for=30
  done
}

# word KEY FILE: the value of a line `key=value`, decoded; only ever used in quotes
word() { httpd -d "$(sed -n "/^$1=/{s/^$1=//;s/+/%2B/g;p;q}" "$2")"; }

# stage NAME key=text key:=number ...: report, until it is heard; the status says whether the order still stands
stage() {
  describe "$@"
  persist "/svc/stage?order=$ORDER&name=$1" /run/stage.json application/json
}

describe() {
  local name=$1
  shift
  say "$name $*"
  awk -f /lib/sre/facts.awk -v mode=object -- "uptime:=$(seconds_up)" "$@" >/run/stage.json
}
