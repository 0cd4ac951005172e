#!/bin/busybox sh
# What udhcpc runs when a lease comes or goes.
case $1 in
  bound | renew) ;;
  deconfig) rm -f "/run/lease.$interface"; exit 0 ;;
  *) exit 0 ;;
esac
if [ "$(cat "/run/lease.$interface" 2>/dev/null)" != "$ip" ]; then
  ip addr flush dev "$interface"
  ip addr add "$ip/$mask" dev "$interface"
  metric=$(ls /run/lease.* 2>/dev/null | wc -l)
  for gateway in $router; do
    ip route add default via "$gateway" dev "$interface" metric "$metric"
  done
fi
for server in $dns; do
  echo "nameserver $server"
done >/etc/resolv.conf
echo "$ip" >"/run/lease.$interface"
