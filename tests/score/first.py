"""The cases of the first score; Podman's were not in it."""

from __future__ import annotations

from tests.score.case import APP, BEHIND, LINE, NODE_MARKS, PYTHON, READY, TMPFS, Case, app, bare, line, signal

_NODE = NODE_MARKS + "setInterval(()=>{},1e9);mark('ready')"
_NODE_HEARS = _NODE + ";process.on('SIGTERM',()=>{mark('told');setTimeout(()=>{mark('done');process.exit(0)},300)})"
_SYSTEMD = ("-e", "container=docker", *TMPFS, "-v", "/sys/fs/cgroup:/sys/fs/cgroup:ro")
_QUIET_JAVA = "public class A{public static void main(String[] a)throws Exception{Thread.sleep(600000);}}"
FILES = {
    "app.py": APP,
    "A.java": _QUIET_JAVA,
    "nginx.conf": "pid /tmp/pid; error_log stderr; daemon off; worker_processes 2; events {} http { access_log off; "
    "client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c; uwsgi_temp_path /tmp/d; "
    "scgi_temp_path /tmp/e; server { listen 127.0.0.1:8080; } }",
    "haproxy.cfg": "defaults\n mode tcp\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n"
    "listen a\n bind 127.0.0.1:8080\n server b 127.0.0.1:9\n",
    "prometheus.yml": "global: {}\n",
}

CASES: tuple[Case, ...] = (
    line("dash-c", "dash", "-c", BEHIND),
    line("bash-c", "bash", "-c", BEHIND),
    line("busybox-c", "busybox", "sh", "-c", BEHIND),
    line("dash-c-one-command", "dash", "-c", f"{LINE} handle"),
    line("bash-c-one-command", "bash", "-c", f"{LINE} handle"),
    line("dash-c-exec", "dash", "-c", f"exec {LINE} handle"),
    line("bash-trap-foreground", "bash", "-c", f"trap 'exit 0' TERM; {LINE} handle; true"),
    line(
        "bash-trap-background",
        "bash", "-c", f"trap 'kill $!; wait; exit 0' TERM; {LINE} handle & wait",
    ),
    line(
        "bash-trap-loop",
        "bash", "-c", f"trap 'touch /seen/told /seen/done; exit 0' TERM; {READY}while :; do sleep 1; done",
    ),
    line("dash-trap-foreground", "dash", "-c", f"trap 'exit 0' TERM; {LINE} handle; true"),
    line("bash-trap-ignores", "bash", "-c", f"trap '' TERM; {READY}sleep 600; true", logs=False),
    app("exec-handler", "handle"),
    app("exec-no-handler", "default"),
    app("exec-noop-handler", "noop"),
    app("exec-ignored", "ignore"),
    app("exec-blocked", "block"),
    app("exec-sigwait", "sigwait"),
    app("exec-signalfd", "signalfd"),
    app("prefork-server", "prefork"),
    app("prefork-behind-tini", "prefork", before=("tini", "--")),
    app("orphaning-app", "handle", "orphan"),
    app("orphaning-app-init", "handle", "orphan", options=("--init",)),
    app("non-waiting-app", "handle", "nowait"),
    app("reaping-handler-app", "handle", "chld"),
    app("sigchld-ignored-app", "default", "nochld"),
    app("dumb-init-handler", "handle", before=("dumb-init", "--")),
    app("dumb-init-default", "default", before=("dumb-init", "--")),
    line("dumb-init-shell", "dumb-init", "--", "dash", "-c", BEHIND),
    line("dumb-init-c-shell", "dumb-init", "-c", "--", "dash", "-c", BEHIND),
    app("tini-handler", "handle", before=("tini", "--")),
    app("tini-default", "default", before=("tini", "--")),
    app("tini-g-handler", "handle", before=("tini", "-g", "--")),
    app("tini-s-handler", "handle", before=("tini", "-s", "--")),
    app("tini-ignored", "ignore", before=("tini", "--")),
    app("tini-blocked", "block", before=("tini", "--")),
    app("tini-sigwait", "sigwait", before=("tini", "--")),
    line("tini-shell", "tini", "--", "dash", "-c", BEHIND),
    line("tini-g-shell", "tini", "-g", "--", "dash", "-c", BEHIND),
    line("tini-shell-trap", "tini", "--", "bash", "-c", f"trap 'exit 0' TERM; {LINE} handle & wait"),
    app("catatonit-handler", "handle", before=("catatonit", "--")),
    line("catatonit-shell", "catatonit", "--", "dash", "-c", BEHIND),
    line("catatonit-g-shell", "catatonit", "-g", "--", "dash", "-c", BEHIND),
    app("docker-init-handler", "handle", options=("--init",)),
    app("docker-init-default", "default", options=("--init",)),
    app("docker-init-signalfd", "signalfd", options=("--init",)),
    line("docker-init-shell", "sh", "-c", BEHIND, options=("--init",)),
    bare("systemd-wrong-signal", "/lib/systemd/systemd", options=_SYSTEMD),
    bare("systemd-right-signal", "/lib/systemd/systemd", options=(*_SYSTEMD, *signal("SIGRTMIN+3"))),
    line("s6-svscan", "sh", "-c", f"mkdir /tmp/scan; {READY}exec s6-svscan /tmp/scan", logs=False),
    line("runit-runsvdir", "sh", "-c", f"mkdir /tmp/scan; {READY}exec runsvdir /tmp/scan", logs=False),
    line("node-listener", "node", "-e", _NODE_HEARS),
    line("node-no-listener", "node", "-e", _NODE, logs=False),
    bare("java", "java", "-Xmx32m", "/seen/A.java"),
    bare("go-no-notify", "prometheus-node-exporter", "--web.listen-address=127.0.0.1:9100"),
    bare("go-notify", "prometheus", "--config.file=/seen/prometheus.yml", "--storage.tsdb.path=/tmp/data"),
    bare("perl", "perl", "-e", "sleep 600"),
    bare("perl-handler", "perl", "-e", "$SIG{TERM} = sub { exit 0 }; sleep 600"),
    bare("php", "php", "-r", "sleep(600);"),
    bare("nginx-term", "nginx", "-c", "/seen/nginx.conf"),
    bare("nginx-quit", "nginx", "-c", "/seen/nginx.conf", options=signal("SIGQUIT")),
    bare("haproxy-term", "haproxy", "-W", "-f", "/seen/haproxy.cfg"),
    bare("haproxy-usr1", "haproxy", "-W", "-f", "/seen/haproxy.cfg", options=signal("SIGUSR1")),
    bare("tail", "tail", "-f", "/dev/null"),
    app("stop-int-python", "default", options=signal("SIGINT")),
    app("stop-quit-handled", "handle", "3", options=signal("SIGQUIT")),
    app("stop-usr1-not-handled", "handle", options=signal("SIGUSR1")),
    app("stop-realtime-handled", "handle", "37", options=signal("SIGRTMIN+3")),
    bare("pause", "catatonit", "-P"),
    Case("shared-default", (*PYTHON, "default"), beside="pause"),
    Case("shared-tini", ("tini", "--", *PYTHON, "handle"), logs=True, beside="pause"),
)  # fmt: skip
