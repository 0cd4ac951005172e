# Does the first process of a PID namespace reap an orphan? Arguments: its pid, its start time (field 22 of stat), seconds.
# An orphan is made inside by a shell that enters the PID namespace alone: nothing of the container is executed, and it
# counts as ours. Prints one of: "reaped SECONDS", "zombie SECONDS", "taken" (another process adopted it), "gone", "denied".
LC_ALL=C
export LC_ALL
started() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
uptime() { cut -d' ' -f1 /proc/uptime; }
[ "$(started "$1")" = "$2" ] || { echo gone; exit 0; }
space=$(readlink "/proc/$1/ns/pid")
inside=$(nsenter -t "$1" -p sh -c 'sleep 60 >/dev/null 2>&1 </dev/null & echo $!') || { echo denied; exit 0; }

orphan=
for status in $(grep -lE "^NSpid:.*[[:space:]]$inside\$" /proc/[0-9]*/status 2>/dev/null); do
  found=${status#/proc/} found=${found%/status}
  [ "$(readlink "/proc/$found/ns/pid")" != "$space" ] || { orphan=$found; break; }
done
[ -n "$orphan" ] || { echo gone; exit 0; }
parent=$(awk '/^PPid:/ { print $2 }' "/proc/$orphan/status" 2>/dev/null)
since=$(started "$orphan")
kill -KILL "$orphan"
[ "$parent" = "$1" ] || { echo taken; exit 0; }

died=
while [ "$(started "$orphan")" = "$since" ]; do
  state=$(sed 's/^.*) //' "/proc/$orphan/stat" 2>/dev/null | cut -d' ' -f1)
  [ "$state" != Z ] || [ -n "$died" ] || died=$(uptime)
  if [ -n "$died" ]; then
    passed=$(awk -v from="$died" -v to="$(uptime)" 'BEGIN { print to - from }')
    awk -v passed="$passed" -v most="$3" 'BEGIN { exit !(passed >= most) }' && { echo "zombie $passed"; exit 0; }
  fi
  sleep 0.02
done
awk -v from="${died:-0}" -v to="$(uptime)" 'BEGIN { print "reaped", from ? to - from : 0 }'
