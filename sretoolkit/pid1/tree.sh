# The processes of one PID namespace: POSIX sh with grep, xargs, awk, tr; read-only. Argument: the host's pid of its first
# process. Those that entered it from outside (exec) are found by their namespace, which only root may read.
#   t pid ppid inside state threads SigBlk SigIgn SigCgt name     c pid arguments (parted by \037)     end
LC_ALL=C
export LC_ALL
T=$(printf '\t')
exec 2>/dev/null
own=$(readlink "/proc/$1/ns/pid")

listed=$(printf '%s\n' /proc/[0-9]*/status |
  xargs grep -E '^(Name|State|PPid|NSpid|Threads|SigBlk|SigIgn|SigCgt):' /dev/null |
  awk -v OFS="$T" -v top="$1" '
    { at = index($0, "/status:"); pid = substr($0, 7, at - 7); line = substr($0, at + 8)
      colon = index(line, ":"); field = substr(line, 1, colon - 1); value = substr(line, colon + 2) }
    field == "Name" { name[pid] = value; next }
    { n = split(value, part, /[ \t]+/) }
    field == "State" { state[pid] = part[1] }
    field == "PPid" { parent[pid] = part[1] }
    field == "NSpid" { depth[pid] = n; inside[pid] = part[n] }
    field == "Threads" { threads[pid] = part[1] }
    field ~ /^Sig/ { signals[pid] = signals[pid] OFS part[1] }
    END {
      for (pid in state) {
        up = pid
        while (up in parent && up != top && up != 0) up = parent[up]
        if (up != top && depth[pid] != depth[top]) continue
        print up == top ? "t" : "?", pid, parent[pid], inside[pid] + 0, state[pid], threads[pid] + 0 signals[pid], name[pid]
      }
    }')

chosen=$(
  printf '%s\n' "$listed" | grep "^t$T"
  for pid in $(printf '%s\n' "$listed" | awk -F "$T" '$1 == "?" { print $2 }'); do
    [ -z "$own" ] || [ "$(readlink "/proc/$pid/ns/pid")" != "$own" ] || printf '%s\n' "$listed" | sed -n "s/^?$T$pid$T/t$T$pid$T/p"
  done
)
printf '%s\n' "$chosen"
for pid in $(printf '%s\n' "$chosen" | awk -F "$T" '{ print $2 }'); do
  printf 'c\t%s\t%s\n' "$pid" "$(head -c 400 "/proc/$pid/cmdline" | tr '\000\n' '\037 ')"
done
echo end
