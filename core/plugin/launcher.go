package plugin

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/wabridge/wabridge/core"
)

// sumPattern is a SHA-256 in hex.
var sumPattern = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

const defaultStartTimeout = 10 * time.Second

// DefaultMemory is the memory of a plugin's process unless the Launcher says
// otherwise.
const DefaultMemory = 512 << 20

// Launcher says how to start a plugin: either Command or Path is set. It is a
// value: nothing is opened before a start, and each start looks anew.
type Launcher struct {
	// Command is a program of ours and its arguments, run as it is. See [Self].
	Command []string

	// Path is a third party's program, and SHA256 the sum, in hex, that the file
	// must have. The file is opened once, summed, and run from the same open
	// file, so what is put in its place meanwhile does not run. Or it is a folder
	// with a [Manifest], and SHA256 the manifest's sum: each process runs from a
	// copy of its own, summed while it is made. Args are more arguments.
	Path   string
	SHA256 string
	Args   []string

	// Disabled: nothing is started.
	Disabled bool

	// Memory caps the process's data, in bytes: 0 is [DefaultMemory], negative no
	// cap. Linux only.
	Memory int64
	// Dir is where the process's private directory is made; empty is the
	// system's temporary folder. Its path must be short (at most 60 bytes): the
	// socket's path is limited by the system.
	Dir string
	// StartTimeout is how long the process has to be ready; 0 is 10 s.
	StartTimeout time.Duration
}

// Self is a Launcher that runs this program again with args. On Linux it is this
// very program, even when the file was replaced meanwhile.
func Self(args ...string) Launcher {
	self := "/proc/self/exe"
	if runtime.GOOS != "linux" {
		if path, err := os.Executable(); err == nil {
			self = path
		}
	}
	return Launcher{Command: append([]string{self}, args...)}
}

// Verify checks what can be checked without running the plugin: that the file is
// a program for this machine, may be run, and has the sum it must have. The
// error says what to do.
func (l *Launcher) Verify() error {
	p, err := l.open()
	if err != nil {
		return err
	}
	if p.folder != nil {
		return p.verifyFolder()
	}
	return p.Close()
}

// program is a program about to be run.
type program struct {
	path string
	args []string    // with the program's name
	file *os.File    // of a third party, else nil
	info fs.FileInfo // of file, before it was summed

	folder *Manifest // of a plugin that is a folder, else nil
	dir    string    // the copy of it, once unpacked
}

func (p *program) Close() error {
	if p.file == nil {
		return nil
	}
	return p.file.Close()
}

// command returns the command that runs the program.
func (p *program) command() *exec.Cmd {
	if p.file != nil && runtime.GOOS == "linux" {
		// Inherited as file 3, so that the interpreter of a script finds it too.
		return &exec.Cmd{Path: "/proc/self/fd/3", Args: p.args, ExtraFiles: []*os.File{p.file}}
	}
	if p.folder != nil {
		return &exec.Cmd{Path: p.args[0], Args: p.args}
	}
	return &exec.Cmd{Path: p.path, Args: p.args}
}

// changed reports whether the file was written to since it was opened. Once it
// runs it cannot be, so asking after the start closes the gap between sum and
// start.
func (p *program) changed() bool {
	if p.file == nil {
		return false
	}
	now, err := p.file.Stat()
	return err != nil || now.Size() != p.info.Size() || !changeTime(now).Equal(changeTime(p.info))
}

func (l *Launcher) open() (*program, error) {
	switch {
	case (l.Path == "") == (len(l.Command) == 0):
		return nil, refuse("", "set either a command or a path")
	case l.Path == "":
		return &program{path: l.Command[0], args: l.Command}, nil
	case !filepath.IsAbs(l.Path):
		return nil, refuse("write the path from the root", "%s: not an absolute path", l.Path)
	}
	if info, err := os.Stat(l.Path); err == nil && info.IsDir() {
		return l.openFolder()
	}
	file, err := os.Open(l.Path)
	if err != nil {
		return nil, refuse("check the plugin's path and that the bridge's user may read it", "%w", err)
	}
	p := &program{path: l.Path, args: append([]string{l.Path}, l.Args...), file: file}
	if err := l.check(p); err != nil {
		file.Close()
		return nil, err
	}
	return p, nil
}

func (l *Launcher) check(p *program) (err error) {
	if p.info, err = p.file.Stat(); err != nil {
		return refuse("", "%w", err)
	}
	if !p.info.Mode().IsRegular() {
		return refuse("name the plugin's program", "%s: not a file", l.Path)
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, p.file); err != nil {
		return refuse("", "%s: %w", l.Path, err)
	}
	sum := hash.Sum(nil)
	switch want, err := hex.DecodeString(strings.TrimSpace(l.SHA256)); {
	case l.SHA256 == "":
		return refuse(fmt.Sprintf(`if this is the file that you trust, set sha256 = "%x"`, sum), "%s: no sha256 is configured", l.Path)
	case err != nil || len(want) != sha256.Size:
		return refuse("sha256 is 64 hexadecimal digits, as sha256sum prints them", "%s: sha256 is not a SHA-256 sum", l.Path)
	case !bytes.Equal(sum, want):
		return refuse(fmt.Sprintf(`the file was replaced or damaged: restore it, or, if you updated the plugin, set sha256 = "%x"`, sum),
			"%s: its SHA-256 is not the configured one", l.Path)
	}
	if err := checkProgram(p.file); err != nil {
		return refuse("install the plugin that was built for "+runtime.GOOS+"/"+runtime.GOARCH, "%s: %w", l.Path, err)
	}
	if p.info.Mode()&0o111 == 0 {
		return refuse("run: chmod +x "+l.Path, "%s: not executable", l.Path)
	}
	return nil
}

// refuse is an error that starting again cannot help.
func refuse(hint, format string, args ...any) *core.Error {
	e := core.Errorf(core.CodeInvalid, "start plugin", format, args...)
	e.Hint = hint
	e.Source = core.SourceBridge
	return e
}

// machines are the ELF machines of Go's architectures.
var machines = map[string]elf.Machine{
	"386": elf.EM_386, "amd64": elf.EM_X86_64, "arm": elf.EM_ARM, "arm64": elf.EM_AARCH64, "loong64": elf.EM_LOONGARCH,
	"ppc64": elf.EM_PPC64, "ppc64le": elf.EM_PPC64, "riscv64": elf.EM_RISCV, "s390x": elf.EM_S390,
}

// checkProgram says why the system would refuse to run a file, as far as its
// first bytes tell.
func checkProgram(file io.ReaderAt) error {
	var head [4]byte
	if _, err := file.ReadAt(head[:], 0); err != nil {
		return errors.New("not a program: the file is too short")
	}
	switch {
	case runtime.GOOS != "linux" || head[0] == '#' && head[1] == '!':
		return nil
	case head[0] == 'M' && head[1] == 'Z':
		return errors.New("a program for Windows")
	case bytes.Contains([]byte("\xcf\xfa\xed\xfe\xca\xfe\xba\xbe"), head[:]):
		return errors.New("a program for macOS")
	case string(head[:]) != elf.ELFMAG:
		return errors.New("not a program")
	}
	f, err := elf.NewFile(file)
	if err != nil {
		return fmt.Errorf("a damaged program: %w", err)
	}
	if want, known := machines[runtime.GOARCH]; known && f.Machine != want {
		return fmt.Errorf("a program for another machine (%v)", f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		loader, _ := io.ReadAll(io.LimitReader(p.Open(), 256))
		path := string(bytes.TrimRight(loader, "\x00"))
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("it is linked against %s, which is not on this machine (build it with CGO_ENABLED=0)", path)
		}
	}
	return nil
}

// explainStart turns the system's error of a failed start into one that says
// what to do.
func explainStart(name string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return refuse("install the plugin that was built for "+runtime.GOOS+"/"+runtime.GOARCH, "%s: not a program for this machine", name)
	case errors.Is(err, syscall.EACCES):
		return refuse("run chmod +x on it, and do not keep it on a file system mounted noexec", "%s: may not be run", name)
	case errors.Is(err, syscall.ENOENT):
		return refuse("install what the first line of the script or the program needs, or build it with CGO_ENABLED=0",
			"%s: its interpreter or loader is not on this machine", name)
	case errors.Is(err, syscall.ETXTBSY):
		return core.Errorf(core.CodeUnavailable, "start plugin", "%s: is being written to", name)
	}
	return core.Errorf(core.CodeUnavailable, "start plugin", "%s: %w", name, err)
}
