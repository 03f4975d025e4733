#!/bin/bash
# A machine to try a service on: a real systemd as PID 1 in namespaces of its own, over a copy-on-write view of this
# machine's file system, without a network. What happens in there is gone when it is taken down.
#
#   lab.sh up DIR SOURCE      boot, and wait until it runs; SOURCE is seen at /usr/src/watcherd, read-only
#   lab.sh in DIR COMMAND...  run a command in there
#   lab.sh down DIR           power off, and leave nothing behind
#
# Needs root. It lives in a cgroup of every hierarchy that is named after DIR.
set -euo pipefail

LEGACY="cpu cpuacct memory devices blkio pids"  # hierarchies of cgroup v1 that a service manager looks for
GROUPS_AT=/sys/fs/cgroup

# Our cgroup in each hierarchy that this shell is in: pure v2, or v1 beside it.
our_cgroups() {
  local controllers path
  while IFS=: read -r _ controllers path; do
    case $controllers in
      "") [ -d $GROUPS_AT/unified ] && echo "$GROUPS_AT/unified${path%/}/$GROUP" || echo "$GROUPS_AT${path%/}/$GROUP" ;;
      name=*) echo "$GROUPS_AT/${controllers#name=}${path%/}/$GROUP" ;;
      *) [[ " $LEGACY " != *" $controllers "* ]] || echo "$GROUPS_AT/$controllers${path%/}/$GROUP" ;;
    esac
  done < /proc/self/cgroup
}

init_of() { pgrep -P "$(<"$1/pid")"; }

within() {
  nsenter -t "$(init_of "$1")" -a env -i PATH=/opt/watcherd/bin:/usr/sbin:/usr/bin LANG=C.UTF-8 TERM=dumb \
    PIP_NO_INDEX=1 PIP_FIND_LINKS=/usr/src/watcherd/build/wheelhouse \
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore "${@:2}"
}

up() {
  mkdir -p "$1/root"
  setsid "$0" enclosed "$1" "$2" < /dev/null > "$1/console.log" 2>&1 &
  echo $! > "$1/pid"
  for _ in $(seq 300); do
    within "$1" test -S /run/systemd/private 2> /dev/null && break
    sleep 0.1
  done
  within "$1" systemctl is-system-running --wait
}

# Into cgroups of our own, so that those of the real machine stay as they are; then into new namespaces.
enclosed() {
  for group in $(our_cgroups); do
    mkdir -p "$group"
    echo $$ > "$group/cgroup.procs"
  done
  exec unshare --fork --kill-child --pid --mount --uts --ipc --net --cgroup "$0" boot "$1" "$2"
}

# PID 1 of the new namespaces: builds the file system, and becomes systemd.
boot() {
  mount --make-rprivate /
  mount -t tmpfs -o mode=755,size=4g lab "$1/root"
  cd "$1/root"
  mkdir changes work new
  mount -t overlay -o "lowerdir=/,upperdir=$PWD/changes,workdir=$PWD/work" lab new
  cd new
  mount -t proc -o nosuid,nodev,noexec proc proc
  mount --bind proc/sys proc/sys
  mount -o remount,bind,ro proc/sys
  mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
  devices
  mount -t tmpfs -o mode=1777 tmp tmp
  mount -t tmpfs -o mode=755 run run
  mkdir -p data usr/src/watcherd
  for place in srv data; do  # where the kernel can be asked for writers, which it cannot below an overlay
    mount -t tmpfs -o mode=755 $place $place
  done
  mount --bind "$2" usr/src/watcherd
  mount -o remount,bind,ro usr/src/watcherd
  cgroup_file_systems
  without_what_is_not_here
  mkdir .before
  pivot_root . .before
  umount -l .before
  rmdir .before
  exec env -i container=watcherd-lab PATH=/usr/sbin:/usr/bin LANG=C.UTF-8 /lib/systemd/systemd
}

devices() {
  mount -t tmpfs -o mode=755,nosuid dev dev
  mkdir dev/pts dev/shm
  for device in null zero full random urandom tty; do
    : > dev/$device
    mount --bind /dev/$device dev/$device
  done
  mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts dev/pts
  mount -t tmpfs -o mode=1777 shm dev/shm
  ln -s pts/ptmx dev/ptmx
  ln -s /proc/self/fd dev/fd
  ln -s /proc/self/fd/0 dev/stdin
  ln -s /proc/self/fd/1 dev/stdout
  ln -s /proc/self/fd/2 dev/stderr
}

cgroup_file_systems() {
  if [ "$(stat -fc %T $GROUPS_AT)" = cgroup2fs ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    return
  fi
  mount -t tmpfs -o mode=755 cgroups sys/fs/cgroup
  mkdir sys/fs/cgroup/{systemd,unified}
  mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
  mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
  for controller in $LEGACY; do
    mkdir sys/fs/cgroup/$controller
    mount -t cgroup -o $controller cgroup sys/fs/cgroup/$controller
  done
}

# Units of the real machine, and those that need a kernel to themselves.
without_what_is_not_here() {
  rm -rf etc/systemd/system/*.wants
  : > etc/machine-id
  hostname watcherd-lab
  for unit in sys-kernel-{debug,tracing}.mount sys-fs-fuse-connections.mount dev-hugepages.mount \
    systemd-{modules-load,remount-fs,logind}.service; do
    ln -sf /dev/null "etc/systemd/system/$unit"
  done
}

down() {
  local outside
  [ -e "$1/pid" ] || return 0
  outside=$(<"$1/pid")
  kill -RTMIN+4 "$(init_of "$1")" || true  # power off
  for _ in $(seq 100); do
    kill -0 "$outside" 2> /dev/null || break
    sleep 0.1
  done
  kill -KILL "$outside" 2> /dev/null || true
  for group in $(our_cgroups); do
    [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} +
  done
  rm -r "$1/root" "$1/pid"
}

GROUP=watcherd-lab-$(cksum <<< "${2:-}" | cut -d ' ' -f 1)
case ${1:-} in
  in) within "${@:2}" ;;
  up | down | enclosed | boot) "$@" ;;
  *) sed -n '2,9s/^# \?//p' "$0" >&2; exit 2 ;;
esac
