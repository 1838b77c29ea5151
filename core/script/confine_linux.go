package script

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/landlock-lsm/go-landlock/landlock"
	landlocksys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// denied are system calls that a worker never needs once it runs. They open,
// change or reach something outside the process. What is not listed is what
// Go's runtime may use: memory, threads, clocks, reading and writing what is
// open already. Names that an architecture does not know are left out.
var denied = strings.Fields(`
	execve execveat fork vfork
	socket socketpair connect bind listen accept accept4 sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg
	open openat openat2 creat open_by_handle_at name_to_handle_at memfd_create memfd_secret
	unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat mkdir mkdirat rmdir mknod mknodat
	truncate ftruncate fallocate chmod fchmod fchmodat fchmodat2 chown fchown fchownat lchown utimensat utimes
	chdir fchdir chroot pivot_root mount umount2 move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr
	setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr
	ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_open pidfd_getfd pidfd_send_signal
	kill tkill rt_sigqueueinfo rt_tgsigqueueinfo
	setuid setgid setreuid setregid setresuid setresgid setgroups setfsuid setfsgid capset setns unshare
	setpgid setsid setpriority sched_setaffinity sched_setscheduler sched_setparam sched_setattr
	bpf perf_event_open io_uring_setup io_uring_enter io_uring_register userfaultfd fanotify_init fanotify_mark
	inotify_init inotify_init1 inotify_add_watch keyctl add_key request_key quotactl swapon swapoff reboot
	init_module finit_module delete_module kexec_load kexec_file_load personality iopl ioperm modify_ldt
	settimeofday clock_settime clock_adjtime adjtimex sethostname setdomainname syslog acct
	shmget shmat shmctl msgget msgsnd msgrcv semget semop semctl mq_open mq_unlink
	ioctl splice tee vmsplice sendfile copy_file_range pipe pipe2
`)

// confine puts the walls around this process, for good. It needs no privilege.
// A wall that the kernel does not have is left out, and said so.
func confine(memory uint64) confinement {
	state := func(err error) string {
		if err != nil {
			return err.Error()
		}
		return "on"
	}
	// Landlock before seccomp, which takes its system calls away.
	return confinement{
		Memory:   state(limitResources(memory)),
		Landlock: state(restrictFiles()),
		Seccomp:  state(filterCalls()),
	}
}

func limitResources(memory uint64) error {
	err := limitMemory(memory)
	for what, limit := range map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_NOFILE: 16, unix.RLIMIT_FSIZE: 0} {
		err = errors.Join(err, unix.Setrlimit(what, &unix.Rlimit{Cur: limit, Max: limit}))
	}
	// Not dumpable: other processes of the same user cannot look inside.
	return errors.Join(err, unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
}

// restrictFiles takes all paths and the network away.
func restrictFiles() error {
	if _, err := landlocksys.LandlockGetABIVersion(); err != nil {
		return fmt.Errorf("not in this kernel: %w", err)
	}
	return landlock.V11.BestEffort().Restrict()
}

const (
	// arena is how much Go maps for its heap at a time. The first is mapped, and
	// counts, before anything is in it.
	arena = 64 << 20
	// besideHeap is for what the runtime maps to keep account of its heap.
	besideHeap = 16 << 20
)

// limitMemory bounds what the process may map for data, beyond what it has
// mapped already (Go's runtime, tables, and much under the race detector) and not
// used yet.
func limitMemory(memory uint64) error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	_, rest, ok := strings.Cut(string(status), "VmData:")
	fields := strings.Fields(rest)
	if !ok || len(fields) == 0 {
		return fmt.Errorf("no VmData in /proc/self/status")
	}
	has, err := strconv.ParseUint(fields[0], 10, 64)
	if err != nil || has > math.MaxUint64>>20 {
		return fmt.Errorf("VmData in /proc/self/status: %q", fields[0])
	}
	limit := has<<10 + max(memory, arena) - arena + besideHeap
	return unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: limit, Max: limit})
}

func filterCalls() error {
	info, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	var names []string
	for _, n := range denied {
		if _, ok := info.SyscallNames[n]; ok {
			names = append(names, n)
		}
	}
	return seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionAllow,
			Syscalls:      []seccomp.SyscallGroup{{Names: names, Action: seccomp.ActionErrno}},
		},
	})
}

// lastNice is the nice value of those who come last: where others want the CPU all the
// time they get a tenth of what one of these does. Less, as SCHED_IDLE would be, and on
// a busy machine they would not even read their script in time.
const lastNice = 10

// putLast lets a process that has just started, with all threads that it has or
// makes, come after everybody else who wants the CPU, and give way to whoever wakes up.
// What the kernel refuses is missing then: it is no wall.
func putLast(pid int) {
	done := map[string]bool{}
	for range 10 { // threads may start others meanwhile
		tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		more := false
		for _, t := range tasks {
			if tid, err := strconv.Atoi(t.Name()); err == nil && !done[t.Name()] {
				_ = unix.SchedSetAttr(tid, &unix.SchedAttr{Policy: unix.SCHED_BATCH, Nice: lastNice}, 0)
				done[t.Name()], more = true, true
			}
		}
		if !more {
			return
		}
	}
}

// cpuTime is the CPU time that this process has used.
func cpuTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t) != nil {
		return math.MaxInt64 / 2
	}
	return time.Duration(t.Nano())
}

// cpuTimeOf is the CPU time that another process of ours has used.
func cpuTimeOf(pid int) (time.Duration, bool) {
	var t unix.Timespec
	clock := int32(^pid<<3 | 2) // see clock_getcpuclockid(3)
	if unix.ClockGettime(clock, &t) != nil {
		return 0, false
	}
	return time.Duration(t.Nano()), true
}

// workerAttr is how a worker starts: in a group of its own, so that a signal to
// the terminal does not reach it, and dead as soon as the thread that started
// it is.
func workerAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
