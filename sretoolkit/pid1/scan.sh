# One look at every PID namespace of this machine: POSIX sh with awk, grep, ls, xargs, cat, dd, od, tr; read-only, no
# temporary file. Processes may vanish at any moment and may be named anything. Arguments: seconds that a zombie must stay;
# where /proc is; whose own pid_max to ask for (a moment's process in the namespace; Linux 6.14, root): "all", "short" = those
# that could run short by it now, "none".
# What it says stands between "begin" and "end of scan", whatever a login prints around it, and is packed (gzip, base64) where
# that can be done. A record is one line of tab-separated fields; what a process chose itself comes last, newlines in it
# as \036. here.py makes the same records without a shell: change both.
#   host  uid machine release own-pid-namespace pid_max threads-max tasks uptime hidepid controller mount
#   p     pid ppid state depth children threads uid SigBlk SigIgn SigCgt name    an init, some of its children and of
#         those of shells among them, a zombie's parent
#   i     pid                                                               that one is a namespace's init
#   a     pid start                                                         in ticks since the machine started
#   o     parent init                                                       the init above a zombie's parent
#   u     uid tasks                                                         threads and zombies of one user, machine-wide
#   n     pid namespace | x pid exe | m pid pid_max-of-its-namespace
#   c     pid arguments (parted by \037)   of an init, of a shell behind one, and of a few children of such shells
#   t     pid script                       the text of the file that a shell or node runs, its first 16000 bytes
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
U=$(printf '\037')
stay=${1:-1} proc=${2:-/proc} ask=${3:-none}
exec 2>/dev/null

# shellcheck disable=SC2046
set -- $(uname -rm) $(id -u)
release=$1 machine=$2 user=$3
case $machine in
x86_64) sigwait=128 wait4=61 waitid=247 ;;
aarch64) sigwait=137 wait4=260 waitid=95 ;;
*) sigwait=- wait4=- waitid=- ;;
esac

about() { # the machine itself; sets own, v1, v2, cold and uptime
  own=$(readlink "$proc/self/ns/pid")
  # not by read: dash reads byte by byte, and /proc/sys answers the first one only
  pid_max=$(cat "$proc/sys/kernel/pid_max" "$proc/sys/kernel/threads-max")
  threads_max=${pid_max#*"$N"} pid_max=${pid_max%%"$N"*}
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
  printf 'host\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$user" "$machine" "$release" "$own" \
    "$pid_max" "$threads_max" "${tasks#*/}" "$uptime" "${hidden%%,*}" "$controller" "$mount"
}

table() { # every status once: i inits, k some of their children, z zombies, o who is above, and by parent and user: C, V
  printf '%s\n' "$proc"/[0-9]* | awk -v OFS="$T" -v from=$((${#proc} + 2)) \
    -v spare="$([ "$own" != 'pid:[4026531836]' ] || echo 1)" '
    function field(name, most,   at, rest) {
      at = index(text, "\n" name ":\t")
      if (!at) return ""
      rest = substr(text, at + length(name) + 3, most) "\n"
      return substr(rest, 1, index(rest, "\n") - 1)
    }
    function consider(up, kid) { # the two lowest and the two highest
      if (!(up in low)) low[up] = high[up] = kid
      else if (kid < low[up]) { low2[up] = low[up]; low[up] = kid }
      else if (!(up in low2) || kid < low2[up]) low2[up] = kid
      if (kid > high[up]) { high2[up] = high[up]; high[up] = kid }
      else if (kid != high[up] && (!(up in high2) || kid > high2[up])) high2[up] = kid
    }
    { path[NR] = $0 }
    END {
      RS = "" # a file is one record
      for (i = 1; i <= NR; i++) {
        file = path[i] "/status"
        got = (getline text < file)
        close(file)
        if (got <= 0) continue
        pid = substr(path[i], from) + 0
        parent[pid] = up = field("PPid", 20) + 0
        count = field("Threads", 20) + 0
        tasks[field("Uid", 20) + 0] += count
        if (index(text, "\nState:\tZ")) { dead[pid] = 1; if (count < 2) gone[pid] = 1; continue }
        children[up]++
        inside = field("NSpid", 400)
        if (inside ~ /(^|\t)1$/) init[pid] = 1
      }
      for (pid in init) every = every " " pid
      print "I" every # first, where the shell finds it at once: its search goes from left to right, again and again
      for (pid in parent) {
        up = parent[pid]
        if (up in init && !(pid in dead) && (up != 1 || !spare)) consider(up, pid + 0)
      }
      for (up in low) { kid[low[up]] = up; kid[high[up]] = up }
      for (up in low2) kid[low2[up]] = up
      for (up in high2) kid[high2[up]] = up
      every = ""
      for (pid in kid) every = every " " pid
      print "K" every
      for (pid in init) print "i", pid
      for (pid in kid) print "k", pid, kid[pid]
      for (pid in gone) { print "z", pid, parent[pid]; asked[parent[pid]] = 1 }
      for (pid in asked) { up = pid; while (up in parent && !(up in init)) up = parent[up]; print "o", pid, up }
      for (pid in children) print "C", pid, children[pid]
      for (user in tasks) print "V", user, tasks[user]
      print "E"
    }'
}

links() { # of inits n and x, of some of their children Y; a name with odd bytes is asked for again
  { for pid in $inits; do printf '%s\n' "$proc/$pid/exe" "$proc/$pid/ns/pid"; done
    for pid in $kids; do printf '%s\n' "$proc/$pid/exe"; done; } | xargs ls -lnq /dev/null | while IFS= read -r line; do
    rest=${line#*" $proc/"}
    pid=${rest%%/*} target=${rest#*" -> "}
    case $rest in
    "$line" | "$target") ;;
    */exe" -> "*)
      case $target in *\?*) target=$(readlink "$proc/$pid/exe" | tr '\n' '\036') ;; esac
      case " $inits " in *" $pid "*) kind=x ;; *) kind=Y ;; esac
      printf '%s\t%s\t%s\n' "$kind" "$pid" "$target"
      ;;
    *) printf 'n\t%s\t%s\n' "$pid" "$target" ;;
    esac
  done
}

called() { # PID PROGRAM: sets name to what it goes by; one of many names is what it is called as
  name=${2##*/}
  case $name in busybox | toybox) ;; *) return ;; esac
  for name in "$(head -n 1 "$proc/$1/comm")" $(tr '\000 ' '\n_' <"$proc/$1/cmdline" | head -n 2); do
    name=${name##*/}
    case $name in '' | busybox | toybox) ;; *) return ;; esac
  done
}

shells() { # of what links said: H shell and its children, F who may run a script, and as which program
  printf '%s\n' "$linked" | while IFS="$T" read -r kind pid target; do
    [ "$kind" != n ] || continue
    called "$pid" "$target"
    case $name in
    sh | dash | bash | ash | zsh | ksh | ksh93 | mksh | mksh-static)
      case " $spared " in *" $pid "*) continue ;; esac
      born=''
      for file in "$proc/$pid"/task/*/children; do
        read -r some <"$file"
        born="$born $some"
        some=''
      done
      printf 'H\t%s\t%s\nF\t%s\t%s\n' "$pid" "$born" "$pid" "$name"
      ;;
    node) printf 'F\t%s\t%s\n' "$pid" "$name" ;;
    esac
  done
}

facts() { # of those chosen: p, a, u; of inits r, g, h, l; e; and B below a shell, W whose waits to read, S short of ids
  printf '%s\n' "$seen" "$held" | awk -F "$T" -v OFS="$T" -v proc="$proc" -v v1="$v1" -v v2="$v2" -v cold="$cold" '
    function put(record) { records[++count] = record }
    function whole(file,   got, text) {
      RS = ""
      got = (getline text < file)
      close(file)
      RS = "\n"
      sub(/\n+$/, "", text) # busybox leaves it
      return got > 0 ? text : ""
    }
    function last(file,   line, text) { while ((getline line < file) > 0) text = line; close(file); return text }
    function field(text, name,   at, rest) {
      at = index(text, "\n" name ":\t")
      if (!at) return ""
      rest = substr(text, at + length(name) + 3, 400) "\n"
      return substr(rest, 1, index(rest, "\n") - 1)
    }
    function shown(pid,   text, number, part, user, blocked) {
      if (pid in done) return
      done[pid] = 1
      text = whole(proc "/" pid "/status")
      if (text == "") return
      user = field(text, "Uid") + 0
      blocked = field(text, "SigBlk")
      named[user] = 1
      put("p" OFS pid OFS field(text, "PPid") + 0 OFS substr(field(text, "State"), 1, 1) OFS \
        split(field(text, "NSpid"), part, "\t") OFS children[pid] + 0 OFS field(text, "Threads") + 0 OFS user OFS blocked OFS \
        field(text, "SigIgn") OFS field(text, "SigCgt") OFS substr(text, 7, index(text, "\n") - 7))
      if (pid in kid && !(pid in init) && blocked !~ /^0*$/) waits[pid] = 1
      text = last(proc "/" pid "/stat")
      sub(/^.*\) /, "", text)
      if (split(text, part, " ") > 19) put("a" OFS pid OFS part[20])
    }
    function below(list,   number, pid, i, round, sign, best, living) { # the two lowest and the two highest that live
      number = split(list, pid, " ")
      for (i = 1; i <= number; i++)
        living[pid[i]] = index(whole(proc "/" pid[i] "/status"), "\nState:\tZ") ? 0 : 1
      for (round = 0; round < 4; round++) {
        sign = round < 2 ? 1 : -1
        best = 0
        for (i = 1; i <= number; i++) if (living[pid[i]] == 1 && (!best || sign * pid[i] < sign * best)) best = pid[i]
        if (best) { living[best] = 2; shown(best); lowest = lowest " " best }
      }
    }
    function level(base, path,   current, most, word, i, failed) {
      if (base path in known) return known[base path]
      current = whole(base path "/pids.current") ""
      if (current == "") return known[base path] = ""
      most = whole(base path "/pids.max")
      failed = split(whole(base path "/pids.events"), word, /[ \n]/)
      for (i = 1; i < failed; i++) if (word[i] == "max") break
      return known[base path] = current OFS (most == "" ? "?" : most) OFS (i < failed ? word[i + 1] : 0) OFS (path == "" ? "/" : path)
    }
    function group(pid,   line, number, i, rest, kind, place, base, path, two, icy, first, some, state) {
      number = split(whole(proc "/" pid "/cgroup"), line, "\n")
      if (!number) return
      for (i = 1; i <= number; i++) {
        rest = substr(line[i], index(line[i], ":") + 1)
        kind = "," substr(rest, 1, index(rest, ":") - 1) ","
        place = substr(rest, index(rest, ":") + 1)
        if (first == "" && place != "/") first = place
        if (index(kind, ",pids,")) { base = v1; path = place }
        else if (kind == ",,") two = place
        if (index(kind, ",freezer,")) icy = place
      }
      if (base == "") { base = v2; path = two }
      some = path
      if (some == "" || some == "/") some = two
      if (some == "" || some == "/") some = first == "" ? "/" : first
      put("g" OFS pid OFS some)
      if (!index(icy two "/", "/../")) {
        if (cold != "" && icy != "") {
          state = icy == "/" ? "THAWED" : whole(cold icy "/freezer.state")
          if (state != "") put("h" OFS pid OFS (state == "THAWED" ? 0 : 1))
        } else if (v2 != "" && two != "") {
          sub(/\/$/, "", two)
          put("h" OFS pid OFS (index("\n" whole(v2 two "/cgroup.events"), "\nfrozen 1") ? 1 : 0))
        }
      }
      short[pid] = 1
      if (base == "" || path == "" || index(path "/", "/../")) return
      for (first = 1; ; first = 0) {
        sub(/\/$/, "", path)
        rest = level(base, path)
        if (rest != "") put("l" OFS pid OFS rest)
        if (first && rest != "" && rest + 0 < 226) delete short[pid]
        if (path == "") break
        sub(/\/[^\/]*$/, "", path)
      }
    }
    $1 == "i" { init[$2] = 1; waits[$2] = 1 }
    $1 == "k" { kid[$2] = 1 }
    $1 == "o" { up[$2] = 1 }
    $1 == "C" { children[$2] = $3 }
    $1 == "V" { tasks[$2] = $3 }
    $1 == "H" { held[$2] = $3 }
    END {
      for (pid in init) {
        shown(pid)
        group(pid)
        text = "\n" whole(proc "/" pid "/limits")
        if (at = index(text, "\nMax processes ")) { split(substr(text, at + 15, 80), part, " "); put("r" OFS pid OFS part[1]) }
      }
      for (pid in kid) shown(pid)
      for (pid in up) shown(pid)
      for (pid in held) below(held[pid])
      for (user in named) put("u" OFS user OFS tasks[user])
      for (pid in waits) {
        (getline text < (proc "/" pid "/exe"))
        close(proc "/" pid "/exe")
        text = substr(text, 1, 4) == "\177ELF" ? substr(text, 5, 1) : ""
        put("e" OFS pid OFS (text == "\002" ? 2 : text == "\001" ? 1 : ""))
        waiting = waiting " " pid
        text = ""
      }
      for (pid in short) scarce = scarce " " pid
      print "B" lowest
      print "W" waiting
      print "S" scarce
      for (i = 1; i <= count; i++) print records[i]
      print "E"
    }'
}

lines() { # c of each of $listed, all by one cat: who holds what looks like the mark between them makes it one by one
  set --
  for pid in $listed; do set -- "$@" "$proc/$pid/cmdline" /proc/sys/kernel/random/uuid; done
  [ $# -gt 0 ] || return
  cat "$@" | tr '\000\n' '\037\036' | awk -v OFS="$T" -v pids="$listed" '
    {
      h = "[0-9a-f][0-9a-f][0-9a-f][0-9a-f]"
      mark = h h "-" h "-" h "-" h "-" h h h "\036"
      total = split(pids, pid, " ")
      for (i = 1; match($0, mark); i++) { words[i] = substr($0, 1, RSTART - 1); $0 = substr($0, RSTART + RLENGTH) }
      if (i - 1 != total || $0 != "") exit 1
      for (i = 1; i <= total; i++) print "c", pid[i], substr(words[i], 1, 4000)
      right = 1
    }
    END { exit !right }' && return
  for pid in $listed; do printf 'c\t%s\t%.4000s\n' "$pid" "$(tr '\000\n' '\037\036' <"$proc/$pid/cmdline")"; done
}

scripts() { # t of each that may run one: no pipe, which would keep us waiting, and no link that leads out of a container
  printf '%s\n' "$held" | while IFS="$T" read -r kind pid program; do
    [ "$kind" = F ] || continue
    words=$(printf '%s\n' "$told" | grep "^c$T$pid$T")
    words=${words#c?"$pid"?}
    set -f
    IFS=$U
    # shellcheck disable=SC2086
    set -- $words
    unset IFS
    set +f
    [ $# -gt 0 ] && shift
    name=''
    while [ $# -gt 0 ]; do
      case $1 in
      --eval | --print | -[ep] | -pe | -c | -[a-z]*c) break ;;
      [-+]*) shift ;;
      *) name=$1 && break ;;
      esac
    done
    [ -n "$name" ] || continue
    case $name in /*) ;; *) name=$(readlink "$proc/$pid/cwd")/$name ;; esac
    case $program in bash) fd=255 ;; dash | sh) fd=10 ;; *) fd=- ;; esac
    for file in "$proc/$pid/fd/$fd" "$proc/$pid/root$name"; do
      [ -f "$file" ] || continue
      case $file in "$proc/$pid/fd/"*) ;; *) [ ! -L "$file" ] || continue ;; esac
      text=$(dd if="$file" bs=16000 count=1 | tr -d '\000' | tr '\n' '\036')
      [ -n "$text" ] || continue
      printf 't\t%s\t%s\n' "$pid" "$text"
      break
    done
  done
}

waiting() { # what each thread of $pids blocks, which of three calls it waits in, what their signalfds take
  for pid in $pids; do
    printf '%s\n' "$proc/$pid"/task/*/status "$proc/$pid"/fdinfo/* "$proc/$pid"/task/*/syscall
  done | xargs grep -E '^(SigBlk|sigmask):|^[0-9-]|^running' /dev/null |
    awk -v OFS="$T" -v from=$((${#proc} + 2)) -v kept=" $sigwait $wait4 $waitid " '
    {
      at = index($0, ":")
      file = substr($0, from, at - from)
      split(substr($0, at + 1), word, /[ \t]+/)
      pid = file
      sub(/\/.*/, "", pid)
      if (file ~ /syscall$/) {
        if (!index(kept, " " word[1] " ")) word[1] = word[2] = "-"
        print "s", pid, word[1], word[2]
      } else if (file ~ /status$/) print "b", pid, word[2]
      else if (word[1] == "sigmask:") print "f", pid, word[2]
    }' | while IFS="$T" read -r kind pid number argument; do
    if [ "$kind" = s ]; then
      if [ "$number" = "$sigwait" ]; then
        # shellcheck disable=SC2046
        set -- $(dd if="$proc/$pid/mem" bs=1 skip=$((argument)) count=8 | od -An -tx1)
        printf 'w\t%s\t' "$pid"
        printf %s "$@"
        echo
      fi
      printf 's\t%s\t%s\t%s\n' "$pid" "$number" "$argument"
    else
      printf '%s\t%s\t%s\n' "$kind" "$pid" "$number"
    fi
  done
}

ceilings() { # of namespaces, where each may have one of its own
  minor=${release#*.}
  minor=${minor%%[!0-9]*}
  [ "$user" = 0 ] && [ $((${release%%.*} * 100 + minor)) -ge 614 ] && command -v nsenter >/dev/null || return
  pick "$N$known" S
  [ "$ask" != all ] || list=$inits
  for pid in $list; do
    [ "$pid" = 1 ] || printf 'm\t%s\t%s\n' "$pid" "$(nsenter -t "$pid" -p cat /proc/sys/kernel/pid_max)"
  done
}

pick() { # RECORDS KIND: sets list to the pids on the one line of that kind
  list=${1#*"$N$2"}
  list=${list%%"$N"*}
}

zombies() { # seen before, and still the same ones now: started before the first look, and of the same parent
  printf '%s\n' "$seen" | awk -F "$T" -v OFS="$T" -v proc="$proc" -v began="${uptime%.*}${uptime#*.}" '
    $1 == "z" {
      seen[$3]++
      stat = ""
      file = proc "/" $2 "/stat"
      while ((getline line < file) > 0) stat = line
      close(file)
      sub(/^.*\) /, "", stat)
      if (split(stat, part, " ") > 19 && part[1] == "Z" && part[18] < 2 && part[20] + 0 <= began + 0 && part[2] == $3) stayed[$3]++
    }
    END { for (pid in seen) print "z", pid, seen[pid], stayed[pid] + 0; print "E" }'
}

whole() { # COMMAND: sets found; anew when it did not get to its end, since mawk ends at a file that cannot be read any more
  for _ in 1 2 3 4; do
    found=$("$1")
    case $found in E | *"${N}E") return ;; esac
  done
  exit 1
}

records() {
  about
  whole table
  seen=$found
  pick "$N$seen" I
  inits=$list
  pick "$N$seen" K
  kids=$list
  linked=$(links)
  spared=$([ "$own" != 'pid:[4026531836]' ] || echo 1)
  held=$(shells)
  whole facts
  known=$found
  pick "$N$known" B
  listed=''
  for pid in $inits $(printf '%s\n' "$held" | while read -r kind pid _; do [ "$kind" != H ] || echo "$pid"; done) $list; do
    case " $listed " in *" $pid "*) ;; *) listed="$listed $pid" ;; esac
  done
  told=$(lines)
  printf '%s\n' "$seen" "$known" "$told" "$linked" | grep "^[piouarghlecnx]$T"
  scripts
  pick "$N$known" W
  pids=$list
  waiting
  [ "$ask" = none ] || ceilings
  case $N$seen in
  *"${N}z$T"*)
    sleep "$stay"
    whole zombies
    printf '%s\n' "$found" | grep "^z"
    ;;
  esac
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
