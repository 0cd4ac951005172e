# One look at every PID namespace of this machine: POSIX sh with grep, xargs, awk, dd, od, tr; read-only, no temporary
# file. Processes may vanish at any moment and may be named anything. Argument 1: seconds that a zombie must stay.
# A record is one line of tab-separated fields; what a process chose itself comes last, newlines in it as \036.
#   host  uid machine release own-pid-namespace pid_max threads-max tasks uptime
#   p     pid ppid depth children threads uid SigBlk SigIgn SigCgt name     an init, a child of one, a zombie's parent
#   i     pid                                                               that one is a namespace's init
#   a     pid stat                                                          its /proc/PID/stat
#   o     parent init                                                       the init above a zombie's parent
#   n     pid namespace | x pid exe | e pid elf-class | c pid arguments (parted by \037)
#   b     pid SigBlk     one a thread | s pid number argument     one a thread | w pid set (8 bytes) | f pid signalfd-mask
#   l     pid current max failures cgroup                                   its cgroup and each one above it
#   z     parent zombies stayed                                             seen once, and still there at the second look
#   end
LC_ALL=C
export LC_ALL
T=$(printf '\t')
stay=${1:-1}
exec 2>/dev/null

case $(uname -m) in
x86_64) sigwait=128 wait4=61 waitid=247 ;;
aarch64) sigwait=137 wait4=260 waitid=95 ;;
*) sigwait=- wait4=- waitid=- ;;
esac

own=$(readlink /proc/self/ns/pid)
pid_max=$(cat /proc/sys/kernel/pid_max) # not by read: dash reads byte by byte, and /proc/sys answers the first one only
threads_max=$(cat /proc/sys/kernel/threads-max)
read -r _ _ _ tasks _ </proc/loadavg
read -r uptime _ </proc/uptime
printf 'host\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$(id -u)" "$(uname -m)" "$(uname -r)" "$own" \
  "$pid_max" "$threads_max" "${tasks#*/}" "$uptime"

processes() {
  printf '%s\n' /proc/[0-9]*/status |
    xargs grep -E '^(Name|State|PPid|Uid|NSpid|Threads|SigBlk|SigIgn|SigCgt):' /dev/null |
    awk -v OFS="$T" '
      { at = index($0, "/status:"); pid = substr($0, 7, at - 7); line = substr($0, at + 8)
        colon = index(line, ":"); field = substr(line, 1, colon - 1); value = substr(line, colon + 2) }
      field == "Name" { name[pid] = value; next }
      { n = split(value, part, /[ \t]+/) }
      field == "State" { state[pid] = part[1] }
      field == "PPid" { parent[pid] = part[1]; if (state[pid] != "Z") children[part[1]]++ }
      field == "Uid" { uid[pid] = part[2] }
      field == "NSpid" { depth[pid] = n; if (part[n] == 1 && state[pid] != "Z") init[pid] = 1 }
      field == "Threads" { threads[pid] = part[1] }
      field ~ /^Sig/ { signals[pid] = signals[pid] OFS part[1] }
      END {
        for (pid in init) { print "i", pid; wanted[pid] = 1 }
        for (pid in state) {
          if (state[pid] == "Z") { print "z", pid; wanted[parent[pid]] = 1; asked[parent[pid]] = 1 }
          else if (parent[pid] in init && parent[pid] != 1 && given[parent[pid]]++ < 20) wanted[pid] = 1
        }
        for (pid in asked) { up = pid; while (up in parent && !(up in init)) up = parent[up]; print "o", pid, up }
        for (pid in wanted) if (pid in state)
          print "p", pid, parent[pid], depth[pid] + 0, children[pid] + 0, threads[pid] + 0, uid[pid] signals[pid], name[pid]
      }'
}

limits() { # PID: pids.current, pids.max and failed forks of its cgroup and of each one above
  base='' path='' two=''
  while IFS= read -r line; do
    rest=${line#*:}
    case ",${rest%%:*}," in
    *,pids,*) base=$v1 path=${rest#*:} ;;
    ,,) two=${rest#*:} ;;
    esac
  done <"/proc/$1/cgroup"
  [ -n "$base" ] || base=$v2 path=$two
  case $base$path in '' | */../* | */..) return ;; esac
  while :; do
    path=${path%/}
    if read -r current <"$base$path/pids.current"; then
      max='?' failed=0
      read -r max <"$base$path/pids.max"
      while read -r word count; do [ "$word" = max ] && failed=$count; done <"$base$path/pids.events"
      printf 'l\t%s\t%s\t%s\t%s\t%s\n' "$1" "$current" "$max" "$failed" "${path:-/}"
    fi
    [ -n "$path" ] || break
    path=${path%/*}
  done
}

waiting() { # PID: what each thread blocks and which of three calls it waits in, and what its signalfds take
  grep -h '^SigBlk' "/proc/$1"/task/*/status | awk -v OFS="$T" -v pid="$1" '{ print "b", pid, $2 }'
  grep -h '' "/proc/$1"/task/*/syscall | while read -r number argument _; do
    printf 's\t%s\t%s\t%s\n' "$1" "$number" "$argument"
    if [ "$number" = "$sigwait" ]; then
      set=$(dd if="/proc/$1/mem" bs=1 skip=$((argument)) count=8 | od -An -tx1 | tr -d ' \n')
      printf 'w\t%s\t%s\n' "$1" "$set"
    fi
  done | awk -F "$T" -v OFS="$T" -v keep=" $sigwait $wait4 $waitid " '
    $1 == "s" && !index(keep, " " $3 " ") { $3 = "-"; $4 = "-" } { print }'
  grep -h '^sigmask' "/proc/$1"/fdinfo/* | awk -v OFS="$T" -v pid="$1" '{ print "f", pid, $2 }'
}

identity() { # PID: namespace, program, arguments
  printf 'n\t%s\t%s\n' "$1" "$(readlink "/proc/$1/ns/pid")"
  printf 'x\t%s\t%s\n' "$1" "$(readlink "/proc/$1/exe" | tr '\n' '\036')"
  printf 'e\t%s\t%s\n' "$1" "$(dd if="/proc/$1/exe" bs=1 skip=4 count=1 | od -An -tu1 | tr -d ' \n')"
  printf 'c\t%s\t%s\n' "$1" "$(head -c 4000 "/proc/$1/cmdline" | tr '\000\n' '\037\036')"
}

look() { printf '%s\n' "$zombies" | xargs cat; }

v1='' v2=''
while read -r _ mounted kind options _; do
  case $kind,$options, in
  cgroup,*,pids,*) v1=${v1:-$mounted} ;;
  cgroup2,*) v2=${v2:-$mounted} ;;
  esac
done </proc/self/mounts

seen=$(processes)
printf '%s\n' "$seen" | grep "^[pio]$T"
zombies=$(printf '%s\n' "$seen" | awk -F "$T" '$1 == "z" { print "/proc/" $2 "/stat" }')
[ -z "$zombies" ] || first=$(look)

for pid in $(printf '%s\n' "$seen" | awk -F "$T" '$1 == "p" { print $2 }'); do
  IFS= read -r line <"/proc/$pid/stat" && printf 'a\t%s\t%s\n' "$pid" "$line"
done
for pid in $(printf '%s\n' "$seen" | awk -F "$T" '$1 == "i" { print $2 }'); do
  identity "$pid"
  waiting "$pid"
  limits "$pid"
done

if [ -n "$zombies" ]; then
  sleep "$stay"
  { printf '%s\n' "$first" && echo again && look; } | awk -v OFS="$T" '
    $0 == "again" { again = 1; next }
    { pid = $1; if (!sub(/^.*\) /, "")) next; if ($1 != "Z" || $18 > 1) next; key = pid "," $20 }
    !again { seen[key] = $2; zombies[$2]++; next }
    key in seen && seen[key] == $2 { stayed[$2]++ }
    END { for (parent in zombies) print "z", parent, zombies[parent], stayed[parent] + 0 }'
fi
echo end
