# One look at every PID namespace of this machine: POSIX sh with grep, xargs, awk, dd, od, tr; read-only, no temporary
# file. Processes may vanish at any moment and may be named anything. Arguments: seconds that a zombie must stay; where
# /proc is; "inside" to ask each namespace for its own pid_max too (a moment's process in it; Linux 6.14, root).
# What it says stands between "begin" and "end of scan", whatever a login prints around it, and is packed (gzip, base64) where
# that can be done. A record is one line of tab-separated fields; what a process chose itself comes last, newlines in it
# as \036. here.py makes the same records without a shell: change both.
#   host  uid machine release own-pid-namespace pid_max threads-max tasks uptime hidepid controller mount
#   p     pid ppid state depth children threads uid SigBlk SigIgn SigCgt name    an init, some of its children, a
#         zombie's parent
#   i     pid                                                               that one is a namespace's init
#   a     pid start                                                         in ticks since the machine started
#   o     parent init                                                       the init above a zombie's parent
#   u     uid tasks                                                         threads and zombies of one user, machine-wide
#   n     pid namespace | x pid exe | c pid arguments (parted by \037) | m pid pid_max-of-its-namespace
#   r     pid RLIMIT_NPROC | g pid cgroup | h pid 1-if-frozen
#   e     pid elf-class    of an init, and of a child that blocks signals; so are:
#   b     pid SigBlk     one a thread | s pid number argument     one a thread | w pid set (8 bytes) | f pid signalfd-mask
#   l     pid current max failures cgroup                                   its cgroup and each one above it
#   z     parent zombies stayed                                             seen once, and still there at the second look
#   end
LC_ALL=C
export LC_ALL
T=$(printf '\t')
N='
'
stay=${1:-1} proc=${2:-/proc} inside=${3:-}
exec 2>/dev/null

machine=$(uname -m)
case $machine in
x86_64) sigwait=128 wait4=61 waitid=247 ;;
aarch64) sigwait=137 wait4=260 waitid=95 ;;
*) sigwait=- wait4=- waitid=- ;;
esac

about() { # the machine itself; sets own, v1, v2, cold and uptime
  own=$(readlink "$proc/self/ns/pid")
  pid_max=$(cat "$proc/sys/kernel/pid_max") # not by read: dash reads byte by byte, and /proc/sys answers the first one only
  threads_max=$(cat "$proc/sys/kernel/threads-max")
  read -r _ _ _ tasks _ <"$proc/loadavg"
  read -r uptime _ <"$proc/uptime"
  v1='' v2='' cold='' hidden=''
  while read -r _ mounted kind options _; do
    case $kind,$options, in
    cgroup,*,pids,*) v1=${v1:-$mounted} ;;
    cgroup,*,freezer,*) cold=${cold:-$mounted} ;;
    cgroup2,*) v2=${v2:-$mounted} ;;
    proc,*,hidepid=*) [ "$mounted" != "$proc" ] || hidden=${options#*hidepid=} ;;
    esac
  done <"$proc/self/mounts"
  controller='' mount=''
  if [ -n "$v1" ]; then
    controller=v1 mount=$v1
  elif [ -n "$v2" ] && grep -qw pids "$v2/cgroup.controllers"; then
    controller=v2 mount=$v2
  fi
  printf 'host\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$(id -u)" "$machine" "$(uname -r)" "$own" \
    "$pid_max" "$threads_max" "${tasks#*/}" "$uptime" "${hidden%%,*}" "$controller" "$mount"
}

processes() {
  printf '%s\n' "$proc"/[0-9]*/status |
    xargs grep -hE '^(Name|State|Pid|PPid|Uid|NSpid|Threads|SigBlk|SigIgn|SigCgt):' /dev/null |
    awk -v OFS="$T" -v spare="$([ "$own" != 'pid:[4026531836]' ] || echo 1)" '
      function most(list, sign,   n, kid, i, round, best) { # the two lowest, or highest, of its children
        n = split(list, kid, " ")
        for (round = 0; round < 2; round++) {
          best = 0
          for (i = 1; i <= n; i++) if (kid[i] != "" && (!best || sign * kid[i] < sign * kid[best])) best = i
          if (best) { wanted[kid[best]] = 1; kid[best] = "" }
        }
      }
      $1 == "Name:" { called = substr($0, 7); next } # a newline in it is escaped by the kernel
      $1 == "State:" { now = $2; next }
      $1 == "Pid:" { pid = $2; state[pid] = now; name[pid] = called; signals[pid] = ""; next }
      $1 == "PPid:" { parent[pid] = $2; if (now != "Z") { children[$2]++; kids[$2] = kids[$2] " " pid } next }
      $1 == "Uid:" { uid[pid] = $2; next }
      $1 == "NSpid:" { depth[pid] = NF - 1; if ($NF == 1 && now != "Z") init[pid] = 1; next }
      $1 == "Threads:" { threads[pid] = $2; tasks[uid[pid]] += $2; next }
      { signals[pid] = signals[pid] OFS $2 }
      END {
        for (pid in init) {
          print "i", pid; wanted[pid] = 1
          if (pid != 1 || !spare) { most(kids[pid], 1); most(kids[pid], -1) }
        }
        for (pid in state) if (state[pid] == "Z" && threads[pid] < 2) {
          print "z", pid, parent[pid]; wanted[parent[pid]] = 1; asked[parent[pid]] = 1
        }
        for (pid in asked) { up = pid; while (up in parent && !(up in init)) up = parent[up]; print "o", pid, up }
        for (pid in wanted) if (pid in state) {
          named[uid[pid]] = 1
          print "p", pid, parent[pid], state[pid], depth[pid] + 0, children[pid] + 0, threads[pid] + 0, uid[pid] signals[pid], name[pid]
        }
        for (user in named) print "u", user, tasks[user]
      }'
}

started() { # of each process named on standard input; a name may hold anything, so the last line of its stat counts
  sed "s|.*|$proc/&/stat|" | xargs grep '' /dev/null | awk -v OFS="$T" -v from=$((${#proc} + 2)) '
    { at = index($0, "/stat:"); pid = substr($0, from, at - from); sub(/^.*\) /, ""); if (NF > 19) start[pid] = $20 }
    END { for (pid in start) print "a", pid, start[pid] }'
}

groups() { # PID: its cgroup, whether it is frozen, and the process ids of its cgroup and of each one above
  base='' path='' two='' icy='' first=''
  while IFS= read -r line; do
    rest=${line#*:}
    first=${first:-${rest#*:}}
    [ "$first" != / ] || first=''
    case ",${rest%%:*}," in
    *,pids,*) base=$v1 path=${rest#*:} ;;
    ,,) two=${rest#*:} ;;
    esac
    case ",${rest%%:*}," in *,freezer,*) icy=${rest#*:} ;; esac
  done <"$proc/$1/cgroup" || return
  [ -n "$base" ] || base=$v2 path=$two
  shown=$path
  [ "${shown:-/}" != / ] || shown=$two
  [ "${shown:-/}" != / ] || shown=${first:-/}
  printf 'g\t%s\t%s\n' "$1" "$shown"
  case $icy$two in */../* | */..) ;; *)
    if [ -n "$cold" ] && [ -n "$icy" ]; then
      if [ "$icy" = / ]; then
        printf 'h\t%s\t0\n' "$1"
      elif read -r word <"$cold$icy/freezer.state"; then
        case $word in THAWED) word=0 ;; *) word=1 ;; esac
        printf 'h\t%s\t%s\n' "$1" "$word"
      fi
    elif [ -n "$v2" ] && [ -n "$two" ]; then
      icy=0
      [ ! -r "$v2${two%/}/cgroup.events" ] || while read -r word count; do
        [ "$word" != frozen ] || icy=$count
      done <"$v2${two%/}/cgroup.events"
      printf 'h\t%s\t%s\n' "$1" "$icy"
    fi
    ;;
  esac
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

of() { # one file, or several, of each process in $pids; as many as there are
  for pid in $pids; do printf '%s\n' "$proc/$pid"/$1; done
}

waiting() { # what each thread of $pids blocks, which of three calls it waits in, what their signalfds take
  for pid in $pids; do
    # shellcheck disable=SC2046
    set -- $(od -An -tu1 -j4 -N1 "$proc/$pid/exe")
    printf 'e\t%s\t%s\n' "$pid" "$1"
  done
  of 'task/*/status' | xargs grep '^SigBlk' /dev/null | fields b
  of 'fdinfo/*' | xargs grep '^sigmask' /dev/null | fields f
  of 'task/*/syscall' | xargs grep '' /dev/null | sed 's/:/: /' | fields s | while read -r _ pid number argument; do
    case $number in
    "$wait4" | "$waitid") ;;
    "$sigwait")
      set=$(dd if="$proc/$pid/mem" bs=1 skip=$((argument)) count=8 | od -An -tx1 | tr -d ' \n')
      printf 'w\t%s\t%s\n' "$pid" "$set"
      ;;
    *) number=- argument=- ;;
    esac
    printf 's\t%s\t%s\t%s\n' "$pid" "$number" "$argument"
  done
}

fields() { # KIND: a record of that kind from what grep says of a file of a process: its second word and third
  awk -v OFS="$T" -v kind="$1" -v from=$((${#proc} + 2)) '{
    pid = substr($1, from); sub(/\/.*/, "", pid)
    if (NF > 2) print kind, pid, $2, $3; else print kind, pid, $2
  }'
}

identity() { # PID: program, arguments; newlines, which are rare, cost another process
  file=$(readlink "$proc/$1/exe")
  case $file in *"$N"*) file=$(printf %s "$file" | tr '\n' '\036') ;; esac
  printf 'x\t%s\t%s\n' "$1" "$file"
  printf 'c\t%s\t%.4000s\n' "$1" "$(tr '\000\n' '\037\036' <"$proc/$1/cmdline")"
}

ceilings() { # of namespaces, where each may have one of its own
  release=$(uname -r)
  minor=${release#*.}
  minor=${minor%%[!0-9]*}
  [ "$(id -u)" = 0 ] && [ $((${release%%.*} * 100 + minor)) -ge 614 ] && command -v nsenter >/dev/null || return
  for pid in $inits; do
    [ "$pid" = 1 ] || printf 'm\t%s\t%s\n' "$pid" "$(nsenter -t "$pid" -p cat /proc/sys/kernel/pid_max)"
  done
}

zombies() { # seen before, and still the same ones now: started before the first look, and of the same parent
  printf '%s\n' "$seen" | awk -F "$T" '$1 == "z" { print "z " $2 " " $3 }'
  sleep "$stay"
  printf '%s\n' "$seen" | awk -F "$T" '$1 == "z" { print $2 }' | sed "s|.*|$proc/&/stat|" | xargs grep '' /dev/null
}

records() {
  about
  seen=$(processes)
  printf '%s\n' "$seen" | grep "^[piou]$T"
  inits=$(printf '%s\n' "$seen" | awk -F "$T" '$1 == "i" { print $2 }')
  printf '%s\n' "$seen" | awk -F "$T" '$1 == "p" { print $2 }' | started
  pids=$inits
  of limits | xargs grep '^Max processes' /dev/null | sed 's/:Max processes/:/' | fields r
  of ns/pid | xargs ls -ln /dev/null | awk -v OFS="$T" -v from=$((${#proc} + 2)) '
    $(NF - 1) == "->" { pid = substr($(NF - 2), from); sub(/\/.*/, "", pid); print "n", pid, $NF }'
  for pid in $inits; do
    identity "$pid"
    groups "$pid"
  done
  pids=$(printf '%s\n' "$seen" | awk -F "$T" '
    $1 == "i" { init[$2] = 1; print $2 }
    $1 == "p" && $9 !~ /^0+$/ { child[$2] = $3 }
    END { for (pid in child) if (child[pid] in init && !(pid in init)) print pid }')
  waiting
  [ -z "$inside" ] || ceilings
  zombies | awk -v OFS="$T" -v from=$((${#proc} + 2)) -v began="${uptime%.*}${uptime#*.}" '
    $1 == "z" { parent[$2] = $3; seen[$3]++; next }
    { pid = substr($0, from); sub(/\/.*/, "", pid); sub(/^.*\) /, "") }
    NF > 19 && $1 == "Z" && $18 < 2 && $20 + 0 <= began + 0 && parent[pid] == $2 { stayed[$2]++ }
    END { for (pid in seen) print "z", pid, seen[pid], stayed[pid] + 0 }'
  echo end
}

if command -v gzip >/dev/null && command -v base64 >/dev/null; then
  printf '\nbegin packed\n'
  records | gzip -c | base64
else
  printf '\nbegin plain\n'
  records
fi
printf 'end of scan\n'
