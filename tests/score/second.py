"""The second series, held back: other programs, shells, inits and wrappers, Podman's among them."""

from __future__ import annotations

from dataclasses import replace

from tests.score.case import BEHIND, LINE, PYTHON, READY, TMPFS, Case, app, bare, line, signal

_RUBY = "def mark(name) = (File.write('/seen/' + name, '') rescue nil); "
_RUBY_HEARS = "trap('TERM') { mark('told'); sleep 0.3; mark('done'); exit! 0 }; "
_PHP_HEARS = "function($which) { touch('/seen/told'); usleep(300000); touch('/seen/done'); exit(0); }"
_PHP = "pcntl_async_signals(true); pcntl_signal(SIGTERM, {}); touch('/seen/ready'); while (true) sleep(600);"
_POSTGRES = "/usr/lib/postgresql/*/bin"
_SSHD = "mkdir -p /run/sshd && ssh-keygen -q -t ed25519 -N '' -f /tmp/key && exec /usr/sbin/sshd -D -h /tmp/key -p 2222"


def _supervised(program: str) -> str:
    return f"mkdir -p /tmp/scan/app && cp /seen/run /tmp/scan/app/ && chmod +x /tmp/scan/app/run && exec {program} /tmp/scan"


_CASES: tuple[Case, ...] = (
    line("ruby-trap", "ruby", "-e", f"{_RUBY}{_RUBY_HEARS}mark('ready'); sleep"),
    line("ruby-default", "ruby", "-e", f"{_RUBY}mark('ready'); sleep", logs=False),
    bare("lua-default", "lua5.4", "-e", "os.execute('sleep 600')"),
    bare("perl-ignores", "perl", "-e", "$SIG{TERM} = 'IGNORE'; sleep 600"),
    line("php-pcntl", "php", "-r", _PHP.format(_PHP_HEARS)),
    line("php-pcntl-noop", "php", "-r", _PHP.format("function($which) {}"), logs=False),
    line("node-file-listener", "node", "/seen/server.js"),
    bare("node-behind-tini", "tini", "--", "node", "-e", "setInterval(() => {}, 1e9)"),
    line("java-hook", "java", "-Xmx32m", "/seen/Hook.java"),
    bare("go-etcd", "etcd", "--data-dir", "/tmp/etcd"),
    bare(
        "go-alertmanager",
        "prometheus-alertmanager", "--config.file=/seen/alertmanager.yml", "--storage.path=/tmp/alerts",
        "--cluster.listen-address=", "--web.listen-address=127.0.0.1:9093",
    ),
    bare("socat-listens", "socat", "TCP-LISTEN:8084,bind=127.0.0.1,fork,reuseaddr", "EXEC:cat"),
    bare("dnsmasq", "dnsmasq", "-k", "--port=0", "--user=root", "--pid-file=", "--conf-file=/dev/null"),
    line("supervisord", "supervisord", "-n", "-c", "/seen/supervisord.conf"),
    bare("redis", "redis-server", "--save", "", "--dir", "/tmp"),
    bare("memcached", "memcached", "-u", "root", "-l", "127.0.0.1"),
    bare("apache-winch", "apache2", "-DFOREGROUND", "-f", "/seen/apache.conf", options=signal("SIGWINCH")),
    bare("apache-term", "apache2", "-DFOREGROUND", "-f", "/seen/apache.conf"),
    bare("php-fpm-quit", "php-fpm8.2", "-F", "-R", "-y", "/seen/fpm.conf", options=signal("SIGQUIT")),
    bare(
        "postgres-int",
        "sh", "-c", f"{_POSTGRES}/initdb -D /data/it && exec {_POSTGRES}/postgres -D /data/it -k /data",
        options=("--tmpfs", "/data:mode=1777", "--user", "65534:65534", *signal("SIGINT")),
    ),
    bare("lighttpd", "lighttpd", "-D", "-f", "/seen/lighttpd.conf"),
    bare("sshd", "sh", "-c", _SSHD, options=TMPFS),
    bare("gunicorn", "gunicorn", "-b", "127.0.0.1:8083", "--chdir", "/tmp", "wsgiref.simple_server:demo_app"),
    bare("nginx-behind-dash", "dash", "-c", "nginx -c /seen/nginx.conf; true"),
    line("mksh-c", "mksh", "-c", BEHIND),
    line("mksh-trap-waits", "mksh", "-c", f"trap 'kill $!; wait; exit 0' TERM; {LINE} handle & wait"),
    line("entrypoint-exec", "bash", "/seen/exec.sh", *PYTHON, "handle"),
    line("entrypoint-forwards", "bash", "/seen/forwards.sh"),
    line("entrypoint-only-logs", "bash", "/seen/only-logs.sh", logs=False),
    line("dash-trap-kills-no-wait", "dash", "-c", f"trap 'kill $c; exit 0' TERM; {LINE} handle & c=$!; wait"),
    line("bash-trap-colon-wait", "bash", "-c", f"trap : TERM; {LINE} handle & wait"),
    line(
        "dash-trap-polls",
        "dash", "-c", f"trap 'touch /seen/told /seen/done; exit 0' TERM; {READY}while sleep 2; do :; done",
    ),
    line("bash-trap-sleeps-on", "bash", "-c", f"trap 'exit 0' TERM; {READY}sleep infinity; true", logs=False),
    line("tini-forwards", "tini", "--", "bash", "/seen/forwards.sh"),
    line("tini-only-logs", "tini", "--", "bash", "/seen/only-logs.sh", logs=False),
    line("docker-init-shell-trap", "bash", "-c", f"trap 'exit 0' TERM; {LINE} handle & wait", options=("--init",)),
    app("dumb-init-rewrites", "default", before=("dumb-init", "--rewrite", "15:2", "--")),
    line("dumb-init-script", "dumb-init", "--", "bash", "/seen/behind.sh"),
    app("catatonit-g-handler", "handle", before=("catatonit", "-g", "--")),
    app("tini-w-handler", "handle", before=("tini", "-w", "--")),
    line("s6-service", "sh", "-c", _supervised("s6-svscan")),
    line("runit-service", "sh", "-c", _supervised("runsvdir")),
    line("timeout-before", "timeout", "3600", *PYTHON, "handle"),
    line("su-before", "su", "-s", "/bin/sh", "root", "-c", f"{LINE} handle"),
    line("flock-before", "flock", "/tmp/lock", *PYTHON, "handle"),
    app("thread-sigwait", "thread"),
    app("asyncio-handler", "asyncio"),
    bare("busybox-init", "busybox", "init"),
    Case("shared-shell", ("dash", "-c", BEHIND), logs=True, beside="pause"),
    Case("podman-init-handler", (*PYTHON, "handle"), ("--init",), logs=True, runtime="podman"),
    Case("podman-init-shell", ("sh", "-c", BEHIND), ("--init",), logs=True, runtime="podman"),
    Case("podman-init-sigwait", (*PYTHON, "sigwait"), ("--init",), logs=True, runtime="podman"),
    Case("podman-no-handler", (*PYTHON, "default"), runtime="podman"),
    Case("podman-handler", (*PYTHON, "handle"), logs=True, runtime="podman"),
    Case("podman-usr1-unhandled", (*PYTHON, "handle"), signal("SIGUSR1"), runtime="podman"),
    Case("podman-shell-forwards", ("bash", "/seen/forwards.sh"), logs=True, runtime="podman"),
)  # fmt: skip
CASES = tuple(replace(case, series=2) for case in _CASES)
