# Speaking with the server. Sourced; API is its address, TOKEN the secret of this boot once there is one.
#
# Not by wget, but for images: it ends at the status line of an error, and tells nothing of how long to stay away.

LONGEST=300 # seconds, whatever the server asks for

# request METHOD PATH [FILE TYPE]: the bytes of it; HTTP/1.0, so that the answer comes whole and the line is closed after it
request() {
  printf '%s %s HTTP/1.0\r\nHost: %s\r\n' "$1" "$2" "$(authority)"
  [ -n "$TOKEN" ] && printf 'Authorization: Bearer %s\r\n' "$TOKEN"
  [ -n "$3" ] && printf 'Content-Type: %s\r\nContent-Length: %s\r\n' "$4" "$(stat -c %s "$3")"
  printf '\r\n'
  [ -z "$3" ] || cat "$3"
}

authority() { echo "$API" | sed 's|^http://||; s|/.*||'; }

# Host and port for nc: an IPv6 address stands in brackets, a port may be left out.
peer() { authority | sed 's|^\[\(.*\)\]|\1 |; t port; s|:| |; b; :port; s| :| |'; }

# ask PATH [FILE TYPE]: GET, or POST of a file; the body is in /run/answer, the status in STATUS (000: no answer).
ask() {
  local path method=GET
  [ -n "$2" ] && method=POST
  path=$(echo "$API" | sed 's|^http://[^/]*||')$1
  shift
  request "$method" "$path" "$@" >/run/request
  exchange
  sed '/^[[:space:]]*$/q' /run/said >/run/answer.head
  tail -c "+$(($(stat -c %s /run/answer.head) + 1))" /run/said >/run/answer
  STATUS=$(sed -n '1s/^HTTP\/1\.[01] \([0-9][0-9][0-9]\).*/\1/p' /run/answer.head)
  STATUS=${STATUS:-000}
  whole || STATUS=000
}

# /run/request to the server, its answer to /run/said. What we send stays open: a server may take its end for ours.
exchange() {
  local sending
  rm -f /run/sending /run/said
  mkfifo /run/sending
  exec 4<>/run/sending
  cat /run/request >&4 &
  sending=$!
  set -- $(peer)
  timeout "${PATIENCE:-30}" nc "$1" "${2:-80}" <&4 >/run/said 2>/dev/null
  kill $sending 2>/dev/null
  exec 4>&-
}

# A head without its end, or a body shorter than it was to be, is no answer.
whole() {
  [ -s /run/answer.head ] && [ -z "$(tail -n 1 /run/answer.head | tr -d '\r\n')" ] || return 1
  [ "$(stat -c %s /run/answer)" -ge "$(number_of content-length 0)" ]
}

# number_of HEADER ELSE: the number that a line of the answer's head gives, or another one
number_of() {
  local said
  said=$(sed -n "s/^$1: *\([0-9]\{1,9\}\)[[:space:]]*$/\1/Ip" /run/answer.head | tail -n 1)
  echo "${said:-$2}"
}

# The seconds that the server asked for, or those given.
retry_after() {
  local asked
  asked=$(number_of retry-after "$1")
  [ "$asked" -gt $LONGEST ] && asked=$LONGEST
  echo "$asked"
}

# pause SECONDS: that, and up to half as much again, so that a rack does not come back as one.
pause() { sleep "$(awk -v s="$1" -v r="$(od -An -N2 -tu2 /dev/urandom)" 'BEGIN { printf "%.2f", s * (1 + r / 131070) }')"; }

# persist PATH [FILE TYPE]: the same until the server answers with something that stands; slower each time, 30 s at most
# where it does not say itself when to come again.
persist() {
  local wait_for=1 asked
  while :; do
    ask "$@"
    case $STATUS in
      000 | 5*) asked=$(retry_after $wait_for); say "the server does not answer ($STATUS); again in $asked s"; start_dhcp ;;
      429) asked=$(retry_after 10); say "the server has no room yet; again in $asked s" ;;
      *) return ;;
    esac
    pause "$asked"
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
