package sandbox

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/grouse-rl/grouse"
)

// explain says what a launch's failed call means, and what would mend it.
func explain(what string, errno unix.Errno) error {
	err := grouse.Errorf(grouse.Unavailable, "no sandbox: %s: %w", what, errno)
	switch {
	case errno == unix.ENOSYS || strings.HasPrefix(what, "make the root read-only") && errno == unix.EINVAL:
		return err.WithFix("the kernel lacks a system call: Linux 5.14 or newer is needed (this is %s)", kernel())
	case errno == unix.EACCES && strings.HasPrefix(what, "mount /"):
		return err.WithFix("the sandbox's user cannot reach %s: let everybody read it, or take a program outside of private folders (python: /usr/bin/python3)", strings.TrimPrefix(what, "mount "))
	case strings.HasPrefix(what, "execute") || strings.HasPrefix(what, "mount /") || strings.HasPrefix(what, "copy"):
		return err.WithFix("the program must exist inside the sandbox: add its folder and its libraries to read_only")
	case strings.HasPrefix(what, "enter the cgroup"):
		return err.WithFix("the control group was taken away; start again")
	case errno == unix.ENOSPC:
		return err.WithFix("too many namespaces: raise the sysctl user.max_user_namespaces (now %s), user.max_net_namespaces and their kin", sysctl("user/max_user_namespaces"))
	case errno == unix.EPERM || errno == unix.EACCES || errno == unix.EINVAL:
		switch {
		case sysctl("kernel/unprivileged_userns_clone") == "0":
			return err.WithFix("set the sysctl kernel.unprivileged_userns_clone=1")
		case sysctl("user/max_user_namespaces") == "0":
			return err.WithFix("set the sysctl user.max_user_namespaces to 10000 or more")
		case sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1":
			return err.WithFix("set the sysctl kernel.apparmor_restrict_unprivileged_userns=0, or give grouse an AppArmor profile with `userns,`")
		}
		return err.WithFix("user namespaces are forbidden here. In a container: allow unshare, mount, pivot_root and clone in its seccomp profile (docker: --security-opt seccomp=unconfined --security-opt apparmor=unconfined; Kubernetes: seccompProfile Unconfined), or set sandbox to a service (http)")
	}
	return err
}

// sysctl reads a setting of the kernel; "" if it has none of the name.
func sysctl(name string) string {
	data, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func kernel() string {
	if v := sysctl("kernel/osrelease"); v != "" {
		return v
	}
	return "unknown"
}
