//go:build linux

// Package powercut makes disks whose power can be cut, for tests of what
// survives it: kill -9 proves nothing about durability, since the kernel keeps
// what a dead process wrote.
//
// A Disk is a file system in a file, mounted by a loop device. A cut shuts the
// file system down in the kernel, without writing anything back (FS_IOC_SHUTDOWN
// of ext4 and xfs): what was not synced is gone when it is mounted again. It
// takes root, and some tenths of a second.
package powercut

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	fsIocShutdown = 0x8004587d // FS_IOC_SHUTDOWN
	noLogFlush    = 2          // do not even write the journal back
	diskSize      = 512 << 20  // sparse
)

// Available says why there can be no Disk of a file system ("ext4" or "xfs")
// here, or returns nil.
func Available(fs string) error {
	if os.Geteuid() != 0 {
		return errors.New("power cuts need root, to mount a file system")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return fmt.Errorf("power cuts need loop devices: %w", err)
	}
	for _, tool := range []string{"mkfs." + fs, "mount", "umount"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("power cuts need %s: %w", tool, err)
		}
	}
	return nil
}

// Disk is one disk. It is not for concurrent use.
type Disk struct {
	image, mount string
	mounted      bool
}

// New makes a disk with its files in dir, mounted.
func New(dir, fs string) (*Disk, error) {
	if err := Available(fs); err != nil {
		return nil, err
	}
	d := &Disk{image: filepath.Join(dir, "disk.img"), mount: filepath.Join(dir, "disk")}
	f, err := os.OpenFile(d.image, os.O_CREATE|os.O_RDWR|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(diskSize), f.Close(), os.Mkdir(d.mount, 0o700)); err != nil {
		return nil, err
	}
	if err := run("mkfs."+fs, "-q", d.image); err != nil {
		return nil, err
	}
	return d, d.Mount()
}

// Path is where the disk is mounted.
func (d *Disk) Path() string { return d.mount }

// Mount mounts a disk that was cut: the file system recovers from its journal.
func (d *Disk) Mount() error {
	if d.mounted {
		return nil
	}
	if err := run("mount", "-o", "loop", d.image, d.mount); err != nil {
		return err
	}
	d.mounted = true
	return nil
}

// Cut cuts the power: from now on nothing is written, and what was not synced is
// lost. Whoever has files open gets errors. The disk is unmounted; all processes
// that use it must have ended.
func (d *Disk) Cut() error {
	if err := d.Fail(); err != nil {
		return err
	}
	return d.unmount()
}

// Fail cuts the power, but leaves the disk mounted, for processes that still
// have it open: their writes fail.
func (d *Disk) Fail() error {
	f, err := os.Open(d.mount)
	if err != nil {
		return err
	}
	flags := uint32(noLogFlush)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsIocShutdown, uintptr(unsafe.Pointer(&flags))) //nolint:gosec // the ioctl takes a pointer
	err = f.Close()
	if errno != 0 {
		return errors.Join(fmt.Errorf("shut the file system down: %w", errno), err)
	}
	return err
}

// Unmount unmounts a disk that Fail cut.
func (d *Disk) Unmount() error { return d.unmount() }

func (d *Disk) unmount() error {
	if err := run("umount", d.mount); err != nil {
		return err
	}
	d.mounted = false
	return nil
}

// Close unmounts the disk and removes its files.
func (d *Disk) Close() error {
	var err error
	if d.mounted {
		err = d.unmount()
	}
	return errors.Join(err, os.Remove(d.image), os.Remove(d.mount))
}

func run(name string, args ...string) error {
	out, err := exec.CommandContext(context.Background(), name, args...).CombinedOutput() //nolint:gosec // fixed programs, paths of the test's own
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
